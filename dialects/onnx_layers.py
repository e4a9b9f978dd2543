"""Convolutions, matrix products and normalisation of the `onnx` dialect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from xdsl.dialects.builtin import DenseArrayBase, FloatAttr, IntegerAttr, TensorType
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import irdl_op_definition, operand_def, opt_operand_def, prop_def, result_def, traits_def
from xdsl.traits import Pure

from dialects import onnx_shapes as shapes
from dialects.attributes import i64_array, integer, ints
from dialects.interpreters import kernels
from dialects.onnx_base import (
    ONE,
    ZERO,
    Array,
    OnnxOp,
    PadsItself,
    StorageRule,
    extent_of,
    f32_tensor,
    float_attr,
    float_shape,
    shape_of,
)


@irdl_op_definition
class ConvOp(PadsItself):
    """2-D convolution, NCHW: `weight` [M, C/group, kH, kW], `bias` [M], `pads` [top, left, bottom, right] of zeros.

    Neighbouring taps of a window lie `dilations` [y, x] positions apart; canonicalisation leaves only those of [1, 1].
    """

    name = "onnx.Conv"
    ZERO_PADS: ClassVar[bool] = True
    FORM: ClassVar[str] = "form"
    """Attribute that tells what the weights are made of, by name, and the "operation" of level `esc` that holds it."""
    STORAGE: ClassVar[StorageRule] = StorageRule.REQUANTISED
    QUANTISED_FORM: ClassVar[str] = "passes.quantization.forms.convolutions:convolution"
    TORCH_FORM: ClassVar[str] = "escc.training.forms.float_convolutions:convolution"
    input = operand_def(TensorType)
    weight = operand_def(TensorType)
    bias = opt_operand_def(TensorType)
    kernel_shape = prop_def(DenseArrayBase)
    strides = prop_def(DenseArrayBase, default_value=i64_array([1, 1]))
    pads = prop_def(DenseArrayBase, default_value=i64_array([0, 0, 0, 0]))
    dilations = prop_def(DenseArrayBase, default_value=i64_array([1, 1]))
    group = prop_def(IntegerAttr, default_value=ONE)
    output = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(
        self,
        x: SSAValue,
        weight: SSAValue,
        bias: SSAValue | None = None,
        *,
        strides: Sequence[int] = (1, 1),
        pads: Sequence[int] = (0, 0, 0, 0),
        dilations: Sequence[int] = (1, 1),
        group: int = 1,
    ):
        properties = {
            "kernel_shape": i64_array(shape_of(weight)[2:]),
            "strides": i64_array(strides),
            "pads": i64_array(pads),
            "dilations": i64_array(dilations),
            "group": integer(group),
        }
        super().__init__([x, weight, bias], properties)

    def infer(self) -> TensorType[Attribute]:
        w = float_shape(self.weight, "weight")
        dilations = ints(self.dilations)
        if len(dilations) != 2 or min(dilations) < 1:
            raise ValueError(f"dilations={list(dilations)}; requires two positive integers")
        spread = (*w[:2], *((k - 1) * d + 1 for k, d in zip(w[2:], dilations, strict=True)))
        result = shapes.conv(
            float_shape(self.input), spread, ints(self.strides), ints(self.pads), self.group.value.data
        )
        if ints(self.kernel_shape) != w[2:]:
            raise ValueError(f"kernel_shape={list(ints(self.kernel_shape))} does not fit weight {list(w)}")
        if self.bias is not None and float_shape(self.bias, "bias") != (w[0],):
            raise ValueError(f"bias has shape {list(shape_of(self.bias))}; requires [{w[0]}]")
        return f32_tensor(result)

    def compute(self, args: Sequence[Array]) -> Array:
        bias = args[2] if len(args) == 3 else None
        group, steps = self.group.value.data, (ints(self.strides), ints(self.dilations))
        return kernels.conv(args[0], args[1], bias, *steps, ints(self.pads), group, extent_of(self.output))

    def with_pads(self, extra: Sequence[int], value: float, least: float) -> Mapping[str, Attribute] | None:
        return {"pads": i64_array([a + b for a, b in zip(ints(self.pads), extra, strict=True)])} if value == 0 else None


@irdl_op_definition
class BatchNormalizationOp(OnnxOp):
    """Inference: y = (x - mean) / sqrt(var + epsilon) * scale + bias, each parameter a vector over axis 1."""

    name = "onnx.BatchNormalization"
    input = operand_def(TensorType)
    scale = operand_def(TensorType)
    bias = operand_def(TensorType)
    mean = operand_def(TensorType)
    var = operand_def(TensorType)
    epsilon = prop_def(FloatAttr, default_value=float_attr(1e-5))
    output = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(self, x: SSAValue, parameters: Sequence[SSAValue], epsilon: float):
        super().__init__([x, *parameters], {"epsilon": float_attr(epsilon)})

    def infer(self) -> TensorType[Attribute]:
        x = float_shape(self.input)
        for name, p in (("scale", self.scale), ("bias", self.bias), ("mean", self.mean), ("var", self.var)):
            if len(x) < 2 or float_shape(p, name) != (x[1],):
                raise ValueError(f"{name} has shape {list(shape_of(p))}; requires one value per channel of {list(x)}")
        return f32_tensor(x)

    def compute(self, args: Sequence[Array]) -> Array:
        x, scale, bias, mean, var = args
        slope = scale / np.sqrt(var + np.float32(self.epsilon.value.data))
        offset = bias - mean * slope
        return x * kernels.along(slope, 1, x.ndim) + kernels.along(offset, 1, x.ndim)


@irdl_op_definition
class GemmOp(OnnxOp):
    """y = alpha * a' @ b' + beta * c; a' and b' transposed as `transA`, `transB` say, c broadcast to the result."""

    name = "onnx.Gemm"
    lhs = operand_def(TensorType)
    rhs = operand_def(TensorType)
    bias = opt_operand_def(TensorType)
    alpha = prop_def(FloatAttr, default_value=float_attr(1.0))
    beta = prop_def(FloatAttr, default_value=float_attr(1.0))
    transA = prop_def(IntegerAttr, default_value=ZERO)
    transB = prop_def(IntegerAttr, default_value=ZERO)
    output = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(
        self,
        lhs: SSAValue,
        rhs: SSAValue,
        bias: SSAValue | None = None,
        *,
        alpha: float = 1.0,
        beta: float = 1.0,
        trans_a: bool = False,
        trans_b: bool = False,
    ):
        properties = {
            "alpha": float_attr(alpha),
            "beta": float_attr(beta),
            "transA": integer(trans_a),
            "transB": integer(trans_b),
        }
        super().__init__([lhs, rhs, bias], properties)

    def infer(self) -> TensorType[Attribute]:
        a, b = float_shape(self.lhs, "lhs"), float_shape(self.rhs, "rhs")
        result = shapes.gemm(a, b, bool(self.transA.value.data), bool(self.transB.value.data))
        if self.bias is not None and shapes.broadcast(float_shape(self.bias, "bias"), result) != result:
            raise ValueError(
                f"bias has shape {list(shape_of(self.bias))}; requires one that broadcasts to {list(result)}"
            )
        return f32_tensor(result)

    def compute(self, args: Sequence[Array]) -> Array:
        a = args[0].T if self.transA.value.data else args[0]
        b = args[1].T if self.transB.value.data else args[1]
        y = np.float32(self.alpha.value.data) * kernels.matmul(a, b)
        if len(args) == 3:
            y = y + np.float32(self.beta.value.data) * args[2]
        return y


@irdl_op_definition
class MatMulOp(OnnxOp):
    """Matrix product of the last two axes, the others broadcast."""

    name = "onnx.MatMul"
    lhs = operand_def(TensorType)
    rhs = operand_def(TensorType)
    output = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(self, lhs: SSAValue, rhs: SSAValue):
        super().__init__([lhs, rhs])

    def infer(self) -> TensorType[Attribute]:
        return f32_tensor(shapes.matmul(float_shape(self.lhs, "lhs"), float_shape(self.rhs, "rhs")))

    def compute(self, args: Sequence[Array]) -> Array:
        return kernels.matmul(args[0], args[1])


@irdl_op_definition
class ReduceMeanOp(OnnxOp):
    """Mean over `axes`, which stay with extent 1 when `keepdims` is 1."""

    name = "onnx.ReduceMean"
    input = operand_def(TensorType)
    axes = prop_def(DenseArrayBase)
    keepdims = prop_def(IntegerAttr, default_value=ONE)
    output = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(self, x: SSAValue, axes: Sequence[int], keepdims: bool):
        super().__init__([x], {"axes": i64_array(axes), "keepdims": integer(keepdims)})

    def infer(self) -> TensorType[Attribute]:
        return f32_tensor(shapes.reduce(float_shape(self.input), ints(self.axes), bool(self.keepdims.value.data)))

    def compute(self, args: Sequence[Array]) -> Array:
        return args[0].mean(axis=ints(self.axes), keepdims=bool(self.keepdims.value.data), dtype=np.float32)
