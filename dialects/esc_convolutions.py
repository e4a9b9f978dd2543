"""Operations of the `esc` dialect that compute accumulators: convolutions with weights as they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import DenseArrayBase, IntegerAttr, TensorType, i32, i64
from xdsl.ir import Operation, SSAValue
from xdsl.irdl import (
    ParsePropInAttrDict,
    irdl_op_definition,
    operand_def,
    prop_def,
    result_def,
    traits_def,
)
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from dialects.attributes import i64_array, ints
from dialects.blob import DenseAttr
from dialects.esc_base import (
    AccumulatorOp,
    Array,
    Flow,
    Mask,
    Tie,
    check_convolved,
    check_element,
    check_nhwc,
    check_window,
    convolved_type,
    linear_bounds,
    q_of,
    shape_of,
)
from isa import reference


@irdl_op_definition
class Conv2dOp(AccumulatorOp):
    """Dense convolution, int32: acc[y,x,k] = sum weight[k,r,s,j] * input[y*sy-pt+r, x*sx-pl+s, (k //
    (K/groups))*(C/groups) + j].

    `weight` int8 [K][R][S][C/groups]; `pads` [top, left, bottom, right] of zeros.
    """

    name = "esc.conv2d"
    TORCH_FORM: ClassVar[str] = "escc.training.forms.convolutions:dense"
    TRAINED_FORM: ClassVar[str] = "escc.training.forms.convolutions:trained"
    ONNX_FORM: ClassVar[str] = "escc.onnx_export.forms.convolutions:dense"
    input = operand_def(TensorType)
    weight = prop_def(DenseAttr)
    strides = prop_def(DenseArrayBase)
    pads = prop_def(DenseArrayBase)
    groups = prop_def(IntegerAttr)
    output = result_def(TensorType)
    traits = traits_def(Pure())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$input attr-dict `:` type($input) `->` type($output)"

    def __init__(
        self, x: SSAValue, weight: NDArray[np.generic], strides: Sequence[int], pads: Sequence[int], groups: int = 1
    ):
        k, r, s, _ = weight.shape
        super().__init__(
            operands=[x],
            result_types=[convolved_type(x, k, (r, s), strides, pads)],
            properties={
                "weight": DenseAttr.of(weight),
                "strides": i64_array(strides),
                "pads": i64_array(pads),
                "groups": IntegerAttr(groups, i64),
            },
        )

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the operation, padding included."""
        _, oh, ow, _ = shape_of(self.output)
        return oh * ow * self.weight.array.size

    @property
    def is_depthwise(self) -> bool:
        """Whether each of several input channels is a group of its own."""
        return self.groups.value.data == shape_of(self.input)[3] > 1

    @property
    def kernel(self) -> tuple[int, int]:
        """Rows and columns of the window."""
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
        groups = self.groups.value.data
        return reference.conv2d(args[0], self.weight.array, ints(self.strides), ints(self.pads), groups)

    def needed_channels(self, wanted: Mask) -> Iterator[tuple[SSAValue, Mask]]:
        used = np.asarray(self.weight.array.astype(np.bool_).any(axis=(1, 2))) & wanted[:, None]
        yield self.input, used.reshape(self.groups.value.data, -1, used.shape[1]).any(axis=1).reshape(-1)

    def channel_ties(self) -> Iterator[Tie]:
        k, groups = self.weight.array.shape[0], self.groups.value.data
        if groups > 1 and self.weight.array.shape[3] == 1:
            every = np.arange(k, dtype=np.int64)
            yield Tie(self.input, every // (k // groups), self.output, every)

    def pinned_channels(self) -> Sequence[SSAValue]:
        grouped = self.groups.value.data > 1 and self.weight.array.shape[3] > 1
        return (self.input, self.output) if grouped else ()

    def drop_channels(self, flow: Flow) -> bool:
        weight = self.weight.array.copy()
        weight[~flow.needed[self.output]] = 0
        if self.groups.value.data == 1:
            weight[..., flow.zero[self.input]] = 0
            weight = weight[..., flow.kept[self.input]]
        elif weight.shape[3] == 1:
            self.groups = IntegerAttr(int(flow.kept[self.input].sum()), i64)
        weight = weight[flow.kept[self.output]]
        if np.array_equal(weight, self.weight.array):
            return False
        self.weight = DenseAttr.of(weight)
        return True

    def verify_(self) -> None:
        c = check_nhwc(self.input, "input")[3]
        q_of(self.input)
        check_element(self.output, i32, "output")
        check_window(self.strides, self.pads)
        shape = self.weight.array.shape
        g = self.groups.value.data
        if len(shape) != 4 or self.weight.array.dtype != np.int8:
            raise VerifyException(f"weight must be int8[K,R,S,C/groups], found {self.weight.array.dtype}{list(shape)}")
        k, _, _, cpg = shape
        if g < 1 or k % g or cpg * g != c:
            raise VerifyException(f"weight {list(shape)} and groups {g} do not fit {c} input channels")
        check_convolved(self, self.input, self.output, k)


def holds_other_weights(op: Operation) -> bool:
    """Whether an operation computes accumulators from another form of weights than the int8 weights of quantisation."""
    return isinstance(op, AccumulatorOp) and not isinstance(op, Conv2dOp)
