"""Elementwise operations of the float network on torch tensors."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pkgutil import resolve_name
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from dialects import onnx
from dialects.onnx_elementwise import ScalarOp

Array = NDArray[Any]
Unary = Callable[[Tensor], Tensor]


def function(op: ScalarOp) -> Unary:
    """The function of the operation with its parameters."""
    return partial(resolve_name(op.FUNCTION.torch), **op.parameters)


def leaky_relu(x: Tensor, alpha: float) -> Tensor:
    """x, below zero alpha * x."""
    return F.leaky_relu(x, alpha)


def elu(x: Tensor, alpha: float) -> Tensor:
    """x, below zero alpha * (exp(x) - 1)."""
    return F.elu(x, alpha)


def hard_sigmoid(x: Tensor, alpha: float, beta: float) -> Tensor:
    """min(max(alpha * x + beta, 0), 1)."""
    return torch.clamp(alpha * x + beta, 0, 1)


def add(op: onnx.AddOp) -> Callable[[Tensor, Tensor], Tensor]:
    """The sum."""
    return torch.add


def softmax(op: onnx.SoftmaxOp) -> Unary:
    """The identity: training works on the scores before a Softmax."""
    return lambda x: x


def quantise(op: onnx.QuantizeLinearOp) -> Unary:
    """Rounded, shifted and clamped to the stored integers."""
    low, high = (-128, 127) if op.zero_point.array.dtype.name == "int8" else (0, 255)
    scale, zero = float(op.scale.array.reshape(-1)[0]), float(op.zero_point.array.reshape(-1)[0])
    return lambda x: torch.clamp(torch.round(x / scale) + zero, low, high)


def dequantise(op: onnx.DequantizeLinearOp) -> Unary:
    """The real numbers of stored integers."""
    axis = op.axis.value.data

    def along(values: Array, rank: int) -> Tensor:
        t = torch.tensor(values.astype("float64"), dtype=torch.get_default_dtype())
        return t if t.ndim == 0 or t.numel() == 1 else t.reshape([-1 if i == axis else 1 for i in range(rank)])

    def run(x: Tensor) -> Tensor:
        scale, zero = (along(a, x.ndim).to(x.device) for a in (op.scale.array, op.zero_point.array))
        return (x.to(scale.dtype) - zero) * scale

    return run
