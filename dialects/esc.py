"""The `esc` dialect: quantised, hardware-independent tensors of a CNN, dense and decomposed.

Values are NHWC tensors of `!esc.q<u8 | i8, scale>` (zero point 0: a stored 0 is the real 0) and int32 accumulators. All
arithmetic is exact integer arithmetic as written in each operation; `esc.quantize`, `esc.dequantize` and
`esc.softmax` are the only operations that know floats, and the host runs them at the boundary of the model.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import BoolAttr, DenseArrayBase, IntegerAttr, TensorType, f32, i32, i64
from xdsl.ir import Attribute, Data, Dialect, Operation, SSAValue, TypeAttribute
from xdsl.irdl import (
    IRDLOperation,
    ParsePropInAttrDict,
    irdl_attr_definition,
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    opt_prop_def,
    prop_def,
    result_def,
    traits_def,
    var_operand_def,
)
from xdsl.parser import AttrParser
from xdsl.printer import Printer
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from dialects.attributes import i64_array, ints
from dialects.blob import DenseAttr
from isa.reference import Addition, pool_counts


@irdl_attr_definition
class QType(Data[tuple[bool, float]], TypeAttribute):
    """8-bit activation with zero point 0: `!esc.q<u8, s>` or `!esc.q<i8, s>`; stored b means the real number b * s."""

    name = "esc.q"

    @classmethod
    def of(cls, signed: bool, scale: float) -> QType:
        return cls((bool(signed), float(scale)))

    @property
    def signed(self) -> bool:
        return self.data[0]

    @property
    def scale(self) -> float:
        return self.data[1]

    @property
    def low(self) -> int:
        """Smallest storable value."""
        return -128 if self.signed else 0

    @property
    def high(self) -> int:
        """Largest storable value."""
        return 127 if self.signed else 255

    @property
    def dtype(self) -> np.dtype[np.generic]:
        return np.dtype(np.int8 if self.signed else np.uint8)

    def verify(self) -> None:
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise VerifyException(f"esc.q: scale must be positive and finite, found {self.scale}")

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> tuple[bool, float]:
        with parser.in_angle_brackets():
            kind = parser.parse_identifier()
            if kind not in ("u8", "i8"):
                parser.raise_error(f"esc.q: expected u8 or i8, found {kind}")
            parser.parse_punctuation(",")
            return kind == "i8", float(parser.parse_number())

    def print_parameter(self, printer: Printer) -> None:
        scale = repr(self.scale)  # shortest text that reads back to the same double
        if "." not in scale:
            scale = scale.replace("e", ".0e")
        printer.print_string(f"<{'i8' if self.signed else 'u8'}, {scale}>")


def q_tensor(shape: Iterable[int], signed: bool, scale: float) -> TensorType[Attribute]:
    """Type of a quantised NHWC tensor."""
    return TensorType(QType.of(signed, scale), tuple(shape))


def tensor_type(value: SSAValue) -> TensorType[Attribute]:
    """Type of a tensor value. Raises VerifyException if it is none."""
    kind: Attribute = value.type
    if not isinstance(kind, TensorType):
        raise VerifyException(f"expected a tensor, found {kind}")
    return cast("TensorType[Attribute]", kind)


def shape_of(value: SSAValue) -> tuple[int, ...]:
    """Static shape of a tensor value. Raises VerifyException if it is no tensor."""
    return tensor_type(value).get_shape()


def q_of(value: SSAValue) -> QType:
    """Quantised element type of a tensor value. Raises VerifyException if it has another."""
    element = tensor_type(value).element_type
    if isinstance(element, QType):
        return element
    raise VerifyException(f"expected a tensor of !esc.q, found {value.type}")


def window_output(size: int, kernel: int, stride: int, before: int, after: int) -> int:
    """Output extent of a convolution window (floor)."""
    return (size + before + after - kernel) // stride + 1


def _nhwc(value: SSAValue, what: str) -> tuple[int, int, int, int]:
    shape = shape_of(value)
    if len(shape) != 4 or shape[0] != 1 or min(shape) < 1:
        raise VerifyException(f"{what} must be a static tensor<1xHxWxC>, found {value.type}")
    return shape[0], shape[1], shape[2], shape[3]


def _element(value: SSAValue, want: Attribute, what: str) -> None:
    if tensor_type(value).element_type != want:
        raise VerifyException(f"{what} must have elements of {want}, found {value.type}")


def _same_shape(a: SSAValue, b: SSAValue, what: str) -> None:
    if shape_of(a) != shape_of(b):
        raise VerifyException(f"{what}: shapes {shape_of(a)} and {shape_of(b)} differ")


def _blob(attr: DenseAttr, dtype: str, shape: tuple[int, ...], what: str) -> NDArray[np.generic]:
    a = attr.array
    if a.dtype != np.dtype(dtype) or a.shape != shape:
        raise VerifyException(f"{what} must be {dtype}{list(shape)}, found {a.dtype}{list(a.shape)}")
    return a


def _window(
    strides: DenseArrayBase[Any], pads: DenseArrayBase[Any]
) -> tuple[tuple[int, int], tuple[int, int, int, int]]:
    st, pd = ints(strides), ints(pads)
    if len(st) != 2 or min(st) < 1:
        raise VerifyException(f"strides must be two positive integers, found {list(st)}")
    if len(pd) != 4 or min(pd) < 0:
        raise VerifyException(f"pads must be four non-negative integers [top, left, bottom, right], found {list(pd)}")
    return (st[0], st[1]), (pd[0], pd[1], pd[2], pd[3])


def _shift(attr: IntegerAttr, what: str, low: int = 1, high: int = 62) -> None:
    if not low <= attr.value.data <= high:
        raise VerifyException(f"{what} must be in [{low}, {high}], found {attr.value.data}")


def _clamp(lo: IntegerAttr, hi: IntegerAttr, q: QType) -> None:
    if not q.low <= lo.value.data <= hi.value.data <= q.high:
        raise VerifyException(f"clamp [{lo.value.data}, {hi.value.data}] must lie in [{q.low}, {q.high}]")


def _addition(a: Addition, q: QType) -> None:
    if not 1 <= a.shift <= 62:
        raise VerifyException(f"shift of the addition must be in [1, 62], found {a.shift}")
    for m in (a.mult_a, a.mult_b):
        if not 0 <= m < 1 << 31:
            raise VerifyException(f"multiplier must be in [0, 2^31), found {m}")
    if not q.low <= a.lo <= a.hi <= q.high:
        raise VerifyException(f"clamp [{a.lo}, {a.hi}] of the addition must lie in [{q.low}, {q.high}]")


class EscOp(IRDLOperation):
    """Base of all operations of the dialect."""


@irdl_op_definition
class QuantizeOp(EscOp):
    """Host: q = clamp(round_half_even(x / scale)) of a float NCHW (or [1, C]) tensor, laid out NHWC."""

    name = "esc.quantize"
    input = operand_def(TensorType)
    output = result_def(TensorType)
    traits = traits_def(Pure())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$input attr-dict `:` type($input) `->` type($output)"

    def __init__(self, x: SSAValue, result: TensorType[Attribute]):
        super().__init__(operands=[x], result_types=[result])

    def verify_(self) -> None:
        _element(self.input, f32, "input")
        q_of(self.output)
        shape = shape_of(self.input)
        n, c, h, w = shape if len(shape) == 4 else (*shape, 1, 1)[:4]
        if len(shape) not in (2, 4) or shape_of(self.output) != (n, h, w, c):
            raise VerifyException(
                f"input {list(shape)} and output {list(shape_of(self.output))} do not agree (NCHW -> NHWC)"
            )


@irdl_op_definition
class DequantizeOp(EscOp):
    """Host: x = q * scale, NHWC -> NCHW, then reshaped (row-major) to the result type."""

    name = "esc.dequantize"
    input = operand_def(TensorType)
    output = result_def(TensorType)
    traits = traits_def(Pure())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$input attr-dict `:` type($input) `->` type($output)"

    def __init__(self, x: SSAValue, result: TensorType[Attribute]):
        super().__init__(operands=[x], result_types=[result])

    def verify_(self) -> None:
        _nhwc(self.input, "input")
        q_of(self.input)
        _element(self.output, f32, "output")
        if math.prod(shape_of(self.input)) != math.prod(shape_of(self.output)):
            raise VerifyException("input and output have different numbers of elements")


@irdl_op_definition
class SoftmaxOp(EscOp):
    """Host: float Softmax along `axis`, numerically stabilised by the maximum."""

    name = "esc.softmax"
    input = operand_def(TensorType)
    axis = prop_def(IntegerAttr)
    output = result_def(TensorType)
    traits = traits_def(Pure())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$input attr-dict `:` type($input) `->` type($output)"

    def __init__(self, x: SSAValue, axis: int):
        super().__init__(operands=[x], result_types=[x.type], properties={"axis": IntegerAttr(axis, i64)})

    def verify_(self) -> None:
        _element(self.input, f32, "input")
        if self.input.type != self.output.type:
            raise VerifyException("input and output types differ")
        rank = len(shape_of(self.input))
        if not 0 <= self.axis.value.data < rank:
            raise VerifyException(f"axis {self.axis.value.data} outside rank {rank}")


@irdl_op_definition
class Conv2dOp(EscOp):
    """Dense convolution, int32: acc[y,x,k] = sum weight[k,r,s,j] * input[y*sy-pt+r, x*sx-pl+s, (k //
    (K/groups))*(C/groups) + j].

    `weight` int8 [K][R][S][C/groups]; `pads` [top, left, bottom, right] of zeros.
    """

    name = "esc.conv2d"
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

    def verify_(self) -> None:
        _, h, w, c = _nhwc(self.input, "input")
        q_of(self.input)
        _element(self.output, i32, "output")
        (sy, sx), (pt, pl, pb, pr) = _window(self.strides, self.pads)
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
        _, h, w, c = _nhwc(self.input, "input")
        q_of(self.input)
        _element(self.output, i32, "output")
        t = self.coefficients.array
        if t.dtype != np.int8 or t.ndim != 3 or t.shape[2] != c:
            raise VerifyException(f"coefficients must be int8[K,V,{c}], found {t.dtype}{list(t.shape)}")
        if t.size and int(np.abs(t.astype(np.int16)).max()) > 1:
            raise VerifyException("coefficients must be ternary: -1, 0 or 1")
        _shift(self.ic_shift, "ic_shift", 0, 31)
        _shift(self.ic_bits, "ic_bits", 8, 24)
        if shape_of(self.output) != (1, h, w, *t.shape[:2]):
            raise VerifyException(f"output must be {[1, h, w, *t.shape[:2]]}, found {list(shape_of(self.output))}")


@irdl_op_definition
class BasisConv2dOp(EscOp):
    """Basis stage, int32: acc[y,x,k] = sum basis[v,r,s] * ic[y*sy-pt+r, x*sx-pl+s, k, v]; `basis` int8 [V][R][S]."""

    name = "esc.basis_conv2d"
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
        _element(self.input, i32, "input")
        _element(self.output, i32, "output")
        (sy, sx), (pt, pl, pb, pr) = _window(self.strides, self.pads)
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
class RequantizeOp(EscOp):
    """q = clamp(((acc + bias[k])*mult[k] + 2^(shift[k]-1)) >> shift[k], lo, hi) in int64.

    Then, if `table` (256 bytes, read as the mid type's bytes) is given, q = table[q & 255]; then, if `residual` is
    given, q = clamp((q*mult_a + residual*mult_b + 2^(add_shift-1)) >> add_shift, add_lo, add_hi). Without a residual
    the result has the mid type; with one, `mid` is the type of q before the addition (its scale is informative).
    `bias`, `mult` int32 [K], `shift` uint8 [K].
    """

    name = "esc.requantize"
    input = operand_def(TensorType)
    residual = opt_operand_def(TensorType)
    bias = prop_def(DenseAttr)
    mult = prop_def(DenseAttr)
    shift = prop_def(DenseAttr)
    lo = prop_def(IntegerAttr)
    hi = prop_def(IntegerAttr)
    table = opt_prop_def(DenseAttr)
    mid = opt_prop_def(QType)
    mult_a = opt_prop_def(IntegerAttr)
    mult_b = opt_prop_def(IntegerAttr)
    add_shift = opt_prop_def(IntegerAttr)
    add_lo = opt_prop_def(IntegerAttr)
    add_hi = opt_prop_def(IntegerAttr)
    output = result_def(TensorType)
    traits = traits_def(Pure())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$input (`,` $residual^ `:` type($residual))? attr-dict `:` type($input) `->` type($output)"

    def __init__(
        self,
        acc: SSAValue,
        bias: NDArray[np.generic],
        mult: NDArray[np.generic],
        shift: NDArray[np.generic],
        lo: int,
        hi: int,
        result: TensorType[Attribute],
        table: NDArray[np.generic] | None = None,
        residual: SSAValue | None = None,
        mid: QType | None = None,
        addition: Addition | None = None,
    ):
        properties: dict[str, Attribute] = {
            "bias": DenseAttr.of(np.asarray(bias, np.int32)),
            "mult": DenseAttr.of(np.asarray(mult, np.int32)),
            "shift": DenseAttr.of(np.asarray(shift, np.uint8)),
            "lo": IntegerAttr(lo, i64),
            "hi": IntegerAttr(hi, i64),
        }
        if table is not None:
            properties["table"] = DenseAttr.of(table)
        if mid is not None:
            properties["mid"] = mid
        if addition is not None:
            a = addition
            numbers = {"mult_a": a.mult_a, "mult_b": a.mult_b, "add_shift": a.shift, "add_lo": a.lo, "add_hi": a.hi}
            properties |= {name: IntegerAttr(v, i64) for name, v in numbers.items()}
        super().__init__(
            operands=[acc, [] if residual is None else [residual]], result_types=[result], properties=properties
        )

    @property
    def mid_type(self) -> QType:
        """Type of q before the residual is added (after the table)."""
        return self.mid if self.mid is not None else q_of(self.output)

    @property
    def addition(self) -> Addition | None:
        """Parameters of the residual addition, None without one."""
        a, b, shift, lo, hi = self.mult_a, self.mult_b, self.add_shift, self.add_lo, self.add_hi
        if a is None or b is None or shift is None or lo is None or hi is None:
            return None
        numbers = (x.value.data for x in (a, b, shift, lo, hi))
        return Addition(*numbers, signed=q_of(self.output).signed)

    def verify_(self) -> None:
        k = shape_of(self.input)[-1]
        _nhwc(self.input, "input")
        _element(self.input, i32, "input")
        _same_shape(self.input, self.output, "requantize")
        q = q_of(self.output)
        _blob(self.bias, "int32", (k,), "bias")
        if int(_blob(self.mult, "int32", (k,), "mult").astype(np.int64).min()) < 0:
            raise VerifyException("mult must not be negative")
        shift = _blob(self.shift, "uint8", (k,), "shift").astype(np.int64)
        if int(shift.min()) < 1 or int(shift.max()) > 62:
            raise VerifyException("shift must be in [1, 62]")
        if self.table is None:
            _clamp(self.lo, self.hi, self.mid_type)
        else:
            _blob(self.table, self.mid_type.dtype.name, (256,), "table")
            _clamp(self.lo, self.hi, QType.of(self.lo.value.data < 0, 1.0))  # so that q & 255 is unambiguous
        add = (self.mult_a, self.mult_b, self.add_shift, self.add_lo, self.add_hi, self.mid)
        if self.residual is None:
            if any(a is not None for a in add):
                raise VerifyException("addition parameters given without a residual")
            return
        if any(a is None for a in add) or self.addition is None:
            raise VerifyException("a residual needs mid, mult_a, mult_b, add_shift, add_lo and add_hi")
        q_of(self.residual)
        _same_shape(self.residual, self.output, "residual")
        _addition(self.addition, q)


@irdl_op_definition
class AddOp(EscOp):
    """Residual addition: clamp((a*mult_a + b*mult_b + 2^(shift-1)) >> shift, lo, hi) in int64."""

    name = "esc.add"
    lhs = operand_def(TensorType)
    rhs = operand_def(TensorType)
    mult_a = prop_def(IntegerAttr)
    mult_b = prop_def(IntegerAttr)
    shift = prop_def(IntegerAttr)
    lo = prop_def(IntegerAttr)
    hi = prop_def(IntegerAttr)
    output = result_def(TensorType)
    traits = traits_def(Pure())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$lhs `,` $rhs attr-dict `:` type($lhs) `,` type($rhs) `->` type($output)"

    def __init__(
        self,
        a: SSAValue,
        b: SSAValue,
        mult_a: int,
        mult_b: int,
        shift: int,
        lo: int,
        hi: int,
        result: TensorType[Attribute],
    ):
        values = {"mult_a": mult_a, "mult_b": mult_b, "shift": shift, "lo": lo, "hi": hi}
        super().__init__(
            operands=[a, b], result_types=[result], properties={n: IntegerAttr(v, i64) for n, v in values.items()}
        )

    @property
    def addition(self) -> Addition:
        """The parameters as one value."""
        numbers = (x.value.data for x in (self.mult_a, self.mult_b, self.shift, self.lo, self.hi))
        return Addition(*numbers, signed=q_of(self.output).signed)

    def verify_(self) -> None:
        q_of(self.lhs)
        q_of(self.rhs)
        _nhwc(self.lhs, "lhs")
        _same_shape(self.lhs, self.rhs, "add")
        _same_shape(self.lhs, self.output, "add")
        _addition(self.addition, q_of(self.output))


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
        _shift(self.shift, "shift")
        _clamp(self.lo, self.hi, q_of(self.output))
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
    _, h, w, c = _nhwc(x, "input")
    _, oh, ow, oc = _nhwc(y, "output")
    k = ints(kernel)
    (sy, sx), (pt, pl, pb, pr) = _window(strides, pads)
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


@irdl_op_definition
class LookupOp(EscOp):
    """Table lookup: output byte = table[input byte]; the table is 256 bytes, int8 or uint8 as the output."""

    name = "esc.lookup"
    input = operand_def(TensorType)
    table = prop_def(DenseAttr)
    output = result_def(TensorType)
    traits = traits_def(Pure())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$input attr-dict `:` type($input) `->` type($output)"

    def __init__(self, x: SSAValue, table: NDArray[np.generic], result: TensorType[Attribute]):
        super().__init__(operands=[x], result_types=[result], properties={"table": DenseAttr.of(table)})

    def verify_(self) -> None:
        q_of(self.input)
        _nhwc(self.input, "input")
        _same_shape(self.input, self.output, "lookup")
        _blob(self.table, q_of(self.output).dtype.name, (256,), "table")


@irdl_op_definition
class ConcatOp(EscOp):
    """Concatenation over channels; all operands and the result have the same element type."""

    name = "esc.concat"
    inputs = var_operand_def(TensorType)
    output = result_def(TensorType)
    traits = traits_def(Pure())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$inputs attr-dict `:` type($inputs) `->` type($output)"

    def __init__(self, inputs: Sequence[SSAValue]):
        first = tensor_type(inputs[0])
        _, h, w, _ = first.get_shape()
        c = sum(shape_of(x)[3] for x in inputs)
        super().__init__(operands=[list(inputs)], result_types=[TensorType(first.element_type, (1, h, w, c))])

    def verify_(self) -> None:
        if not self.inputs:
            raise VerifyException("concat needs an operand")
        q = q_of(self.output)
        _, h, w, c = _nhwc(self.output, "output")
        total = 0
        for x in self.inputs:
            _, xh, xw, xc = _nhwc(x, "operand")
            if q_of(x) != q or (xh, xw) != (h, w):
                raise VerifyException(f"operand {x.type} does not fit the result {self.output.type}")
            total += xc
        if total != c:
            raise VerifyException(f"operands have {total} channels, the result {c}")


@irdl_op_definition
class SliceOp(EscOp):
    """Data movement: out[y,x,c] = in[y*sy + oy, x*sx + ox, c + oc], 0 outside the input. Covers Slice and Pad.

    `offsets` [oy, ox, oc] (negative: padding before), `strides` [sy, sx]; the extent comes from the result type.
    """

    name = "esc.slice"
    input = operand_def(TensorType)
    offsets = prop_def(DenseArrayBase)
    strides = prop_def(DenseArrayBase)
    output = result_def(TensorType)
    traits = traits_def(Pure())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$input attr-dict `:` type($input) `->` type($output)"

    def __init__(self, x: SSAValue, offsets: Sequence[int], strides: Sequence[int], result: TensorType[Attribute]):
        super().__init__(
            operands=[x],
            result_types=[result],
            properties={"offsets": i64_array(offsets), "strides": i64_array(strides)},
        )

    def verify_(self) -> None:
        _nhwc(self.input, "input")
        _nhwc(self.output, "output")
        if q_of(self.input) != q_of(self.output):
            raise VerifyException("slice keeps the element type")
        st = ints(self.strides)
        if len(ints(self.offsets)) != 3 or len(st) != 2 or min(st) < 1:
            raise VerifyException("slice needs offsets [y, x, c] and two positive strides")


OPS: list[type[Operation]] = [
    QuantizeOp,
    DequantizeOp,
    SoftmaxOp,
    Conv2dOp,
    CoeffCombineOp,
    BasisConv2dOp,
    RequantizeOp,
    AddOp,
    MaxPoolOp,
    AvgPoolOp,
    LookupOp,
    ConcatOp,
    SliceOp,
]

Esc = Dialect("esc", OPS, [QType])
