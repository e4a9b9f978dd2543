"""Operations of the `esc` dialect with windows: convolutions, dense and decomposed, and pooling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import BoolAttr, DenseArrayBase, IntegerAttr, TensorType, i32, i64
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
    EscOp,
    check_clamp,
    check_element,
    check_nhwc,
    check_shift,
    check_window,
    q_of,
    shape_of,
    window_output,
)
from isa.reference import pool_counts


@irdl_op_definition
class Conv2dOp(EscOp):
    """Dense convolution, int32: acc[y,x,k] = sum weight[k,r,s,j] * input[y*sy-pt+r, x*sx-pl+s, (k //
    (K/groups))*(C/groups) + j].

    `weight` int8 [K][R][S][C/groups]; `pads` [top, left, bottom, right] of zeros.
    """

    name = "esc.conv2d"
    SOLE_READER: ClassVar[str] = "esc.requantize"
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
        _, h, w, _ = shape_of(x)
        k, r, s, _ = weight.shape
        oh = window_output(h, r, strides[0], pads[0], pads[2])
        ow = window_output(w, s, strides[1], pads[1], pads[3])
        super().__init__(
            operands=[x],
            result_types=[TensorType(i32, (1, oh, ow, k))],
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

    def verify_(self) -> None:
        _, h, w, c = check_nhwc(self.input, "input")
        q_of(self.input)
        check_element(self.output, i32, "output")
        (sy, sx), (pt, pl, pb, pr) = check_window(self.strides, self.pads)
        shape = self.weight.array.shape
        g = self.groups.value.data
        if len(shape) != 4 or self.weight.array.dtype != np.int8:
            raise VerifyException(f"weight must be int8[K,R,S,C/groups], found {self.weight.array.dtype}{list(shape)}")
        k, r, s, cpg = shape
        if g < 1 or k % g or cpg * g != c:
            raise VerifyException(f"weight {list(shape)} and groups {g} do not fit {c} input channels")
        want = (1, window_output(h, r, sy, pt, pb), window_output(w, s, sx, pl, pr), k)
        if shape_of(self.output) != want:
            raise VerifyException(f"output must be {list(want)}, found {list(shape_of(self.output))}")


@irdl_op_definition
class CoeffCombineOp(EscOp):
    """Coefficient stage: ic[y,x,k,v] = saturate_icbits((sum_c T[k,v,c] * input[y,x,c] + round) >> ic_shift), round
    half up.

    `coefficients` int8 [K][V][C] in {-1, 0, 1}; the result is tensor<1xHxWxKxVxi32> holding `ic_bits`-bit values.
    """

    name = "esc.coeff_combine"
    SOLE_READER: ClassVar[str] = "esc.basis_conv2d"
    input = operand_def(TensorType)
    coefficients = prop_def(DenseAttr)
    ic_shift = prop_def(IntegerAttr)
    ic_bits = prop_def(IntegerAttr)
    output = result_def(TensorType)
    traits = traits_def(Pure())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$input attr-dict `:` type($input) `->` type($output)"

    def __init__(self, x: SSAValue, coefficients: NDArray[np.generic], ic_shift: int, ic_bits: int):
        _, h, w, _ = shape_of(x)
        k, v, _ = coefficients.shape
        super().__init__(
            operands=[x],
            result_types=[TensorType(i32, (1, h, w, k, v))],
            properties={
                "coefficients": DenseAttr.of(coefficients),
                "ic_shift": IntegerAttr(ic_shift, i64),
                "ic_bits": IntegerAttr(ic_bits, i64),
            },
        )

    def verify_(self) -> None:
        _, h, w, c = check_nhwc(self.input, "input")
        q_of(self.input)
        check_element(self.output, i32, "output")
        t = self.coefficients.array
        if t.dtype != np.int8 or t.ndim != 3 or t.shape[2] != c:
            raise VerifyException(f"coefficients must be int8[K,V,{c}], found {t.dtype}{list(t.shape)}")
        if t.size and int(np.abs(t.astype(np.int16)).max()) > 1:
            raise VerifyException("coefficients must be ternary: -1, 0 or 1")
        check_shift(self.ic_shift, "ic_shift", 0, 31)
        check_shift(self.ic_bits, "ic_bits", 8, 24)
        if shape_of(self.output) != (1, h, w, *t.shape[:2]):
            raise VerifyException(f"output must be {[1, h, w, *t.shape[:2]]}, found {list(shape_of(self.output))}")


@irdl_op_definition
class BasisConv2dOp(EscOp):
    """Basis stage, int32: acc[y,x,k] = sum basis[v,r,s] * ic[y*sy-pt+r, x*sx-pl+s, k, v]; `basis` int8 [V][R][S]."""

    name = "esc.basis_conv2d"
    SOLE_READER: ClassVar[str] = "esc.requantize"
    input = operand_def(TensorType)
    basis = prop_def(DenseAttr)
    strides = prop_def(DenseArrayBase)
    pads = prop_def(DenseArrayBase)
    output = result_def(TensorType)
    traits = traits_def(Pure())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$input attr-dict `:` type($input) `->` type($output)"

    def __init__(self, ic: SSAValue, basis: NDArray[np.generic], strides: Sequence[int], pads: Sequence[int]):
        _, h, w, k, _ = shape_of(ic)
        _, r, s = basis.shape
        oh = window_output(h, r, strides[0], pads[0], pads[2])
        ow = window_output(w, s, strides[1], pads[1], pads[3])
        super().__init__(
            operands=[ic],
            result_types=[TensorType(i32, (1, oh, ow, k))],
            properties={"basis": DenseAttr.of(basis), "strides": i64_array(strides), "pads": i64_array(pads)},
        )

    def verify_(self) -> None:
        shape = shape_of(self.input)
        if len(shape) != 5:
            raise VerifyException(f"input must be tensor<1xHxWxKxVxi32>, found {self.input.type}")
        check_element(self.input, i32, "input")
        check_element(self.output, i32, "output")
        (sy, sx), (pt, pl, pb, pr) = check_window(self.strides, self.pads)
        b = self.basis.array
        if b.dtype != np.int8 or b.ndim != 3 or b.shape[0] != shape[4]:
            raise VerifyException(f"basis must be int8[{shape[4]},R,S], found {b.dtype}{list(b.shape)}")
        want = (
            1,
            window_output(shape[1], b.shape[1], sy, pt, pb),
            window_output(shape[2], b.shape[2], sx, pl, pr),
            shape[3],
        )
        if shape_of(self.output) != want:
            raise VerifyException(f"output must be {list(want)}, found {list(shape_of(self.output))}")


@irdl_op_definition
class MaxPoolOp(EscOp):
    """Maximum over the valid positions of each window. The output extent comes from the result type (ceil_mode
    included).
    """

    name = "esc.max_pool"
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

    def verify_(self) -> None:
        verify_pool(self.input, self.output, self.kernel, self.strides, self.pads)
        if q_of(self.input) != q_of(self.output):
            raise VerifyException("max_pool keeps the element type")


@irdl_op_definition
class AvgPoolOp(EscOp):
    """Average: clamp((sum*mult[n-count0] + 2^(shift-1)) >> shift, lo, hi); sum over valid positions, n the counted
    positions.

    Counted are the positions of the window inside the tensor, or inside the padded tensor when `count_include_pad`.
    `mult` int32 holds one multiplier for each count from `count0` up.
    """

    name = "esc.avg_pool"
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
