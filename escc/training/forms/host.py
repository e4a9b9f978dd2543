"""What the host computes, on torch tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from dialects import esc

Array = NDArray[Any]
Unary = Callable[[Tensor], Tensor]


def quantise(op: esc.QuantizeOp) -> Unary:
    """Rounded and clamped to the stored integers, with the strides of channels innermost."""
    q = esc.q_of(op.output)
    return lambda x: _quantise(x, q.scale, q.low, q.high)


def dequantise(op: esc.DequantizeOp) -> Unary:
    """Real numbers in the shape of the model's output, any batch."""
    scale, shape = esc.q_of(op.input).scale, esc.shape_of(op.output)[1:]
    return lambda x: (x * scale).reshape(-1, *shape)


def softmax(op: esc.SoftmaxOp) -> Unary:
    """The identity: training works on the scores before a Softmax."""
    return lambda x: x


def _quantise(x: Tensor, scale: float, low: int, high: int) -> Tensor:
    q = torch.clamp(torch.round(x / scale), low, high)
    q = q.reshape(*q.shape, 1, 1) if q.ndim == 2 else q
    return q.contiguous(memory_format=torch.channels_last)
