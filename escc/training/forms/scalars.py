"""Elementwise operations of the float network on torch tensors."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pkgutil import resolve_name
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from dialects import onnx
from dialects.onnx_arg_max import ArgMaxOp
from dialects.onnx_elementwise import ScalarOp
from dialects.onnx_expression import ExpressionOp, TableOp
from escc.training.straight_through import look_up, round_clamp

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


def selu(x: Tensor, alpha: float, gamma: float) -> Tensor:
    """gamma * x, below zero gamma * alpha * (exp(x) - 1)."""
    return gamma * F.elu(x, alpha)


def celu(x: Tensor, alpha: float) -> Tensor:
    """x, below zero alpha * (exp(x / alpha) - 1)."""
    return F.celu(x, alpha)


def equal(a: Tensor, b: Tensor) -> Tensor:
    """1 where a = b, else 0."""
    return torch.eq(a, b).to(torch.result_type(a, b))


def greater(a: Tensor, b: Tensor) -> Tensor:
    """1 where a > b, else 0."""
    return torch.gt(a, b).to(torch.result_type(a, b))


def greater_or_equal(a: Tensor, b: Tensor) -> Tensor:
    """1 where a >= b, else 0."""
    return torch.ge(a, b).to(torch.result_type(a, b))


def less(a: Tensor, b: Tensor) -> Tensor:
    """1 where a < b, else 0."""
    return torch.lt(a, b).to(torch.result_type(a, b))


def less_or_equal(a: Tensor, b: Tensor) -> Tensor:
    """1 where a <= b, else 0."""
    return torch.le(a, b).to(torch.result_type(a, b))


def where(condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """a where the condition is not 0, else b."""
    return torch.where(condition != 0, a, b)


def thresholded_relu(x: Tensor, alpha: float) -> Tensor:
    """x above alpha, else 0."""
    return F.threshold(x, alpha, 0.0)


def rounded(x: Tensor, scale: float, zero_point: float, low: float, high: float) -> Tensor:
    """The number that QuantizeLinear and DequantizeLinear in a row make of x."""
    return (torch.clamp(torch.round(x / scale) + zero_point, low, high) - zero_point) * scale


def expression(op: ExpressionOp) -> Unary:
    """The function that the expression writes."""
    return op.parsed.on_torch


def table(op: TableOp) -> Unary:
    """The entry of each stored integer; the slope between neighbours as gradient."""
    low, high = op.bounds
    entries = torch.tensor(op.table.array[np.arange(low, high + 1) & 255].astype("float64"))
    values, scale = entries.to(torch.get_default_dtype()), op.scale.value.data

    def run(x: Tensor) -> Tensor:
        return look_up(round_clamp(x / scale + 0.5, low, high), values.to(x.device), low)

    return run


def add(op: onnx.AddOp) -> Callable[[Tensor, Tensor], Tensor]:
    """The sum."""
    return torch.add


def multiply(op: onnx.MulOp) -> Callable[[Tensor, Tensor], Tensor]:
    """The product, broadcast."""
    return torch.mul


def softmax(op: onnx.SoftmaxOp) -> Unary:
    """The identity: training works on the scores before a Softmax."""
    return lambda x: x


def quantise(op: onnx.QuantizeLinearOp) -> Unary:
    """Rounded, shifted and clamped to the stored integers."""
    low, high = (-128, 127) if op.zero_point.array.dtype.name == "int8" else (0, 255)
    scale, zero = float(op.scale.array.reshape(-1)[0]), float(op.zero_point.array.reshape(-1)[0])
    return lambda x: torch.clamp(torch.round(x / scale) + zero, low, high)


def arg_max(op: ArgMaxOp) -> Unary:
    """The identity: training works on the scores."""
    return lambda x: x


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
