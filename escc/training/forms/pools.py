"""Pooling on torch tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dialects import esc
from dialects.esc_base import extent_of
from escc.training.straight_through import (
    average_pool,
    max_pool,
    round_clamp,
)
from isa.reference import pool_counts

Array = NDArray[Any]
Unary = Callable[[Tensor], Tensor]


def maximum(op: esc.MaxPoolOp) -> Unary:
    """The maximum over every window."""
    kernel, strides, pads = _pair(esc.ints(op.kernel)), _pair(esc.ints(op.strides)), esc.ints(op.pads)
    extent = extent_of(op.output)
    return lambda x: max_pool(x, kernel, strides, pads, extent)


def average(op: esc.AvgPoolOp) -> Callable[[Tensor], Tensor]:
    kernel, strides, pads = _pair(esc.ints(op.kernel)), _pair(esc.ints(op.strides)), esc.ints(op.pads)
    extent = extent_of(op.output)
    counts = pool_counts(extent_of(op.input), kernel, strides, pads, bool(op.count_include_pad.value.data), extent)
    mult = op.mult.array.astype(np.float64)[counts - op.count0.value.data] * 2.0**-op.shift.value.data
    factors = torch.tensor(mult, dtype=torch.get_default_dtype())
    lo, hi = op.lo.value.data, op.hi.value.data
    return lambda x: round_clamp(average_pool(x, kernel, strides, pads, extent) * factors.to(x.device) + 0.5, lo, hi)


def _pair(values: Sequence[int]) -> tuple[int, int]:
    return values[0], values[1]
