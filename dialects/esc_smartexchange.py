"""The operation of the `esc` dialect that convolves with sums of a few vectors, each times 0 or a power of two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import IntegerAttr, i32, i64
from xdsl.ir import SSAValue
from xdsl.irdl import ParsePropInAttrDict, irdl_op_definition, prop_def, traits_def
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from dialects.attributes import i64_array
from dialects.blob import DenseAttr
from dialects.esc_base import (
    Flow,
    check_convolved,
    check_element,
    check_nhwc,
    check_window,
    convolved_type,
    q_of,
)
from dialects.rebuilt import PatchedConv2d
from isa.levels import COEFFICIENT_VALUES, wrong_coefficients
from isa.smartexchange import MOST_SHIFT, MOST_TERMS, weights


@irdl_op_definition
class SmartExchangeConv2dOp(PatchedConv2d):
    """Convolution without groups whose weights are sums of vectors times small coefficients, int32:
    acc[y,x,k] = sum weight[k,r,s,c] * input[y*sy-pt+r, x*sx-pl+s, c].

    `coefficients` int8 [K][J][R][S/span][C/depth], 0 or of magnitude 1, 2 or 4; `vectors` int8 [G][J][span][depth], G
    being 1 or K. What they and `shift` stand for is defined in `isa.smartexchange`. `pads` [top, left, bottom, right]
    of zeros.
    """

    name = "esc.smartexchange_conv2d"
    TORCH_FORM: ClassVar[str] = "escc.training.forms.smartexchange:smartexchange"
    TRAINED_FORM: ClassVar[str] = "escc.training.forms.smartexchange:trained"
    coefficients = prop_def(DenseAttr)
    vectors = prop_def(DenseAttr)
    shift = prop_def(IntegerAttr)
    traits = traits_def(Pure())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$input attr-dict `:` type($input) `->` type($output)"

    def __init__(
        self,
        x: SSAValue,
        coefficients: NDArray[np.int8],
        vectors: NDArray[np.int8],
        shift: int,
        strides: Sequence[int],
        pads: Sequence[int],
    ):
        k, _, r, columns, _ = coefficients.shape
        super().__init__(
            operands=[x],
            result_types=[convolved_type(x, k, (r, columns * vectors.shape[2]), strides, pads)],
            properties={
                "coefficients": DenseAttr.of(coefficients),
                "vectors": DenseAttr.of(vectors),
                "shift": IntegerAttr(shift, i64),
                "strides": i64_array(strides),
                "pads": i64_array(pads),
            },
        )

    @property
    def patch(self) -> tuple[int, int]:
        span, depth = self.vectors.array.shape[2:]
        return span, depth

    @property
    def own(self) -> bool:
        """Whether each output channel has vectors of its own."""
        return len(self.vectors.array) > 1

    @property
    def weight(self) -> NDArray[np.int8]:
        t, vectors = (a.array.astype(np.int8) for a in (self.coefficients, self.vectors))
        return weights(t, vectors, self.right_shift)

    @property
    def coded(self) -> DenseAttr:
        return self.coefficients

    @property
    def shared(self) -> Sequence[DenseAttr]:
        return (self.vectors,)

    @property
    def right_shift(self) -> int:
        return self.shift.value.data

    @property
    def coefficient_level(self) -> int | None:
        return max(1, int(np.abs(self.coefficients.array.astype(np.int16)).max()))

    def drop_channels(self, flow: Flow) -> bool:
        t = self.kept_numbers(flow)
        if np.array_equal(t, self.coefficients.array):
            return False
        if self.own:
            self.vectors = DenseAttr.of(np.ascontiguousarray(self.vectors.array[flow.kept[self.output]]))
        self.coefficients = DenseAttr.of(t)
        return True

    def verify_(self) -> None:
        c = check_nhwc(self.input, "input")[3]
        q_of(self.input)
        check_element(self.output, i32, "output")
        check_window(self.strides, self.pads)
        t, vectors = self.coefficients.array, self.vectors.array
        if vectors.dtype != np.int8 or vectors.ndim != 4 or not 1 <= vectors.shape[1] <= MOST_TERMS or not vectors.size:
            raise VerifyException(
                f"vectors must be int8[G,J,span,depth] with J from 1 to {MOST_TERMS}, "
                f"found {vectors.dtype}{list(vectors.shape)}"
            )
        sets, terms, _, depth = vectors.shape
        if t.dtype != np.int8 or t.ndim != 5 or t.size == 0 or t.shape[1] != terms or t.shape[4] * depth != c:
            raise VerifyException(
                f"coefficients must be int8[K,{terms},R,S/span,{c}/{depth}], found {t.dtype}{list(t.shape)}"
            )
        if sets not in (1, len(t)):
            raise VerifyException(f"vectors must be of 1 or of {len(t)} output channels, found {sets}")
        if wrong := wrong_coefficients(t):
            raise VerifyException(f"coefficients must be {COEFFICIENT_VALUES}, found {wrong[0]}")
        if not 0 <= self.shift.value.data <= MOST_SHIFT:
            raise VerifyException(f"shift must be from 0 to {MOST_SHIFT}, found {self.shift.value.data}")
        check_convolved(self, self.input, self.output, len(t))
