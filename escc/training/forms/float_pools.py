"""Pooling of the float network on torch tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from dialects import onnx
from dialects.attributes import ints
from dialects.onnx import shape_of
from dialects.onnx_base import extent_of
from escc.training.straight_through import average_pool, max_pool

Array = NDArray[Any]
Unary = Callable[[Tensor], Tensor]


def maximum(op: onnx.MaxPoolOp) -> Unary:
    """The maximum over every window."""
    window = _window(op)
    return lambda x: max_pool(x, *window)


def average(op: onnx.AveragePoolOp) -> Unary:
    """The mean over every window."""
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


def _window(op: onnx.PoolOp) -> tuple[tuple[int, int], tuple[int, int], tuple[int, ...], tuple[int, int]]:
    return (
        _pair(ints(op.kernel_shape)),
        _pair(ints(op.strides)),
        tuple(ints(op.pads)),
        extent_of(op.output),
    )


def _pair(values: Sequence[int]) -> tuple[int, int]:
    return values[0], values[1]
