"""Fixed-point parameters of operations on quantised activations: clamps, tables, additions, averages."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from isa import elementary
from isa.reference import Addition, byte_dtype, fixed_point
from passes.math.scales import as_float32

Array: TypeAlias = NDArray[Any]
Function: TypeAlias = Callable[[Array], Array]

_HALVINGS, _AT_ONCE = 60, 6
"""Halvings of an interval to find where a function changes, and how many of them are prepared together."""


@dataclass(frozen=True)
class Storage:
    """How a tensor is stored: int8 (`signed`) or uint8 with zero point 0, and the integers [low, high] it may hold."""

    signed: bool
    scale: float
    low: int
    high: int

    @classmethod
    def full(cls, signed: bool, scale: float) -> Storage:
        """The whole range of the type."""
        return cls(signed, scale, *((-128, 127) if signed else (0, 255)))

    @property
    def limit(self) -> int:
        """Largest magnitude that the type can hold."""
        return 128 if self.signed else 255

    def holds(self, other: Storage) -> bool:
        """Whether every tensor of the other storage is one of this, byte for byte."""
        return (self.signed, self.scale) == (
            other.signed,
            other.scale,
        ) and self.low <= other.low <= other.high <= self.high

    def clamp(self, low: float, high: float) -> tuple[int, int]:
        """Integer bounds of the real interval [low, high], rounded, within the storage; either may be infinite."""

        def bound(real: float) -> int:
            if math.isinf(real):
                return self.low if real < 0 else self.high
            return min(max(round(real / self.scale), self.low), self.high)

        return bound(low), bound(high)


def reexpress(qmin: int, qmax: int, zero_point: int, scale: float, non_negative: bool) -> tuple[Storage, bool]:
    """Zero-point-0 storage of an affine 8-bit tensor, and whether every value keeps its exact meaning.

    Stored integers in [qmin, qmax] mean (q - zero_point) * scale; `non_negative` says that no value is below zero.
    With zero point 0 the type stays. If the shifted integers fit int8 or uint8 they are kept; otherwise the same range
    is covered by int8 with a coarser scale.
    """
    low, high = qmin - zero_point, qmax - zero_point
    if non_negative:
        low = max(low, 0)
    if zero_point == 0 and qmin < 0:
        return Storage(True, scale, low, high), True
    if low >= 0 and high <= 255:
        return Storage(False, scale, low, high), True
    if low >= -128 and high <= 127:
        return Storage(True, scale, low, high), True
    coarse = float(as_float32(scale * max(low / -128, high / 127)))
    wide = Storage.full(True, coarse)
    return Storage(True, coarse, *wide.clamp(low * scale, high * scale)), False


def lookup_table(function: Function, source: Storage, target: Storage) -> Array:
    """Table of 256 target bytes, indexed by the stored source byte, of an elementwise real function.

    Rounds half to even and clamps to the target's range; a NaN of the function becomes 0.
    """
    stored = np.arange(256, dtype=np.uint8).view(byte_dtype(source.signed)).astype(np.float64)
    with np.errstate(all="ignore"):
        real = np.asarray(function(stored * source.scale), np.float64)
    q = np.rint(np.nan_to_num(real, nan=0.0, posinf=math.inf, neginf=-math.inf) / target.scale)
    return np.clip(q, target.low, target.high).astype(byte_dtype(target.signed))


def changing_interval(functions: Sequence[tuple[Function, float]], low: float, high: float) -> tuple[float, float]:
    """Part of [low, high] that matters to elementwise real functions, given each with the step of its result.

    Below it and above it, every function is constant to within half of its step, and exactly where that costs hardly
    any range. An end stays where hardly anything is cut off, and both do if every function is so constant.
    """
    largest = max(abs(low), abs(high))
    fine = largest * elementary.exp2(np.arange(0, -30, -1 / 16))
    points = np.unique(np.clip(np.concatenate([np.linspace(low, high, 2049), fine, -fine, [0.0]]), low, high))
    intervals = [_interval(function, points, step) for function, step in functions]
    start, stop = min(i[0] for i in intervals), max(i[1] for i in intervals)
    if start >= stop:
        return low, high
    little = (high - low) / 32
    return start if start - low > little else low, stop if high - stop > little else high


def _interval(function: Function, points: Array, step: float) -> tuple[float, float]:
    """Between which of ascending numbers a function changes, by half a step or at all."""
    low, high, exact_low, exact_high = _constant_until(function, points, (step / 2, 0.0))
    return (exact_low, exact_high) if exact_high - exact_low <= 1.05 * (high - low) else (low, high)


def _constant_until(function: Function, points: Array, tolerances: Sequence[float]) -> list[float]:
    """For each tolerance the last x, from the first of `points` towards the last, up to which the function has nearly
    its first value, and the same from the last towards the first.
    """
    values = _values(function, points)
    inside, outside, first, tolerance = np.empty((4, 2 * len(tolerances)))
    for i, (limit, direction) in enumerate(product(tolerances, (1, -1))):
        x, y = points[::direction], values[::direction]
        beyond = np.flatnonzero(_differs(y, y[0], limit))
        at = int(beyond[0]) if beyond.size else x.size
        inside[i], outside[i] = x[max(0, at - 1)], x[min(at, x.size - 1)]
        first[i], tolerance[i] = y[0], limit
    ends = np.arange(inside.size)
    for _ in range(_HALVINGS // _AT_ONCE):
        # All middles that these halvings may ask for, so that the function is called once for them.
        grid = np.stack([inside, outside], axis=1)
        for _ in range(_AT_ONCE):
            halved = np.empty((len(grid), 2 * grid.shape[1] - 1))
            halved[:, ::2], halved[:, 1::2] = grid, 0.5 * (grid[:, :-1] + grid[:, 1:])
            grid = halved
        differs = _differs(_values(function, grid), first[:, None], tolerance[:, None])
        low, half = np.zeros_like(ends), grid.shape[1] // 2
        while half:
            low += np.where(differs[ends, low + half], 0, half)
            half //= 2
        inside, outside = grid[ends, low], grid[ends, low + 1]
    return inside.tolist()


def _values(function: Function, x: Array) -> Array:
    with np.errstate(all="ignore"):
        return np.broadcast_to(np.asarray(function(x), np.float64), x.shape)


def _differs(values: Array, first: Array, tolerance: Array | float) -> NDArray[np.bool_]:
    with np.errstate(all="ignore"):
        return np.asarray(~(np.abs(values - first) <= tolerance))


def identity(x: Array) -> Array:
    """The function of a table that only changes the scale."""
    return x


def bounded(factors: Array) -> NDArray[np.float64]:
    """Factors that `fixed_point` can express: beyond 2^29 every non-zero value saturates anyway."""
    return np.minimum(np.asarray(factors, np.float64), 2.0**29)


def _with_shift(factors: Array, shift: int) -> NDArray[np.int32]:
    return np.minimum(np.rint(np.ldexp(factors, shift)), (1 << 31) - 1).astype(np.int32)


def addition(scale_a: float, scale_b: float, target: Storage, low: int, high: int) -> Addition:
    """Addition of tensors of two scales into `target`, clamped to [low, high]; the larger factor has 31 significant
    bits. Factors beyond what `fixed_point` can express keep their ratio, which the sign of the sum depends on.
    """
    factors = np.array([scale_a, scale_b]) / target.scale
    factors *= bounded(factors.max(keepdims=True)) / factors.max()
    shift = int(fixed_point(factors.max(keepdims=True))[1][0])
    mult_a, mult_b = (int(m) for m in _with_shift(factors, shift))
    return Addition(mult_a, mult_b, shift, low, high, target.signed)


def multiplication(scale_a: float, scale_b: float, target: Storage, low: int, high: int) -> Addition:
    """Product of tensors of two scales into `target`, clamped to [low, high]; the multiplier is `mult_a`."""
    mult, shift = fixed_point(bounded(np.array([scale_a * scale_b / target.scale])))
    return Addition(int(mult[0]), 0, int(shift[0]), low, high, target.signed)


def average_multipliers(counts: Array, source_scale: float, target_scale: float) -> tuple[NDArray[np.int32], int, int]:
    """Multipliers of an average pooling for every count from the smallest of `counts` up: (mult int32 [n], count0,
    shift).
    """
    low, high = int(counts.min()), int(counts.max())
    factors = bounded(source_scale / target_scale / np.arange(low, high + 1, dtype=np.float64))
    shift = int(fixed_point(factors.max(keepdims=True))[1][0])
    return _with_shift(factors, shift), low, shift
