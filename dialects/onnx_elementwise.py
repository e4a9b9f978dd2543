"""Elementwise operations of the `onnx` dialect, and Softmax."""

from __future__ import annotations

import math
from abc import ABC
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import ClassVar

import numpy as np
from xdsl.dialects.builtin import FloatAttr, IntegerAttr, TensorType, UnitAttr
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import irdl_op_definition, operand_def, opt_prop_def, prop_def, result_def, traits_def
from xdsl.traits import Pure

from dialects import onnx_shapes as shapes
from dialects import scalar_functions
from dialects.interpreters import kernels
from dialects.onnx_base import (
    Array,
    OnnxOp,
    StorageRule,
    f32_tensor,
    float_attr,
    float_shape,
    moved_tensor,
    shape_of,
)
from dialects.scalar_functions import ScalarFunction
from isa import reference


class UnaryOp(OnnxOp, ABC):
    """Elementwise: one tensor of f32 in, one of the same type out."""

    input = operand_def(TensorType)
    output = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(self, x: SSAValue, properties: Mapping[str, Attribute | None] | None = None):
        super().__init__([x], properties)

    def infer(self) -> TensorType[Attribute]:
        return f32_tensor(float_shape(self.input))


class ScalarOp(UnaryOp, ABC):
    """A function of one number, by a table of 8-bit values on the machine."""

    FUNCTION: ClassVar[ScalarFunction]
    STORAGE: ClassVar[StorageRule] = StorageRule.TABLE
    QUANTISED_FORM: ClassVar[str] = "passes.quantization.forms.elementwise:look_up"
    TORCH_FORM: ClassVar[str] = "escc.training.forms.scalars:function"

    @property
    def parameters(self) -> dict[str, float]:
        """Parameters of the function; an attribute that is absent has none."""
        return {name: a.value.data for name, a in self.properties.items() if isinstance(a, FloatAttr)}

    @property
    def function(self) -> Callable[[Array], Array]:
        """The real function, of float arrays of any type."""
        return partial(self.FUNCTION.compute, **self.parameters)

    @property
    def clamp(self) -> tuple[float, float] | None:
        """The bounds, infinite where there are none, if the function is nothing but a clamp; else None."""
        return None

    @property
    def non_negative(self) -> bool:
        """Whether no result is below 0."""
        return self.FUNCTION.non_negative

    @property
    def keeps_non_negative(self) -> bool:
        """Whether no result of a number that is not below 0 is below 0."""
        return True

    def compute(self, args: Sequence[Array]) -> Array:
        return np.asarray(self.function(args[0]), np.float32)


@irdl_op_definition
class IdentityOp(UnaryOp):
    """y = x, floats or indices (i64).

    Conversions between floating-point types are imported as this: everything is widened to f32. So are conversions of
    indices to another integer type.
    """

    name = "onnx.Identity"

    def infer(self) -> TensorType[Attribute]:
        return moved_tensor(self.input, shape_of(self.input))

    def compute(self, args: Sequence[Array]) -> Array:
        return args[0]


@irdl_op_definition
class DropoutOp(UnaryOp):
    """y = x: dropout of a network that is not training."""

    name = "onnx.Dropout"

    def compute(self, args: Sequence[Array]) -> Array:
        return args[0]


@irdl_op_definition
class ReluOp(ScalarOp):
    """y = max(x, 0)."""

    name = "onnx.Relu"
    FUNCTION: ClassVar[ScalarFunction] = scalar_functions.RELU

    @property
    def clamp(self) -> tuple[float, float] | None:
        return 0.0, math.inf


@irdl_op_definition
class LeakyReluOp(ScalarOp):
    """y = x if x >= 0 else alpha * x."""

    name = "onnx.LeakyRelu"
    FUNCTION: ClassVar[ScalarFunction] = scalar_functions.LEAKY_RELU
    alpha = prop_def(FloatAttr, default_value=float_attr(0.01))


