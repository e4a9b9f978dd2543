"""The `onnx` dialect: the imported graph, NCHW, one operation per ONNX node under the ONNX operator's name.

Attribute names are those of ONNX (and of onnx-mlir's dialect of the same name). What ONNX lets a model give as an
optional constant input (bounds of Clip, axes of Slice, Pad, ReduceMean, ...; scale and zero point of QuantizeLinear) is
an attribute here. Weights stay operands, fed by `onnx.Constant`, in QDQ models by `onnx.Constant` ->
`onnx.DequantizeLinear`. Absent optional operands are simply missing. Shapes are static; each operation infers its
result type from operands and attributes, and its verifier checks that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import IntegerAttr, TensorType, f32, i8, i32
from xdsl.ir import Attribute, Dialect, SSAValue
from xdsl.irdl import irdl_op_definition, operand_def, prop_def, result_def, traits_def
from xdsl.traits import Pure

from dialects import onnx_shapes as shapes
from dialects.attributes import i64_array, integer, ints
from dialects.blob import DenseAttr, u8
from dialects.found import operations
from dialects.interpreters import kernels
from dialects.onnx_base import (
    ONE,
    Array,
    OnnxOp,
    StorageRule,
    element_of,
    f32_tensor,
    float_attr,
    float_shape,
    shape_of,
    tensor_of,
)
from dialects.onnx_elementwise import (
    AddOp,
    BinaryOp,
    ClipOp,
    DivOp,
    DropoutOp,
    EluOp,
    HardSigmoidOp,
    HardSwishOp,
    IdentityOp,
    LeakyReluOp,
    MulOp,
    ReluOp,
    SigmoidOp,
    SoftmaxOp,
    SubOp,
    TanhOp,
    UnaryOp,
)
from dialects.onnx_layers import (
    BatchNormalizationOp,
    ConvOp,
    GemmOp,
    MatMulOp,
    ReduceMeanOp,
)
from dialects.onnx_movement import ConcatOp, FlattenOp, PadOp, ReshapeOp, SliceOp, SqueezeOp, TransposeOp, UnsqueezeOp


@irdl_op_definition
class ConstantOp(OnnxOp):
    """A constant tensor."""

    name = "onnx.Constant"
    value = prop_def(DenseAttr)
    output = result_def(TensorType)
    traits = traits_def(Pure())
    assembly_format = "attr-dict `:` type($output)"

    def __init__(self, value: NDArray[np.generic] | DenseAttr):
        super().__init__([], {"value": value if isinstance(value, DenseAttr) else DenseAttr.of(value)})

    def infer(self) -> TensorType[Attribute]:
        return self.value.type

    def compute(self, args: Sequence[Array]) -> Array:
        return self.value.array


def _quantisation(x: tuple[int, ...], scale: DenseAttr, zero_point: DenseAttr, axis: int) -> None:
    s = scale.array
    if scale.type.element_type != f32 or not np.all(s.astype(np.float32) > 0):
        raise ValueError("scale must be positive f32")
    if s.shape != zero_point.array.shape:
        raise ValueError(f"scale {list(s.shape)} and zero_point {list(zero_point.array.shape)} differ in shape")
    if s.ndim > 1 or (s.ndim == 1 and s.shape[0] != x[shapes.axis_in(axis, len(x))]):
        raise ValueError(f"scale {list(s.shape)} is neither a scalar nor one value per index of axis {axis}")


@irdl_op_definition
class QuantizeLinearOp(OnnxOp):
    """y = saturate(round_half_even(x / scale) + zero_point); per tensor, or per index of `axis` with vectors.

    `scale` f32 and `zero_point` (i8 or ui8: the type of the result) are scalars `[]` or vectors of one length.
    """

    name = "onnx.QuantizeLinear"
    STORAGE: ClassVar[StorageRule] = StorageRule.PRESCRIBED
    QUANTISED_FORM: ClassVar[str] = "passes.quantization.forms.elementwise:rescale"
    TORCH_FORM: ClassVar[str] = "escc.training.forms.scalars:quantise"
    input = operand_def(TensorType)
    scale = prop_def(DenseAttr)
    zero_point = prop_def(DenseAttr)
    axis = prop_def(IntegerAttr, default_value=ONE)
    output = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(self, x: SSAValue, scale: NDArray[np.generic], zero_point: NDArray[np.generic], axis: int = 1):
        values = {"scale": DenseAttr.of(scale), "zero_point": DenseAttr.of(zero_point), "axis": integer(axis)}
        super().__init__([x], values)

    def infer(self) -> TensorType[Attribute]:
        x = float_shape(self.input)
        _quantisation(x, self.scale, self.zero_point, self.axis.value.data)
        if self.zero_point.type.element_type not in (i8, u8):
            raise ValueError(f"zero_point has type {self.zero_point.type}; requires elements of i8 or ui8")
        return TensorType(self.zero_point.type.element_type, x)

    def compute(self, args: Sequence[Array]) -> Array:
        return kernels.quantize(args[0], self.scale.array, self.zero_point.array, self.axis.value.data)


@irdl_op_definition
class DequantizeLinearOp(OnnxOp):
    """y = (x - zero_point) * scale; per tensor, or per index of `axis` with vectors. x, zero_point: i8, ui8 or i32."""

    name = "onnx.DequantizeLinear"
    STORAGE: ClassVar[StorageRule] = StorageRule.PRESCRIBED
    QUANTISED_FORM: ClassVar[str] = "passes.quantization.forms.elementwise:rescale"
    TORCH_FORM: ClassVar[str] = "escc.training.forms.scalars:dequantise"
    input = operand_def(TensorType)
    scale = prop_def(DenseAttr)
    zero_point = prop_def(DenseAttr)
    axis = prop_def(IntegerAttr, default_value=ONE)
    output = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(self, x: SSAValue, scale: NDArray[np.generic], zero_point: NDArray[np.generic], axis: int = 1):
        values = {"scale": DenseAttr.of(scale), "zero_point": DenseAttr.of(zero_point), "axis": integer(axis)}
        super().__init__([x], values)

    def infer(self) -> TensorType[Attribute]:
        x = shape_of(self.input)
        _quantisation(x, self.scale, self.zero_point, self.axis.value.data)
        element = element_of(self.input)
        if element not in (i8, u8, i32) or self.zero_point.type.element_type != element:
            raise ValueError(
                f"input {self.input.type} and zero_point {self.zero_point.type}; requires both of i8, ui8 or i32"
            )
        return f32_tensor(x)

    def compute(self, args: Sequence[Array]) -> Array:
        return kernels.dequantize(args[0], self.scale.array, self.zero_point.array, self.axis.value.data)


Onnx = Dialect("onnx", [ConstantOp, QuantizeLinearOp, DequantizeLinearOp, *operations("onnx")], [])

__all__ = [
    "AddOp",
    "BatchNormalizationOp",
    "BinaryOp",
    "ClipOp",
    "ConcatOp",
    "ConstantOp",
    "ConvOp",
    "DequantizeLinearOp",
    "DivOp",
    "DropoutOp",
    "EluOp",
    "FlattenOp",
    "GemmOp",
    "HardSigmoidOp",
    "HardSwishOp",
    "IdentityOp",
    "LeakyReluOp",
    "MatMulOp",
    "MulOp",
    "Onnx",
    "OnnxOp",
    "PadOp",
    "QuantizeLinearOp",
    "ReduceMeanOp",
    "ReluOp",
    "ReshapeOp",
    "SigmoidOp",
    "SliceOp",
    "SoftmaxOp",
    "SqueezeOp",
    "SubOp",
    "TanhOp",
    "TransposeOp",
    "UnaryOp",
    "UnsqueezeOp",
    "element_of",
    "float_attr",
    "i64_array",
    "integer",
    "ints",
    "shape_of",
    "tensor_of",
]
