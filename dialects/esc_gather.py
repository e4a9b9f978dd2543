"""The operation of the `esc` dialect that convolves with sparse weights, gathered from banks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import IntegerAttr, i32
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import ParsePropInAttrDict, irdl_op_definition, prop_def, traits_def
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from dialects.attributes import i64_array, integer
from dialects.blob import DenseAttr
from dialects.esc_base import (
    Array,
    Mask,
    check_convolved,
    check_element,
    check_nhwc,
    check_window,
    convolved_type,
    q_of,
)
from dialects.rebuilt import RebuiltConv2d
from isa.gather import Banking


@irdl_op_definition
class GatherConv2dOp(RebuiltConv2d):
    """Convolution without groups with sparse weights, int32:
    acc[y,x,k] = sum weight[k,r,s,c] * input[y*sy-pt+r, x*sx-pl+s, c].

    `sparse` int8 [K][R][S][C] are the weights with their zeros, each from -127 to 127. What the operation computes is
    what esc.conv2d computes; `banks`, `bundle` and `spread` say how the machine finds the activations of the weights
    that are not zero (see `isa.gather`): the window lies in `banks` banks, `bundle` output channels share them, and
    with `spread` = 1 these are in an order in which the banks have more equal numbers of weights. `pads` [top, left,
    bottom, right] of zeros.
    """

    name = "esc.gather_conv2d"
    TORCH_FORM: ClassVar[str] = "escc.training.forms.gather:gathered"
    TRAINED_FORM: ClassVar[str] = "escc.training.forms.gather:trained"
    sparse = prop_def(DenseAttr)
    banks = prop_def(IntegerAttr)
    bundle = prop_def(IntegerAttr)
    spread = prop_def(IntegerAttr)
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
                "sparse": DenseAttr.of(weight),
                "strides": i64_array(strides),
                "pads": i64_array(pads),
                "banks": integer(banking.banks),
                "bundle": integer(banking.bundle),
                "spread": integer(banking.spread),
            },
        )

    @property
    def banking(self) -> Banking:
        """How the machine gathers."""
        return Banking(self.banks.value.data, self.bundle.value.data, self.spread.value.data)

    @property
    def weight(self) -> NDArray[np.int8]:
        """The weights int8 [K, R, S, C]."""
        return self.sparse.array.astype(np.int8)

    @property
    def coded(self) -> DenseAttr:
        return self.sparse

    @classmethod
    def form_names(cls) -> set[str]:
        # The weights stand in the node itself.
        return super().form_names() - {"sparse"}

    @classmethod
    def of_form(
        cls, x: SSAValue, form: Mapping[str, Attribute], weight: Array, strides: Sequence[int], pads: Sequence[int]
    ) -> Self | None:
        return super().of_form(x, {**form, "sparse": DenseAttr.of(weight)}, weight, strides, pads)

    @property
    def kernel(self) -> tuple[int, int]:
        _, r, s, _ = self.sparse.array.shape
        return r, s

    def needed_channels(self, wanted: Mask) -> Iterator[tuple[SSAValue, Mask]]:
        yield self.input, np.asarray(self.sparse.array[wanted].astype(np.bool_).any(axis=(0, 1, 2)))

    def pinned_channels(self) -> Sequence[SSAValue]:
        # Without one of them, those behind it would lie in other banks and bundles than they were chosen for.
        return self.input, self.output

    def verify_(self) -> None:
        c = check_nhwc(self.input, "input")[3]
        q_of(self.input)
        check_element(self.output, i32, "output")
        check_window(self.strides, self.pads)
        weight = self.sparse.array
        if weight.dtype != np.int8 or weight.ndim != 4 or weight.size == 0 or weight.shape[3] != c:
            raise VerifyException(f"sparse must be int8[K,R,S,{c}], found {weight.dtype}{list(weight.shape)}")
        if int(weight.min()) < -127:
            raise VerifyException("weights must be from -127 to 127")
        for name, value in (("banks", self.banks), ("bundle", self.bundle)):
            if value.value.data < 1:
                raise VerifyException(f"{name} must be at least 1, found {value.value.data}")
        if self.spread.value.data not in (0, 1):
            raise VerifyException(f"spread must be 0 or 1, found {self.spread.value.data}")
        check_convolved(self, self.input, self.output, len(weight))
