"""Interpreter of the `onnx` dialect: float32 NumPy arrays, NCHW, any batch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.interpreter import Interpreter, InterpreterFunctions, PythonValues, impl, register_impls
from xdsl.ir import SSAValue

from dialects import onnx
from dialects.attributes import ints
from dialects.interpreters import kernels
from dialects.onnx import shape_of

Array = NDArray[Any]


def _extent(op: onnx.ConvOp | onnx.PoolOp) -> tuple[int, int]:
    _, _, h, w = shape_of(op.output)
    return h, w


def _reshaped(x: Array, source: SSAValue, shape: tuple[int, ...]) -> Array:
    """x reshaped to the static `shape`; a batch beyond the one the types know stays in front."""
    batch = x.size // max(math.prod(shape_of(source)), 1)
    if batch != 1 and (not shape or shape[0] != 1):
        raise ValueError(f"a batch of {batch} cannot be reshaped to {list(shape)}")
    return x.reshape(shape if batch == 1 else (batch, *shape[1:]))


@register_impls
class OnnxFunctions(InterpreterFunctions):
    """What each operation computes."""

    @impl(onnx.ConstantOp)
    def constant(self, interpreter: Interpreter, op: onnx.ConstantOp, args: PythonValues) -> PythonValues:
        return (op.value.array,)

    @impl(onnx.IdentityOp)
    def identity(self, interpreter: Interpreter, op: onnx.IdentityOp, args: PythonValues) -> PythonValues:
        return args

    @impl(onnx.DropoutOp)
    def dropout(self, interpreter: Interpreter, op: onnx.DropoutOp, args: PythonValues) -> PythonValues:
        return args

    @impl(onnx.ReluOp)
    def relu(self, interpreter: Interpreter, op: onnx.ReluOp, args: PythonValues) -> PythonValues:
        return (np.maximum(args[0], np.float32(0)),)

    @impl(onnx.LeakyReluOp)
    def leaky_relu(self, interpreter: Interpreter, op: onnx.LeakyReluOp, args: PythonValues) -> PythonValues:
        x: Array = args[0]
        return (np.where(x >= 0, x, x * np.float32(op.alpha.value.data)),)

    @impl(onnx.ClipOp)
    def clip(self, interpreter: Interpreter, op: onnx.ClipOp, args: PythonValues) -> PythonValues:
        return (np.minimum(np.maximum(args[0], np.float32(op.low)), np.float32(op.high)),)

    @impl(onnx.SigmoidOp)
    def sigmoid(self, interpreter: Interpreter, op: onnx.SigmoidOp, args: PythonValues) -> PythonValues:
        return (kernels.sigmoid(args[0]),)

    @impl(onnx.HardSigmoidOp)
    def hard_sigmoid(self, interpreter: Interpreter, op: onnx.HardSigmoidOp, args: PythonValues) -> PythonValues:
        y = args[0] * np.float32(op.alpha.value.data) + np.float32(op.beta.value.data)
        return (np.clip(y, np.float32(0), np.float32(1)),)

    @impl(onnx.HardSwishOp)
    def hard_swish(self, interpreter: Interpreter, op: onnx.HardSwishOp, args: PythonValues) -> PythonValues:
        x = args[0]
        return (x * np.clip(x * np.float32(1 / 6) + np.float32(0.5), np.float32(0), np.float32(1)),)

    @impl(onnx.TanhOp)
    def tanh(self, interpreter: Interpreter, op: onnx.TanhOp, args: PythonValues) -> PythonValues:
        return (kernels.tanh(args[0]),)

    @impl(onnx.EluOp)
    def elu(self, interpreter: Interpreter, op: onnx.EluOp, args: PythonValues) -> PythonValues:
        return (kernels.elu(args[0], op.alpha.value.data),)

    @impl(onnx.SoftmaxOp)
    def softmax(self, interpreter: Interpreter, op: onnx.SoftmaxOp, args: PythonValues) -> PythonValues:
        return (kernels.softmax(args[0], op.axis.value.data),)

    @impl(onnx.AddOp)
    def add(self, interpreter: Interpreter, op: onnx.AddOp, args: PythonValues) -> PythonValues:
        return (args[0] + args[1],)

    @impl(onnx.SubOp)
    def sub(self, interpreter: Interpreter, op: onnx.SubOp, args: PythonValues) -> PythonValues:
        return (args[0] - args[1],)

    @impl(onnx.MulOp)
    def mul(self, interpreter: Interpreter, op: onnx.MulOp, args: PythonValues) -> PythonValues:
        return (args[0] * args[1],)

    @impl(onnx.DivOp)
    def div(self, interpreter: Interpreter, op: onnx.DivOp, args: PythonValues) -> PythonValues:
        return (args[0] / args[1],)

    @impl(onnx.ConvOp)
    def conv(self, interpreter: Interpreter, op: onnx.ConvOp, args: PythonValues) -> PythonValues:
        bias = args[2] if len(args) == 3 else None
        group = op.group.value.data
        return (kernels.conv(args[0], args[1], bias, ints(op.strides), ints(op.pads), group, _extent(op)),)

    @impl(onnx.BatchNormalizationOp)
    def batch_normalization(
        self, interpreter: Interpreter, op: onnx.BatchNormalizationOp, args: PythonValues
    ) -> PythonValues:
        x, scale, bias, mean, var = args
        slope = scale / np.sqrt(var + np.float32(op.epsilon.value.data))
        offset = bias - mean * slope
        return (x * kernels.along(slope, 1, x.ndim) + kernels.along(offset, 1, x.ndim),)

    @impl(onnx.GemmOp)
    def gemm(self, interpreter: Interpreter, op: onnx.GemmOp, args: PythonValues) -> PythonValues:
        a = args[0].T if op.transA.value.data else args[0]
        b = args[1].T if op.transB.value.data else args[1]
        y = np.float32(op.alpha.value.data) * kernels.matmul(a, b)
        if len(args) == 3:
            y = y + np.float32(op.beta.value.data) * args[2]
        return (y,)

    @impl(onnx.MatMulOp)
    def matmul(self, interpreter: Interpreter, op: onnx.MatMulOp, args: PythonValues) -> PythonValues:
        return (kernels.matmul(args[0], args[1]),)

    @impl(onnx.MaxPoolOp)
    def max_pool(self, interpreter: Interpreter, op: onnx.MaxPoolOp, args: PythonValues) -> PythonValues:
        kernel, strides, pads = ints(op.kernel_shape), ints(op.strides), ints(op.pads)
        return (kernels.max_pool(args[0], kernel, strides, pads, _extent(op)),)

    @impl(onnx.AveragePoolOp)
    def average_pool(self, interpreter: Interpreter, op: onnx.AveragePoolOp, args: PythonValues) -> PythonValues:
        kernel, strides, pads = ints(op.kernel_shape), ints(op.strides), ints(op.pads)
        include_pad = bool(op.count_include_pad.value.data)
        return (kernels.average_pool(args[0], kernel, strides, pads, _extent(op), include_pad),)

    @impl(onnx.GlobalAveragePoolOp)
    def global_average_pool(
        self, interpreter: Interpreter, op: onnx.GlobalAveragePoolOp, args: PythonValues
    ) -> PythonValues:
        return (args[0].mean(axis=(2, 3), keepdims=True, dtype=np.float32),)

    @impl(onnx.GlobalMaxPoolOp)
    def global_max_pool(self, interpreter: Interpreter, op: onnx.GlobalMaxPoolOp, args: PythonValues) -> PythonValues:
        return (args[0].max(axis=(2, 3), keepdims=True),)

    @impl(onnx.ReduceMeanOp)
    def reduce_mean(self, interpreter: Interpreter, op: onnx.ReduceMeanOp, args: PythonValues) -> PythonValues:
        return (args[0].mean(axis=ints(op.axes), keepdims=bool(op.keepdims.value.data), dtype=np.float32),)

    @impl(onnx.ConcatOp)
    def concat(self, interpreter: Interpreter, op: onnx.ConcatOp, args: PythonValues) -> PythonValues:
        return (np.concatenate(args, axis=op.axis.value.data),)

    @impl(onnx.SliceOp)
    def slice_(self, interpreter: Interpreter, op: onnx.SliceOp, args: PythonValues) -> PythonValues:
        x = args[0]
        index = [slice(None)] * x.ndim
        for start, end, axis, step in zip(ints(op.starts), ints(op.ends), ints(op.axes), ints(op.steps), strict=True):
            index[axis] = slice(start, end, step)
        return (x[tuple(index)],)

    @impl(onnx.PadOp)
    def pad(self, interpreter: Interpreter, op: onnx.PadOp, args: PythonValues) -> PythonValues:
        x, pads = args[0], ints(op.pads)
        widths = list(zip(pads[: x.ndim], pads[x.ndim :], strict=True))
        return (np.pad(x, widths, constant_values=op.constant_value.value.data),)

    @impl(onnx.ReshapeOp)
    def reshape(self, interpreter: Interpreter, op: onnx.ReshapeOp, args: PythonValues) -> PythonValues:
        return (_reshaped(args[0], op.input, shape_of(op.output)),)

    @impl(onnx.FlattenOp)
    def flatten(self, interpreter: Interpreter, op: onnx.FlattenOp, args: PythonValues) -> PythonValues:
        return (_reshaped(args[0], op.input, shape_of(op.output)),)

    @impl(onnx.SqueezeOp)
    def squeeze(self, interpreter: Interpreter, op: onnx.SqueezeOp, args: PythonValues) -> PythonValues:
        return (_reshaped(args[0], op.input, shape_of(op.output)),)

    @impl(onnx.UnsqueezeOp)
    def unsqueeze(self, interpreter: Interpreter, op: onnx.UnsqueezeOp, args: PythonValues) -> PythonValues:
        return (_reshaped(args[0], op.input, shape_of(op.output)),)

    @impl(onnx.TransposeOp)
    def transpose(self, interpreter: Interpreter, op: onnx.TransposeOp, args: PythonValues) -> PythonValues:
        return (args[0].transpose(ints(op.perm)),)

    @impl(onnx.QuantizeLinearOp)
    def quantize_linear(self, interpreter: Interpreter, op: onnx.QuantizeLinearOp, args: PythonValues) -> PythonValues:
        return (kernels.quantize(args[0], op.scale.array, op.zero_point.array, op.axis.value.data),)

    @impl(onnx.DequantizeLinearOp)
    def dequantize_linear(
        self, interpreter: Interpreter, op: onnx.DequantizeLinearOp, args: PythonValues
    ) -> PythonValues:
        return (kernels.dequantize(args[0], op.scale.array, op.zero_point.array, op.axis.value.data),)
