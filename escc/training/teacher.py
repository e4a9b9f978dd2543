"""The network to learn from: a legal module of level `onnx` as a torch network of floats, without gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import ReturnOp
from xdsl.ir import Operation, SSAValue

from dialects import onnx
from dialects.attributes import ints
from dialects.interpreters.run import main_function
from dialects.locations import node_names
from dialects.onnx import shape_of
from escc.compress.straight_through import average_pool, max_pool
from escc.training.dataflow import Dataflow
from escc.training.forms.movement import concatenate
from escc.training.network import Call

Array = NDArray[Any]


class Constant(nn.Module):
    """A tensor of the model."""

    def __init__(self, value: Array):
        super().__init__()
        dtype = torch.get_default_dtype() if value.dtype.kind == "f" else None
        self.register_buffer("value", torch.tensor(value, dtype=dtype))
        self.value: Tensor

    def forward(self) -> Tensor:
        return self.value


class Teacher(Dataflow):
    """The float network: model inputs to scores (before a Softmax). `convolutions` maps the names of convolutions to
    the numbers of their values.
    """

    def __init__(self, module: ModuleOp) -> None:
        block = main_function(module).body.block
        super().__init__(len(block.args))
        self.convolutions: dict[str, int] = {}
        values: dict[SSAValue, int] = {a: i for i, a in enumerate(block.args)}
        for op in block.ops:
            if isinstance(op, ReturnOp):
                self.output = values[op.operands[0]]
                continue
            names = node_names(op)
            name = names[0] if names else op.name
            if isinstance(op, onnx.SoftmaxOp):
                values[op.output] = values[op.input]
                continue
            step = Constant(op.value.array) if isinstance(op, onnx.ConstantOp) else Call(_function(op))
            values[op.results[0]] = self.append(name, step, *(values[v] for v in op.operands))
            if isinstance(op, onnx.ConvOp):
                self.convolutions[name] = values[op.output]
        self.requires_grad_(False)


def _pair(values: Sequence[int]) -> tuple[int, int]:
    return values[0], values[1]


def _window(op: onnx.PoolOp) -> tuple[tuple[int, int], tuple[int, int], tuple[int, ...], tuple[int, int]]:
    return (
        _pair(ints(op.kernel_shape)),
        _pair(ints(op.strides)),
        tuple(ints(op.pads)),
        _pair(shape_of(op.output)[2:]),
    )


def _function(op: Operation) -> Callable[..., Tensor]:
    """What an operation computes. Raises TypeError for one that onnx-legalize does not let pass."""
    match op:
        case onnx.ConvOp():
            return _convolution(op)
        case onnx.AddOp():
            return torch.add
        case onnx.ConcatOp():
            return concatenate
        case _:
            return _unary(op)


def _unary(op: Operation) -> Callable[[Tensor], Tensor]:
    match op:
        case onnx.MaxPoolOp():
            window = _window(op)
            return lambda x: max_pool(x, *window)
        case onnx.AveragePoolOp():
            return _average(op)
        case onnx.SliceOp():
            return _slice(op)
        case onnx.PadOp():
            pads, value = ints(op.pads), op.constant_value.value.data
            half = len(pads) // 2
            widths = [w for before, after in zip(pads[:half], pads[half:], strict=True) for w in (after, before)]
            return lambda x: F.pad(x, widths[::-1], value=value)
        case onnx.ReshapeOp():
            shape = shape_of(op.output)[1:]
            return lambda x: x.reshape(-1, *shape)
        case onnx.QuantizeLinearOp():
            low, high = (-128, 127) if op.zero_point.array.dtype.name == "int8" else (0, 255)
            scale, zero = float(op.scale.array.reshape(-1)[0]), float(op.zero_point.array.reshape(-1)[0])
            return lambda x: torch.clamp(torch.round(x / scale) + zero, low, high)
        case onnx.DequantizeLinearOp():
            return _dequantise(op)
        case _:
            return _elementwise(op)


def _elementwise(op: Operation) -> Callable[[Tensor], Tensor]:
    match op:
        case onnx.ReluOp():
            return torch.relu
        case onnx.ClipOp():
            low, high = op.low, op.high
            return lambda x: torch.clamp(x, low, high)
        case onnx.LeakyReluOp():
            slope = op.alpha.value.data
            return lambda x: F.leaky_relu(x, slope)
        case onnx.SigmoidOp():
            return torch.sigmoid
        case onnx.HardSigmoidOp():
            alpha, beta = op.alpha.value.data, op.beta.value.data
            return lambda x: torch.clamp(alpha * x + beta, 0, 1)
        case onnx.HardSwishOp():
            return F.hardswish
        case onnx.TanhOp():
            return torch.tanh
        case onnx.EluOp():
            alpha = op.alpha.value.data
            return lambda x: F.elu(x, alpha)
        case _:
            raise TypeError(f"no torch counterpart of {op.name}")


def _convolution(op: onnx.ConvOp) -> Callable[..., Tensor]:
    strides, groups = _pair(ints(op.strides)), op.group.value.data
    top, left, bottom, right = ints(op.pads)

    def run(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        if (top, left) == (bottom, right):
            return F.conv2d(x, weight, bias, strides, (top, left), 1, groups)
        return F.conv2d(F.pad(x, (left, right, top, bottom)), weight, bias, strides, 0, 1, groups)

    return run


def _average(op: onnx.AveragePoolOp) -> Callable[[Tensor], Tensor]:
    kernel, strides, pads, extent = _window(op)
    include = bool(op.count_include_pad.value.data)
    _, _, h, w = shape_of(op.input)
    inside = torch.ones(1, 1, h, w)
    if include:
        inside = F.pad(inside, (pads[1], pads[3], pads[0], pads[2]), value=1.0)
        counts = average_pool(inside, kernel, strides, (0, 0, 0, 0), extent)
    else:
        counts = average_pool(inside, kernel, strides, pads, extent)
    counts = counts.round()
    return lambda x: average_pool(x, kernel, strides, pads, extent) / counts.to(x.device)


def _slice(op: onnx.SliceOp) -> Callable[[Tensor], Tensor]:
    index = [slice(None)] * len(shape_of(op.input))
    for start, end, axis, step in zip(ints(op.starts), ints(op.ends), ints(op.axes), ints(op.steps), strict=True):
        index[axis] = slice(start, end, step)
    picked = tuple(index)
    return lambda x: x[picked]


def _dequantise(op: onnx.DequantizeLinearOp) -> Callable[[Tensor], Tensor]:
    axis = op.axis.value.data

    def along(values: Array, rank: int) -> Tensor:
        t = torch.tensor(values.astype("float64"), dtype=torch.get_default_dtype())
        return t if t.ndim == 0 or t.numel() == 1 else t.reshape([-1 if i == axis else 1 for i in range(rank)])

    def run(x: Tensor) -> Tensor:
        scale, zero = (along(a, x.ndim).to(x.device) for a in (op.scale.array, op.zero_point.array))
        return (x.to(scale.dtype) - zero) * scale

    return run
