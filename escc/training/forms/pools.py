"""Pooling on torch tensors, of the quantised and of the float network."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from dialects import esc, esc_base, esc_pools, onnx, onnx_base, onnx_pools
from dialects.attributes import ints
from escc.training.straight_through import round_clamp
from isa.reference import pool_counts

Array = NDArray[Any]
Unary = Callable[[Tensor], Tensor]


def maximum(op: esc_pools.MaxPoolOp) -> Unary:
    """The maximum over every window."""
    kernel, strides, pads = _pair(esc.ints(op.kernel)), _pair(esc.ints(op.strides)), esc.ints(op.pads)
    extent = esc_base.extent_of(op.output)
    return lambda x: max_pool(x, kernel, strides, pads, extent)


def average(op: esc_pools.AvgPoolOp) -> Unary:
    """The average over every window, rounded and clamped."""
    kernel, strides, pads = _pair(esc.ints(op.kernel)), _pair(esc.ints(op.strides)), esc.ints(op.pads)
    extent = esc_base.extent_of(op.output)
    counts = pool_counts(
        esc_base.extent_of(op.input), kernel, strides, pads, bool(op.count_include_pad.value.data), extent
    )
    mult = op.mult.array.astype(np.float64)[counts - op.count0.value.data] * 2.0**-op.shift.value.data
    factors = torch.tensor(mult, dtype=torch.get_default_dtype())
    lo, hi = op.lo.value.data, op.hi.value.data
    return lambda x: round_clamp(average_pool(x, kernel, strides, pads, extent) * factors.to(x.device) + 0.5, lo, hi)


def float_maximum(op: onnx_pools.MaxPoolOp) -> Unary:
    """The maximum over every window."""
    window = _float_window(op)
    return lambda x: max_pool(x, *window)


def float_average(op: onnx_pools.AveragePoolOp) -> Unary:
    """The mean over every window."""
    kernel, strides, pads, extent = _float_window(op)
    include = bool(op.count_include_pad.value.data)
    _, _, h, w = onnx.shape_of(op.input)
    inside = torch.ones(1, 1, h, w)
    if include:
        inside = F.pad(inside, (pads[1], pads[3], pads[0], pads[2]), value=1.0)
        counts = average_pool(inside, kernel, strides, (0, 0, 0, 0), extent)
    else:
        counts = average_pool(inside, kernel, strides, pads, extent)
    counts = counts.round()
    return lambda x: average_pool(x, kernel, strides, pads, extent) / counts.to(x.device)


def _float_window(op: onnx_pools.PoolOp) -> tuple[tuple[int, int], tuple[int, int], tuple[int, ...], tuple[int, int]]:
    return (
        _pair(ints(op.kernel_shape)),
        _pair(ints(op.strides)),
        tuple(ints(op.pads)),
        onnx_base.extent_of(op.output),
    )


def _pair(values: Sequence[int]) -> tuple[int, int]:
    return values[0], values[1]


def average_pool(
    x: Tensor, kernel: tuple[int, int], strides: tuple[int, int], pads: tuple[int, ...], extent: tuple[int, int]
) -> Tensor:
    """Sums over windows of x [N, C, H, W] to [N, C, *extent]; positions outside count as 0."""
    if tuple(kernel) == tuple(x.shape[2:]) and not any(pads) and extent == (1, 1):
        return x.sum(dim=(2, 3), keepdim=True)
    padded = pad_windows(x, kernel, strides, pads, extent, 0.0)
    return F.avg_pool2d(padded, kernel, strides) * math.prod(kernel)


def max_pool(
    x: Tensor, kernel: tuple[int, int], strides: tuple[int, int], pads: tuple[int, ...], extent: tuple[int, int]
) -> Tensor:
    """Maxima over the positions of each window inside x [N, C, H, W], to [N, C, *extent]."""
    return F.max_pool2d(pad_windows(x, kernel, strides, pads, extent, -math.inf), kernel, strides)


def pad_windows(
    x: Tensor,
    kernel: tuple[int, int],
    strides: tuple[int, int],
    pads: tuple[int, ...],
    extent: tuple[int, int],
    value: float,
) -> Tensor:
    """x [N, C, H, W] padded, or cut, so that exactly `extent` windows fit."""
    top, left = pads[0], pads[1]
    rows = (extent[0] - 1) * strides[0] + kernel[0]
    columns = (extent[1] - 1) * strides[1] + kernel[1]
    after = (rows - top - x.shape[2], columns - left - x.shape[3])
    if any((top, left, *after)):
        x = F.pad(x, (left, after[1], top, after[0]), value=value)
    return x
