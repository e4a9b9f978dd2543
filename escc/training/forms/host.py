"""What the host computes, on torch tensors."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from dialects import esc
from isa.reference import batched_shape, map_shape

Array = NDArray[Any]
Unary = Callable[[Tensor], Tensor]


def quantise(op: esc.QuantizeOp) -> Unary:
    """Rounded and clamped to the stored integers, with the strides of channels innermost."""
    q = esc.q_of(op.output)
    return lambda x: _quantise(x, q.scale, q.low, q.high)


def dequantise(op: esc.DequantizeOp) -> Unary:
    """Real numbers in the shape of the model's output, any batch."""
    scale = esc.q_of(op.input).scale
    movement = moved((1, *(esc.shape_of(op.input)[i] for i in (3, 1, 2))), *op.rearrangement, esc.shape_of(op.output))
    return lambda x: movement(x * scale)


def moved(source: Sequence[int], view: Sequence[int], perm: Sequence[int], target: Sequence[int]) -> Unary:
    """Tensors of any batch, of which every sample is reshaped to `view`, transposed by `perm`, reshaped to `target`."""
    extents, axes = tuple(view), tuple(axis + 1 for axis in perm)
    size = math.prod(source)

    def move(x: Tensor) -> Tensor:
        images = x.numel() // size
        if axes:
            x = x.reshape(images, *extents).permute(0, *axes)
        return x.reshape(batched_shape(target, images))

    return move


def softmax(op: esc.SoftmaxOp) -> Unary:
    """The identity: training works on the scores before a Softmax."""
    return lambda x: x


def arg_max(op: esc.ArgMaxOp) -> Unary:
    """The identity: training works on the scores."""
    return lambda x: x


def _quantise(x: Tensor, scale: float, low: int, high: int) -> Tensor:
    q = torch.clamp(torch.round(x / scale), low, high).reshape(map_shape(x.shape))
    return q.contiguous(memory_format=torch.channels_last)
