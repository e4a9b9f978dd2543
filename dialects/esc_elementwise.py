"""Operations of the `esc` dialect on values one by one: requantisation, addition, tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import IntegerAttr, TensorType, i32, i64
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import (
    ParsePropInAttrDict,
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    opt_prop_def,
    prop_def,
    result_def,
    traits_def,
)
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from dialects.blob import DenseAttr
from dialects.esc_base import (
    AccumulatorOp,
    Array,
    ChannelwiseOp,
    Flow,
    Mask,
    QType,
    check_addition,
    check_clamp,
    check_constant,
    check_element,
    check_nhwc,
    check_same_shape,
    q_of,
    shape_of,
)
from isa import reference
from isa.reference import Addition


@irdl_op_definition
class RequantizeOp(ChannelwiseOp):
    """q = clamp(((acc + bias[k])*mult[k] + 2^(shift[k]-1)) >> shift[k], lo, hi) in int64.

    Then, if `table` (256 bytes, read as the mid type's bytes) is given, q = table[q & 255]; then, if `residual` is
    given, q = clamp((q*mult_a + residual*mult_b + 2^(add_shift-1)) >> add_shift, add_lo, add_hi). Without a residual
    the result has the mid type; with one, `mid` is the type of q before the addition (its scale is informative). So is
    `table_in`, the type of q before the table.
    `bias`, `mult` int32 [K], `shift` uint8 [K].
    """

    name = "esc.requantize"
    ONNX_FORM: ClassVar[str] = "escc.onnx_export.forms.elementwise:requantise"
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

    def compute(self, args: Sequence[Array]) -> Array:
        table = None if self.table is None else self.table.array
        residual = args[1] if len(args) > 1 else None
        signed = self.mid_type.signed
        return reference.requantize(args[0], *self._block, signed, table, residual, self.addition)

    @property
    def _block(self) -> tuple[Array, Array, Array, int, int]:
        return self.bias.array, self.mult.array, self.shift.array, self.lo.value.data, self.hi.value.data

    def structure_faults(self) -> Iterator[str]:
        yield from super().structure_faults()
        if not isinstance(self.input.owner, AccumulatorOp):
            yield "its input is not a convolution accumulator"

    def zero_channels(self, zero: Mapping[SSAValue, Mask]) -> Mask:
        """Channels that are 0 for the smallest and the largest accumulator, hence (rounding is monotone) for all."""
        conv = self.input.owner
        if not isinstance(conv, AccumulatorOp):
            return super().zero_channels(zero)
        low, high = (np.clip(b, reference.INT32_LOW, reference.INT32_HIGH) for b in conv.accumulator_bounds)
        signed = self.lo.value.data < 0
        constant = reference.requantize(low, *self._block, signed) == reference.requantize(high, *self._block, signed)
        residual = None
        if self.residual is not None:
            constant &= zero[self.residual]
            residual = np.zeros(low.shape, q_of(self.residual).dtype)
        result = self.compute([low] if residual is None else [low, residual])
        return constant & (result == 0)

    def drop_channels(self, flow: Flow) -> bool:
        stays = flow.kept[self.output]
        if not stays.all():
            self.bias, self.mult, self.shift = (
                DenseAttr.of(a.array[stays]) for a in (self.bias, self.mult, self.shift)
            )
        return False

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
class AddOp(ChannelwiseOp):
    """Residual addition: clamp((a*mult_a + b*mult_b + 2^(shift-1)) >> shift, lo, hi) in int64."""

    name = "esc.add"
    TORCH_FORM: ClassVar[str] = "escc.training.forms.elementwise:addition"
    ONNX_FORM: ClassVar[str] = "escc.onnx_export.forms.elementwise:add"
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

    def compute(self, args: Sequence[Array]) -> Array:
        return reference.add(args[0], args[1], self.addition)

    def zero_channels(self, zero: Mapping[SSAValue, Mask]) -> Mask:
        nothing = np.zeros(1, np.int8)
        return zero[self.lhs] & zero[self.rhs] & (int(self.compute([nothing, nothing])[0]) == 0)

    def verify_(self) -> None:
        q_of(self.lhs)
        q_of(self.rhs)
        check_nhwc(self.lhs, "lhs")
        check_same_shape(self.lhs, self.rhs, "add")
        check_same_shape(self.lhs, self.output, "add")
        check_addition(self.addition, q_of(self.output))


@irdl_op_definition
class LookupOp(ChannelwiseOp):
    """Table lookup: output byte = table[input byte]; the table is 256 bytes, int8 or uint8 as the output."""

    name = "esc.lookup"
    TORCH_FORM: ClassVar[str] = "escc.training.forms.elementwise:table"
    ONNX_FORM: ClassVar[str] = "escc.onnx_export.forms.elementwise:look_up"
    input = operand_def(TensorType)
    table = prop_def(DenseAttr)
    output = result_def(TensorType)
    traits = traits_def(Pure())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$input attr-dict `:` type($input) `->` type($output)"

    def __init__(self, x: SSAValue, table: NDArray[np.generic], result: TensorType[Attribute]):
        super().__init__(operands=[x], result_types=[result], properties={"table": DenseAttr.of(table)})

    def compute(self, args: Sequence[Array]) -> Array:
        return reference.lookup(args[0], self.table.array)

    def zero_channels(self, zero: Mapping[SSAValue, Mask]) -> Mask:
        return zero[self.input] & (int(self.table.array[0]) == 0)

    def verify_(self) -> None:
        q_of(self.input)
        check_nhwc(self.input, "input")
        check_same_shape(self.input, self.output, "lookup")
        check_constant(self.table, q_of(self.output).dtype.name, (256,), "table")
