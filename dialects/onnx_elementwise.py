"""Elementwise operations of the `onnx` dialect, and Softmax."""

from __future__ import annotations

import math
from abc import ABC
from collections.abc import Mapping

from xdsl.dialects.builtin import FloatAttr, IntegerAttr, TensorType
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import irdl_op_definition, operand_def, opt_prop_def, prop_def, result_def, traits_def
from xdsl.traits import Pure

from dialects import onnx_shapes as shapes
from dialects.onnx_base import OnnxOp, f32_tensor, float_attr, float_shape


class UnaryOp(OnnxOp, ABC):
    """Elementwise: one tensor of f32 in, one of the same type out."""

    input = operand_def(TensorType)
    output = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(self, x: SSAValue, properties: Mapping[str, Attribute | None] | None = None):
        super().__init__([x], properties)

    def infer(self) -> TensorType[Attribute]:
        return f32_tensor(float_shape(self.input))


@irdl_op_definition
class IdentityOp(UnaryOp):
    """y = x. Conversions between floating-point types are imported as this: everything is widened to f32."""

    name = "onnx.Identity"


@irdl_op_definition
class DropoutOp(UnaryOp):
    """y = x: dropout of a network that is not training."""

    name = "onnx.Dropout"


@irdl_op_definition
class ReluOp(UnaryOp):
    """y = max(x, 0)."""

    name = "onnx.Relu"


@irdl_op_definition
class LeakyReluOp(UnaryOp):
    """y = x if x >= 0 else alpha * x."""

    name = "onnx.LeakyRelu"
    alpha = prop_def(FloatAttr, default_value=float_attr(0.01))


@irdl_op_definition
class ClipOp(UnaryOp):
    """y = min(max(x, min), max); a missing bound does not bound."""

    name = "onnx.Clip"
    min = opt_prop_def(FloatAttr)
    max = opt_prop_def(FloatAttr)

    @classmethod
    def of(cls, x: SSAValue, low: float, high: float) -> ClipOp:
        """From bounds that may be infinite."""
        return cls(
            x,
            {
                "min": float_attr(low) if math.isfinite(low) else None,
                "max": float_attr(high) if math.isfinite(high) else None,
            },
        )

    @property
    def low(self) -> float:
        """Lower bound, -inf if there is none."""
        return -math.inf if self.min is None else self.min.value.data

    @property
    def high(self) -> float:
        """Upper bound, +inf if there is none."""
        return math.inf if self.max is None else self.max.value.data


@irdl_op_definition
class SigmoidOp(UnaryOp):
    """y = 1 / (1 + exp(-x))."""

    name = "onnx.Sigmoid"


@irdl_op_definition
class HardSigmoidOp(UnaryOp):
    """y = min(max(alpha * x + beta, 0), 1)."""

    name = "onnx.HardSigmoid"
    alpha = prop_def(FloatAttr, default_value=float_attr(0.2))
    beta = prop_def(FloatAttr, default_value=float_attr(0.5))


@irdl_op_definition
class HardSwishOp(UnaryOp):
    """y = x * min(max(x / 6 + 0.5, 0), 1)."""

    name = "onnx.HardSwish"


@irdl_op_definition
class TanhOp(UnaryOp):
    """y = tanh(x)."""

    name = "onnx.Tanh"


@irdl_op_definition
class EluOp(UnaryOp):
    """y = x if x >= 0 else alpha * (exp(x) - 1)."""

    name = "onnx.Elu"
    alpha = prop_def(FloatAttr, default_value=float_attr(1.0))


@irdl_op_definition
class SoftmaxOp(UnaryOp):
    """y = exp(x) / sum of exp(x) along `axis`."""

    name = "onnx.Softmax"
    axis = prop_def(IntegerAttr)

    def infer(self) -> TensorType[Attribute]:
        shapes.axis_in(self.axis.value.data, len(float_shape(self.input)))
        return super().infer()


class BinaryOp(OnnxOp, ABC):
    """Elementwise of two tensors of f32 with NumPy broadcasting."""

    lhs = operand_def(TensorType)
    rhs = operand_def(TensorType)
    output = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(self, lhs: SSAValue, rhs: SSAValue):
        super().__init__([lhs, rhs])

    def infer(self) -> TensorType[Attribute]:
        return f32_tensor(shapes.broadcast(float_shape(self.lhs, "lhs"), float_shape(self.rhs, "rhs")))


@irdl_op_definition
class AddOp(BinaryOp):
    """y = lhs + rhs."""

    name = "onnx.Add"


@irdl_op_definition
class SubOp(BinaryOp):
    """y = lhs - rhs."""

    name = "onnx.Sub"


@irdl_op_definition
class MulOp(BinaryOp):
    """y = lhs * rhs."""

    name = "onnx.Mul"


@irdl_op_definition
class DivOp(BinaryOp):
    """y = lhs / rhs."""

    name = "onnx.Div"
