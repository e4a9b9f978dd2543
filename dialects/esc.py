"""The `esc` dialect: quantised, hardware-independent tensors of a CNN, dense and decomposed.

Values are NHWC tensors of `!esc.q<u8 | i8, scale>` (zero point 0: a stored 0 is the real 0) and int32 accumulators. All
arithmetic is exact integer arithmetic as written in each operation; `esc.quantize`, `esc.dequantize` and
`esc.softmax` are the only operations that know floats, and the host runs them at the boundary of the model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import DenseArrayBase, IntegerAttr, TensorType, f32, i32, i64
from xdsl.ir import Attribute, Dialect, Operation, SSAValue
from xdsl.irdl import (
    ParsePropInAttrDict,
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    opt_prop_def,
    prop_def,
    result_def,
    traits_def,
    var_operand_def,
)
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from dialects.attributes import i64_array, ints
from dialects.blob import DenseAttr
from dialects.esc_base import (
    EscOp,
    QType,
    check_addition,
    check_clamp,
    check_constant,
    check_element,
    check_nhwc,
    check_same_shape,
    q_of,
    q_tensor,
    shape_of,
    tensor_type,
    window_output,
)
from dialects.esc_windows import AvgPoolOp, BasisConv2dOp, CoeffCombineOp, Conv2dOp, MaxPoolOp
from isa.reference import Addition


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
        check_element(self.input, f32, "input")
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
        check_nhwc(self.input, "input")
        q_of(self.input)
        check_element(self.output, f32, "output")
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
        check_element(self.input, f32, "input")
        if self.input.type != self.output.type:
            raise VerifyException("input and output types differ")
        rank = len(shape_of(self.input))
        if not 0 <= self.axis.value.data < rank:
            raise VerifyException(f"axis {self.axis.value.data} outside rank {rank}")


@irdl_op_definition
class RequantizeOp(EscOp):
    """q = clamp(((acc + bias[k])*mult[k] + 2^(shift[k]-1)) >> shift[k], lo, hi) in int64.

    Then, if `table` (256 bytes, read as the mid type's bytes) is given, q = table[q & 255]; then, if `residual` is
    given, q = clamp((q*mult_a + residual*mult_b + 2^(add_shift-1)) >> add_shift, add_lo, add_hi). Without a residual
    the result has the mid type; with one, `mid` is the type of q before the addition (its scale is informative). So is
    `table_in`, the type of q before the table.
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
    table_in = opt_prop_def(QType)
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
        table_in: QType | None = None,
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
        if table_in is not None:
            properties["table_in"] = table_in
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
    def first_type(self) -> QType:
        """Type of q before the table and the residual; the mid type where a table does not say what it reads."""
        return self.table_in if self.table_in is not None else self.mid_type

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
        check_nhwc(self.input, "input")
        check_element(self.input, i32, "input")
        check_same_shape(self.input, self.output, "requantize")
        q = q_of(self.output)
        check_constant(self.bias, "int32", (k,), "bias")
        if int(check_constant(self.mult, "int32", (k,), "mult").astype(np.int64).min()) < 0:
            raise VerifyException("mult must not be negative")
        shift = check_constant(self.shift, "uint8", (k,), "shift").astype(np.int64)
        if int(shift.min()) < 1 or int(shift.max()) > 62:
            raise VerifyException("shift must be in [1, 62]")
        if self.table is None:
            if self.table_in is not None:
                raise VerifyException("table_in given without a table")
            check_clamp(self.lo, self.hi, self.mid_type)
        else:
            check_constant(self.table, self.mid_type.dtype.name, (256,), "table")
            if self.table_in is not None:
                check_clamp(self.lo, self.hi, self.table_in)
            check_clamp(self.lo, self.hi, QType.of(self.lo.value.data < 0, 1.0))  # so that q & 255 is unambiguous
        add = (self.mult_a, self.mult_b, self.add_shift, self.add_lo, self.add_hi, self.mid)
        if self.residual is None:
            if any(a is not None for a in add):
                raise VerifyException("addition parameters given without a residual")
            return
        if any(a is None for a in add) or self.addition is None:
            raise VerifyException("a residual needs mid, mult_a, mult_b, add_shift, add_lo and add_hi")
        q_of(self.residual)
        check_same_shape(self.residual, self.output, "residual")
        check_addition(self.addition, q)


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
        check_nhwc(self.lhs, "lhs")
        check_same_shape(self.lhs, self.rhs, "add")
        check_same_shape(self.lhs, self.output, "add")
        check_addition(self.addition, q_of(self.output))


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
        check_nhwc(self.input, "input")
        check_same_shape(self.input, self.output, "lookup")
        check_constant(self.table, q_of(self.output).dtype.name, (256,), "table")


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
        _, h, w, c = check_nhwc(self.output, "output")
        total = 0
        for x in self.inputs:
            _, xh, xw, xc = check_nhwc(x, "operand")
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
        check_nhwc(self.input, "input")
        check_nhwc(self.output, "output")
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

__all__ = [
    "OPS",
    "AddOp",
    "AvgPoolOp",
    "BasisConv2dOp",
    "CoeffCombineOp",
    "ConcatOp",
    "Conv2dOp",
    "DequantizeOp",
    "Esc",
    "EscOp",
    "LookupOp",
    "MaxPoolOp",
    "QType",
    "QuantizeOp",
    "RequantizeOp",
    "SliceOp",
    "SoftmaxOp",
    "i64_array",
    "ints",
    "q_of",
    "q_tensor",
    "shape_of",
    "tensor_type",
    "window_output",
]
