"""Operations of the `esc` dialect that the host runs in floating point at the boundary of a model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from xdsl.dialects.builtin import DenseArrayBase, IntegerAttr, TensorType, UnitAttr, f32, i64
from xdsl.ir import Attribute, SSAValue
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

from dialects.attributes import i64_array, ints
from dialects.esc_base import (
    Array,
    EscOp,
    check_element,
    check_nhwc,
    q_of,
    shape_of,
)
from isa import reference
from isa.program import ArgMax


@irdl_op_definition
class QuantizeOp(EscOp):
    """Host: q = clamp(round_half_even(x / scale)) of a float NCHW tensor, laid out NHWC.

    Inputs of other ranks from 1 to 5 are taken as the maps of `isa.reference.map_shape`.
    """

    name = "esc.quantize"
    TORCH_FORM: ClassVar[str] = "escc.training.forms.host:quantise"
    ONNX_FORM: ClassVar[str] = "escc.onnx_export.forms.host:quantise"
    input = operand_def(TensorType)
    output = result_def(TensorType)
    traits = traits_def(Pure())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$input attr-dict `:` type($input) `->` type($output)"

    def __init__(self, x: SSAValue, result: TensorType[Attribute]):
        super().__init__(operands=[x], result_types=[result])

    def compute(self, args: Sequence[Array]) -> Array:
        q = q_of(self.output)
        return reference.quantize_input(args[0], q.scale, q.signed)

    def verify_(self) -> None:
        check_element(self.input, f32, "input")
        q_of(self.output)
        shape = shape_of(self.input)
        if not 1 <= len(shape) <= 5:
            raise VerifyException(f"input {list(shape)} has {len(shape)} dimensions; requires 1 to 5")
        n, c, h, w = reference.map_shape(shape)
        if shape_of(self.output) != (n, h, w, c):
            raise VerifyException(
                f"input {list(shape)} and output {list(shape_of(self.output))} do not agree (NCHW -> NHWC)"
            )


@irdl_op_definition
class DequantizeOp(EscOp):
    """Host: x = q * scale, NHWC -> NCHW, then reshaped (row-major) to the result type.

    With `perm`, the NCHW tensor is reshaped to `view` and transposed by `perm` first.
    """

    name = "esc.dequantize"
    TORCH_FORM: ClassVar[str] = "escc.training.forms.host:dequantise"
    ONNX_FORM: ClassVar[str] = "escc.onnx_export.forms.host:dequantise"
    input = operand_def(TensorType)
    view = opt_prop_def(DenseArrayBase)
    perm = opt_prop_def(DenseArrayBase)
    output = result_def(TensorType)
    traits = traits_def(Pure())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$input attr-dict `:` type($input) `->` type($output)"

    def __init__(self, x: SSAValue, result: TensorType[Attribute], view: Sequence[int] = (), perm: Sequence[int] = ()):
        properties = {"view": i64_array(view), "perm": i64_array(perm)} if perm else {}
        super().__init__(operands=[x], result_types=[result], properties=properties)

    @property
    def rearrangement(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """`view` and `perm`, both empty if nothing is transposed."""
        return (() if self.view is None else ints(self.view)), (() if self.perm is None else ints(self.perm))

    def compute(self, args: Sequence[Array]) -> Array:
        scale = q_of(self.input).scale
        return reference.dequantize_output(args[0], scale, shape_of(self.output), *self.rearrangement)

    def verify_(self) -> None:
        check_nhwc(self.input, "input")
        q_of(self.input)
        check_element(self.output, f32, "output")
        elements = math.prod(shape_of(self.input))
        if elements != math.prod(shape_of(self.output)):
            raise VerifyException("input and output have different numbers of elements")
        view, perm = self.rearrangement
        if sorted(perm) != list(range(len(view))) or (view and (min(view) < 1 or math.prod(view) != elements)):
            raise VerifyException(
                f"view {list(view)} and perm {list(perm)} are no transpose of {elements} elements; requires extents "
                "with that product and a permutation of their axes"
            )


@irdl_op_definition
class SoftmaxOp(EscOp):
    """Host: float Softmax along `axis`, numerically stabilised by the maximum; its logarithm with `logarithm`."""

    name = "esc.softmax"
    TORCH_FORM: ClassVar[str] = "escc.training.forms.host:softmax"
    ONNX_FORM: ClassVar[str] = "escc.onnx_export.forms.host:softmax"
    input = operand_def(TensorType)
    axis = prop_def(IntegerAttr)
    logarithm = opt_prop_def(UnitAttr)
    output = result_def(TensorType)
    traits = traits_def(Pure())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$input attr-dict `:` type($input) `->` type($output)"

    def __init__(self, x: SSAValue, axis: int, logarithm: bool = False):
        properties = {"axis": IntegerAttr(axis, i64), "logarithm": UnitAttr() if logarithm else None}
        super().__init__(operands=[x], result_types=[x.type], properties=properties)

    def compute(self, args: Sequence[Array]) -> Array:
        softmax = reference.softmax if self.logarithm is None else reference.log_softmax
        return softmax(args[0], self.axis.value.data - len(shape_of(self.input)))

    def verify_(self) -> None:
        check_element(self.input, f32, "input")
        if self.input.type != self.output.type:
            raise VerifyException("input and output types differ")
        rank = len(shape_of(self.input))
        if not 0 <= self.axis.value.data < rank:
            raise VerifyException(f"axis {self.axis.value.data} outside rank {rank}")
        if self.axis.value.data == 0 and shape_of(self.input)[0] == 1:
            raise VerifyException("axis 0 is that of the images; requires another")


@irdl_op_definition
class ArgMaxOp(EscOp):
    """Host: index of the largest number along `axis`, int64: of equal ones the first, or the last with `last`.

    The result has any shape of so many indices, in row-major order.
    """

    name = "esc.arg_max"
    TORCH_FORM: ClassVar[str] = "escc.training.forms.host:arg_max"
    ONNX_FORM: ClassVar[str] = "escc.onnx_export.forms.host:arg_max"
    input = operand_def(TensorType)
    axis = prop_def(IntegerAttr)
    last = opt_prop_def(UnitAttr)
    output = result_def(TensorType)
    traits = traits_def(Pure())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$input attr-dict `:` type($input) `->` type($output)"

    def __init__(self, x: SSAValue, result: TensorType[Attribute], axis: int, last: bool = False):
        properties = {"axis": IntegerAttr(axis, i64), "last": UnitAttr() if last else None}
        super().__init__(operands=[x], result_types=[result], properties=properties)

    @property
    def choice(self) -> ArgMax:
        """What is chosen of which scores."""
        return ArgMax(shape_of(self.input), self.axis.value.data, self.last is not None)

    def compute(self, args: Sequence[Array]) -> Array:
        return self.choice.of(args[0], shape_of(self.output))

    def verify_(self) -> None:
        check_element(self.input, f32, "input")
        check_element(self.output, i64, "output")
        if fault := self.choice.fault(shape_of(self.output)):
            raise VerifyException(fault)
