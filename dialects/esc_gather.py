"""The operation of the `esc` dialect that convolves with sparse weights, gathered from banks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import DenseArrayBase, IntegerAttr, TensorType, UnitAttr, i32
from xdsl.ir import SSAValue
from xdsl.irdl import (
    ParsePropInAttrDict,
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    prop_def,
    result_def,
    traits_def,
)
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from dialects.attributes import i64_array, integer, ints
from dialects.blob import DenseAttr
from dialects.esc_base import (
    AccumulatorOp,
    Array,
    Flow,
    Mask,
    check_convolved,
    check_element,
    check_nhwc,
    check_window,
    convolved_type,
    linear_bounds,
    q_of,
)
from isa import reference
from isa.gather import Banking


@irdl_op_definition
class GatherConv2dOp(AccumulatorOp):
    """Convolution without groups with sparse weights, int32:
    acc[y,x,k] = sum weight[k,r,s,c] * input[y*sy-pt+r, x*sx-pl+s, c].

    `weight` int8 [K][R][S][C], each from -127 to 127. What it computes is what esc.conv2d computes; `banks`, `bundle`
    and `spread` say how the machine finds the activations of the weights that are not zero (see `isa.gather`): the
    window lies in `banks` banks, `bundle` output channels share them, and with `spread` these are in an order in which
    the banks have more equal numbers of weights. `pads` [top, left, bottom, right] of zeros.
    """

    name = "esc.gather_conv2d"
    ONNX_FORM: ClassVar[str] = "escc.onnx_export.forms.gather:gather"
    input = operand_def(TensorType)
    weight = prop_def(DenseAttr)
    strides = prop_def(DenseArrayBase)
    pads = prop_def(DenseArrayBase)
    banks = prop_def(IntegerAttr)
    bundle = prop_def(IntegerAttr)
    spread = opt_prop_def(UnitAttr)
    output = result_def(TensorType)
    traits = traits_def(Pure())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$input attr-dict `:` type($input) `->` type($output)"

    def __init__(
        self, x: SSAValue, weight: NDArray[np.int8], strides: Sequence[int], pads: Sequence[int], banking: Banking
    ):
        k, r, s, _ = weight.shape
        super().__init__(
            operands=[x],
            result_types=[convolved_type(x, k, (r, s), strides, pads)],
            properties={
                "weight": DenseAttr.of(weight),
                "strides": i64_array(strides),
                "pads": i64_array(pads),
                "banks": integer(banking.banks),
                "bundle": integer(banking.bundle),
                "spread": UnitAttr() if banking.spread else None,
            },
        )

    @property
    def banking(self) -> Banking:
        """How the machine gathers."""
        return Banking(self.banks.value.data, self.bundle.value.data, int(self.spread is not None))

    @property
    def kernel(self) -> tuple[int, int]:
        _, r, s, _ = self.weight.array.shape
        return r, s

    @property
    def window(self) -> tuple[Sequence[int], Sequence[int]]:
        return ints(self.strides), ints(self.pads)

    @property
    def dense_weights(self) -> int:
        return self.weight.array.size

    @property
    def stored_weights(self) -> Sequence[Array]:
        return [self.weight.array]

    @property
    def accumulator_bounds(self) -> tuple[Array, Array]:
        """Smallest and largest accumulator int64 [K] that any input can cause, windows over the padding included."""
        q, weight = q_of(self.input), self.weight.array
        return linear_bounds(weight.reshape(len(weight), -1), q.low, q.high)

    def compute(self, args: Sequence[Array]) -> Array:
        return reference.conv2d(args[0], self.weight.array, *self.window)

    def needed_channels(self, wanted: Mask) -> Iterator[tuple[SSAValue, Mask]]:
        yield self.input, np.asarray(self.weight.array[wanted].astype(np.bool_).any(axis=(0, 1, 2)))

    def pinned_channels(self) -> Sequence[SSAValue]:
        # Without one of them, those behind it would lie in other banks and bundles than they were chosen for.
        return self.input, self.output

    def drop_channels(self, flow: Flow) -> bool:
        return False

    def verify_(self) -> None:
        c = check_nhwc(self.input, "input")[3]
        q_of(self.input)
        check_element(self.output, i32, "output")
        check_window(self.strides, self.pads)
        weight = self.weight.array
        if weight.dtype != np.int8 or weight.ndim != 4 or weight.size == 0 or weight.shape[3] != c:
            raise VerifyException(f"weight must be int8[K,R,S,{c}], found {weight.dtype}{list(weight.shape)}")
        if int(weight.min()) < -127:
            raise VerifyException("weights must be from -127 to 127")
        for name, value in (("banks", self.banks), ("bundle", self.bundle)):
            if value.value.data < 1:
                raise VerifyException(f"{name} must be at least 1, found {value.value.data}")
        check_convolved(self, self.input, self.output, len(weight))