@irdl_op_definition
class ClipOp(ScalarOp):
    """y = min(max(x, min), max); a missing bound does not bound."""

    name = "onnx.Clip"
    FUNCTION: ClassVar[ScalarFunction] = scalar_functions.CLIP
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

    @property
    def clamp(self) -> tuple[float, float] | None:
        return self.low, self.high

    @property
    def non_negative(self) -> bool:
        return self.low >= 0 and self.keeps_non_negative

    @property
    def keeps_non_negative(self) -> bool:
        return self.high >= 0


@irdl_op_definition
class SigmoidOp(ScalarOp):
    """y = 1 / (1 + exp(-x))."""

    name = "onnx.Sigmoid"
    FUNCTION: ClassVar[ScalarFunction] = scalar_functions.SIGMOID


@irdl_op_definition
class HardSigmoidOp(ScalarOp):
    """y = min(max(alpha * x + beta, 0), 1)."""

    name = "onnx.HardSigmoid"
    FUNCTION: ClassVar[ScalarFunction] = scalar_functions.HARD_SIGMOID
    alpha = prop_def(FloatAttr, default_value=float_attr(0.2))
    beta = prop_def(FloatAttr, default_value=float_attr(0.5))


@irdl_op_definition
class HardSwishOp(ScalarOp):
    """y = x * min(max(x / 6 + 0.5, 0), 1)."""

    name = "onnx.HardSwish"
    FUNCTION: ClassVar[ScalarFunction] = scalar_functions.HARD_SWISH


@irdl_op_definition
class TanhOp(ScalarOp):
    """y = tanh(x)."""

    name = "onnx.Tanh"
    FUNCTION: ClassVar[ScalarFunction] = scalar_functions.TANH


@irdl_op_definition
class EluOp(ScalarOp):
    """y = x if x >= 0 else alpha * (exp(x) - 1)."""

    name = "onnx.Elu"
    FUNCTION: ClassVar[ScalarFunction] = scalar_functions.ELU
    alpha = prop_def(FloatAttr, default_value=float_attr(1.0))


@irdl_op_definition
class SoftmaxOp(UnaryOp):
    """y = exp(x) / sum of exp(x) along `axis`; with `logarithm`, which is LogSoftmax of ONNX, the logarithm of that."""

    name = "onnx.Softmax"
    STORAGE: ClassVar[StorageRule] = StorageRule.HOST
    TORCH_FORM: ClassVar[str] = "escc.training.forms.scalars:softmax"
    axis = prop_def(IntegerAttr)
    logarithm = opt_prop_def(UnitAttr)

    def infer(self) -> TensorType[Attribute]:
        shapes.axis_in(self.axis.value.data, len(float_shape(self.input)))
        return super().infer()

    def compute(self, args: Sequence[Array]) -> Array:
        softmax = kernels.softmax if self.logarithm is None else reference.log_softmax
        return softmax(args[0], self.axis.value.data - len(shape_of(self.input)))


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
    STORAGE: ClassVar[StorageRule] = StorageRule.REQUANTISED
    QUANTISED_FORM: ClassVar[str] = "passes.quantization.forms.elementwise:add"
    TORCH_FORM: ClassVar[str] = "escc.training.forms.scalars:add"

    def compute(self, args: Sequence[Array]) -> Array:
        return args[0] + args[1]


@irdl_op_definition
class SubOp(BinaryOp):
    """y = lhs - rhs."""

    name = "onnx.Sub"

    def compute(self, args: Sequence[Array]) -> Array:
        return args[0] - args[1]


@irdl_op_definition
class MulOp(BinaryOp):
    """y = lhs * rhs."""

    name = "onnx.Mul"
    STORAGE: ClassVar[StorageRule] = StorageRule.REQUANTISED
    QUANTISED_FORM: ClassVar[str] = "passes.quantization.forms.elementwise:multiply"
    TORCH_FORM: ClassVar[str] = "escc.training.forms.scalars:multiply"

    def compute(self, args: Sequence[Array]) -> Array:
        return args[0] * args[1]


@irdl_op_definition
class DivOp(BinaryOp):
    """y = lhs / rhs."""

    name = "onnx.Div"

    def compute(self, args: Sequence[Array]) -> Array:
        return args[0] / args[1]
