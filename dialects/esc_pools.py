"""Pooling of the `esc` dialect."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import BoolAttr, DenseArrayBase, IntegerAttr, TensorType, i64
from xdsl.ir import Attribute, SSAValue
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
    Array,
    ChannelwiseOp,
    Mask,
    check_clamp,
    check_nhwc,
    check_shift,
    check_window,
    extent_of,
    q_of,
    shape_of,
    window_output,
)
from isa import reference
from isa.reference import pool_counts


@irdl_op_definition
class MaxPoolOp(ChannelwiseOp):
    """Maximum over the valid positions of each window. The output extent comes from the result type (ceil_mode
    included).
    """

    name = "esc.max_pool"
    TORCH_FORM: ClassVar[str] = "escc.training.forms.pools:maximum"
    ONNX_FORM: ClassVar[str] = "escc.onnx_export.forms.pools:maximum"
    input = operand_def(TensorType)
    kernel = prop_def(DenseArrayBase)
    strides = prop_def(DenseArrayBase)
    pads = prop_def(DenseArrayBase)
    output = result_def(TensorType)
    traits = traits_def(Pure())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$input attr-dict `:` type($input) `->` type($output)"

    def __init__(
        self,
        x: SSAValue,
        kernel: Sequence[int],
        strides: Sequence[int],
        pads: Sequence[int],
        result: TensorType[Attribute],
    ):
        super().__init__(
            operands=[x],
            result_types=[result],
            properties={"kernel": i64_array(kernel), "strides": i64_array(strides), "pads": i64_array(pads)},
        )

    def compute(self, args: Sequence[Array]) -> Array:
        window = (ints(self.kernel), ints(self.strides), ints(self.pads))
        return reference.window_maxima(args[0], *window, extent_of(self.output))

    def zero_channels(self, zero: Mapping[SSAValue, Mask]) -> Mask:
        return zero[self.input]

    def maximum_over(self) -> int:
        return math.prod(ints(self.kernel))

    def verify_(self) -> None:
        verify_pool(self.input, self.output, self.kernel, self.strides, self.pads)
        if q_of(self.input) != q_of(self.output):
            raise VerifyException("max_pool keeps the element type")


@irdl_op_definition
class AvgPoolOp(ChannelwiseOp):
    """Average: clamp((sum*mult[n-count0] + 2^(shift-1)) >> shift, lo, hi); sum over valid positions, n the counted
    positions.

    Counted are the positions of the window inside the tensor, or inside the padded tensor when `count_include_pad`.
    `mult` int32 holds one multiplier for each count from `count0` up.
    """

    name = "esc.avg_pool"
    TORCH_FORM: ClassVar[str] = "escc.training.forms.pools:average"
    ONNX_FORM: ClassVar[str] = "escc.onnx_export.forms.pools:average"
    input = operand_def(TensorType)
    kernel = prop_def(DenseArrayBase)
    strides = prop_def(DenseArrayBase)
    pads = prop_def(DenseArrayBase)
    count_include_pad = prop_def(BoolAttr)
    mult = prop_def(DenseAttr)
    count0 = prop_def(IntegerAttr)
    shift = prop_def(IntegerAttr)
    lo = prop_def(IntegerAttr)
    hi = prop_def(IntegerAttr)
    output = result_def(TensorType)
    traits = traits_def(Pure())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$input attr-dict `:` type($input) `->` type($output)"

    def __init__(
        self,
        x: SSAValue,
        kernel: Sequence[int],
        strides: Sequence[int],
        pads: Sequence[int],
        count_include_pad: bool,
        mult: NDArray[np.generic],
        count0: int,
        shift: int,
        lo: int,
        hi: int,
        result: TensorType[Attribute],
    ):
        values = {"count0": count0, "shift": shift, "lo": lo, "hi": hi}
        super().__init__(
            operands=[x],
            result_types=[result],
            properties={
                "kernel": i64_array(kernel),
                "strides": i64_array(strides),
                "pads": i64_array(pads),
                "count_include_pad": BoolAttr.from_bool(count_include_pad),
                "mult": DenseAttr.of(np.asarray(mult, np.int32)),
                **{n: IntegerAttr(v, i64) for n, v in values.items()},
            },
        )

    def compute(self, args: Sequence[Array]) -> Array:
        return reference.avg_pool(
            args[0],
            ints(self.kernel),
            ints(self.strides),
            ints(self.pads),
            bool(self.count_include_pad.value.data),
            extent_of(self.output),
            self.mult.array,
            self.count0.value.data,
            self.shift.value.data,
            self.lo.value.data,
            self.hi.value.data,
            q_of(self.output).signed,
        )

    def zero_channels(self, zero: Mapping[SSAValue, Mask]) -> Mask:
        return zero[self.input] & (self.lo.value.data <= 0 <= self.hi.value.data)

    def verify_(self) -> None:
        verify_pool(self.input, self.output, self.kernel, self.strides, self.pads)
        q_of(self.input)
        check_shift(self.shift, "shift")
        check_clamp(self.lo, self.hi, q_of(self.output))
        mult = self.mult.array
        if mult.dtype != np.int32 or mult.ndim != 1 or mult.size < 1 or bool((mult < np.int32(0)).any()):
            raise VerifyException("mult must be a non-empty vector of non-negative int32")
        _, h, w, _ = shape_of(self.input)
        _, oh, ow, _ = shape_of(self.output)
        include = bool(self.count_include_pad.value.data)
        counts = pool_counts((h, w), ints(self.kernel), ints(self.strides), ints(self.pads), include, (oh, ow))
        low, high = int(counts.min()), int(counts.max())
        first = self.count0.value.data
        if not first <= low <= high < first + mult.size:
            raise VerifyException(f"mult must cover counts {low}..{high}, found {first}..{first + mult.size - 1}")


def verify_pool(
    x: SSAValue, y: SSAValue, kernel: DenseArrayBase[Any], strides: DenseArrayBase[Any], pads: DenseArrayBase[Any]
) -> None:
    """Check the geometry of a pooling: every window must hold at least one valid position."""
    _, h, w, c = check_nhwc(x, "input")
    _, oh, ow, oc = check_nhwc(y, "output")
    k = ints(kernel)
    (sy, sx), (pt, pl, pb, pr) = check_window(strides, pads)
    if len(k) != 2 or min(k) < 1:
        raise VerifyException(f"kernel must be two positive integers, found {list(k)}")
    for size, out, kk, st, before, after, axis in (
        (h, oh, k[0], sy, pt, pb, "rows"),
        (w, ow, k[1], sx, pl, pr, "columns"),
    ):
        floor = window_output(size, kk, st, before, after)
        if not floor <= out <= floor + 1 or (out - 1) * st - before >= size or before >= kk:
            raise VerifyException(f"{out} output {axis} do not fit {size} input {axis}, kernel {kk}, stride {st}")
    if oc != c:
        raise VerifyException(f"pooling keeps channels: {c} in, {oc} out")
