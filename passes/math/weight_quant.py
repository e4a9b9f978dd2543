"""Symmetric per-channel quantisation of convolution weights and their int32 bias."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from passes.math.calibration import Method
from passes.math.scales import as_float32

Array: TypeAlias = NDArray[Any]

BIAS_LIMIT = (1 << 30) - 256
"""Largest bias that a scale is chosen for, in steps of accumulators, whose products have the rest of int32: rounding
the scale to float32 leaves it below 2^30.
"""
_ACCUMULATOR_LIMIT = (1 << 31) - 1
_GRID_TOLERANCE = 1e-4
"""Of a step: float32 keeps 128 steps to 2^-17 of one; a chance fit of several weights is out of reach."""
_BLOCK = 1 << 14
"""Weights whose errors are computed together, about: as float64 they stay in cache."""
_FRACTIONS = np.linspace(1.0, 0.7, 16)


@dataclass(frozen=True)
class ConvIntegers:
    """Integers of a quantised convolution: acc + bias means the real number (acc + bias) * scale.

    `weight` int8 [K,R,S,C/groups], `bias` int32 [K], `scale` float64 [K] = input scale * weight scale of each channel.
    """

    weight: NDArray[np.int8]
    bias: NDArray[np.int32]
    scale: NDArray[np.float64]

    def represents(self, weight: Array, input_scale: float) -> bool:
        """Whether the integers are the real weights [K,R,S,C/groups] exactly, to the precision of float32."""
        steps = weight / (self.scale / input_scale)[:, None, None, None]
        return bool(np.abs(steps - self.weight).max() < _GRID_TOLERANCE)


def weight_scales(weight: Array, method: Method) -> NDArray[np.float64]:
    """Scale of each output channel for int8; 0 for channels of zeros.

    `weight` float [K, ...]. A channel that lies on a grid of at most 128 steps a side (weights that were integers once)
    keeps it. Of the others, "mse" minimises the squared rounding and clipping error per channel over fractions of the
    min-max scale, the other methods represent the largest weight by 127.
    """
    flat = weight.reshape(len(weight), -1).astype(np.float64)
    widest: NDArray[np.float64] = np.abs(flat).max(axis=1) / 127
    grid = _grid_scales(flat)
    if method == "mse":
        step = max(1, _BLOCK // max(1, flat.shape[1]))
        for at in range(0, len(flat), step):
            widest[at : at + step] *= _best_fractions(flat[at : at + step], widest[at : at + step])
    return np.where(grid > 0, grid, widest)


def _best_fractions(flat: NDArray[np.float64], widest: NDArray[np.float64]) -> NDArray[np.float64]:
    """The fraction of each min-max scale [K] that serves the weights [K, n] best."""
    safe = np.where(widest > 0, widest, 1.0)
    best = np.ones(len(flat))
    best_error = np.full(len(flat), np.inf)
    error = np.empty_like(flat)
    for fraction in _FRACTIONS:
        scale = (safe * fraction)[:, None]
        np.divide(flat, scale, out=error)
        np.rint(error, out=error)
        np.clip(error, -127, 127, out=error)
        error *= scale
        error -= flat
        error *= error
        total = error.sum(axis=1)
        best = np.where(total < best_error, fraction, best)
        best_error = np.minimum(best_error, total)
    return best


def _grid_scales(flat: NDArray[np.float64]) -> NDArray[np.float64]:
    """Step of the grid that every weight of a channel [K, n] lies on, as fine as int8 allows; 0 where there is none."""
    largest = np.abs(flat).max(axis=1)
    steps = np.zeros(len(flat))
    few = flat[:, :: max(1, flat.shape[1] // 32)].copy()  # enough to rule out nearly every candidate
    rows = np.flatnonzero(largest > 0)
    for levels in range(128, 63, -1):  # a coarser grid is a multiple of one of these
        step = largest[rows] / levels
        fits = np.flatnonzero(_on_grid(few[rows], step))
        fits = fits[_on_grid(flat[rows[fits]], step[fits])]
        steps[rows[fits]] = step[fits]
        rows = np.delete(rows, fits)
    return steps


def _on_grid(flat: NDArray[np.float64], step: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether all values of each row are integers in [-128, 127] times its step."""
    units = flat / step[:, None]
    nearest = np.rint(units)
    return (np.abs(units - nearest).max(axis=1) < _GRID_TOLERANCE) & (nearest.max(axis=1) <= 127)


def quantize_conv(
    weight: Array,
    bias: Array,
    input_scale: float,
    input_limit: int,
    scales: Array,
) -> ConvIntegers:
    """Integers of a convolution with the given weight scales as float32, raised where int32 would overflow.

    `weight` float [K,R,S,C/groups]; `bias` float [K]; `input_limit` the largest magnitude of an input (255 or 128);
    `scales` float [K], 0 for a channel of zeros. |bias| stays below 2^30 and |bias| + sum |weight| * input_limit
    fits int32.
    """
    floor = np.abs(bias) / (input_scale * (BIAS_LIMIT - 1))
    s = np.maximum(scales, floor)
    s = as_float32(np.where(s > 0, s, 1.0))
    while True:
        q = np.clip(np.rint(weight / s[:, None, None, None]), -128, 127).astype(np.int8)
        b = np.rint(bias / (input_scale * s))
        bound = np.abs(b) + np.abs(q.astype(np.int64)).sum(axis=(1, 2, 3)) * input_limit
        if not (bound > _ACCUMULATOR_LIMIT).any():
            return ConvIntegers(q, b.astype(np.int32), input_scale * s)
        s = as_float32(np.where(bound > _ACCUMULATOR_LIMIT, s * (bound / _ACCUMULATOR_LIMIT) * 1.01, s))


def corrected_bias(integers: ConvIntegers, shift: Array, input_limit: int) -> NDArray[np.int32]:
    """Bias plus the real per-channel correction `shift` float [K], limited so that int32 accumulators cannot
    overflow.
    """
    sums = np.abs(integers.weight.astype(np.int64)).sum(axis=(1, 2, 3)) * input_limit
    room = np.minimum(_ACCUMULATOR_LIMIT - sums, _ACCUMULATOR_LIMIT)
    return np.clip(np.rint(integers.bias + shift / integers.scale), -room, room).astype(np.int32)
