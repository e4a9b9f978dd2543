"""Calibration data: loading, running statistics of tensors and the choice of quantisation scales."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from isa.arrays import Input, Source, open_samples
from passes.math.noise import normal

Array: TypeAlias = NDArray[Any]
Method: TypeAlias = Literal["mse", "minmax", "percentile"]

SYNTHETIC_WARNING = (
    "no calibration data: activation ranges come from seeded synthetic input; accuracy will suffer (give --calibration)"
)
_SYNTHETIC_SAMPLES = 32
_SYNTHETIC_VALUES = 1 << 24
"""Values of an input that are made up at most."""
_DRAWN = 1 << 20
"""Synthetic values drawn at a time, in twice the bytes that they take."""
_BINS = 8192
_LEAST_LIMIT = 2.0**-112
"""Range of the bins at least: narrower bins have no width in float32."""
_VALUES_PER_SAMPLE = 1 << 14
"""Values of a tensor that enter its histogram per calibration sample; minimum and maximum always see all of them."""
_CLIPPED = 1e-5
"""Largest share of the values that the method mse clips."""


def load_inputs(source: Source | None, inputs: Sequence[Input], samples: int, seed: int) -> list[NDArray[np.float32]]:
    """Calibration inputs of a model, one float32 array [N, *inner] per input, N at most `samples`.

    `isa.arrays.open_samples` says which arrays of the source are taken. Of more than `samples` rows the first and a
    seeded random choice of the others are taken, in order. Without a source the input is synthetic, a standard normal
    clipped to [-2, 2], and a UserWarning says so; another warns of inputs that are all zero. Raises UserError naming
    what is there and what is required where the source does not fit.
    """
    if source is None:
        warnings.warn(SYNTHETIC_WARNING, UserWarning, stacklevel=2)
        return synthetic_inputs(inputs, samples, seed)
    found = open_samples(source, inputs)
    rows = sample_rows(len(found), samples, seed)
    arrays = [i.moved(stored.read(rows).astype(np.float32)) for i, stored in zip(inputs, found.inputs, strict=True)]
    for wanted, x in zip(inputs, arrays, strict=True):
        if not x.any():
            warnings.warn(
                f"{source}: all {len(x)} calibration samples of input '{wanted.name}' are 0: they say nothing about "
                "activations; look at how they were made",
                UserWarning,
                stacklevel=2,
            )
    return arrays


def sample_rows(total: int, samples: int, seed: int) -> NDArray[np.int64]:
    """Rows that `load_inputs` takes of `total`, ascending: the first, and a seeded random choice of the others.

    Of more samples, a superset.
    """
    if total <= samples:
        return np.arange(total)
    others = 1 + np.random.default_rng(seed).permutation(total - 1)[: max(0, samples - 1)]
    return np.concatenate([[0], np.sort(others)])


def synthetic_inputs(inputs: Sequence[Input], samples: int, seed: int) -> list[NDArray[np.float32]]:
    """Seeded standard normal numbers clipped to [-2, 2], as `load_inputs` without a source.

    There are at most 32 samples, and of large inputs fewer.
    """
    rng = np.random.default_rng(seed)
    largest = max((math.prod(i.inner) for i in inputs), default=1)
    count = max(1, min(samples, _SYNTHETIC_SAMPLES, _SYNTHETIC_VALUES // max(1, largest)))
    arrays: list[NDArray[np.float32]] = []
    for wanted in inputs:
        x = np.empty((count, *wanted.inner), np.float32)
        flat = x.reshape(-1)
        for n in range(0, flat.size, _DRAWN):
            part = flat[n : n + _DRAWN]
            part[:] = np.clip(normal(rng, part.shape), -2, 2)
        arrays.append(x)
    return arrays


class Histogram:
    """Running distribution of one tensor in bounded memory: symmetric bins whose range doubles as values demand it."""

    def __init__(self) -> None:
        self.low = math.inf
        self.high = -math.inf
        self._limit = _LEAST_LIMIT
        self._counts = np.zeros(_BINS, np.int64)
        self._sums = np.zeros(_BINS, np.float64)

    def add(self, x: Array) -> None:
        """Take in the values of a batch, first axis the samples."""
        if x.size == 0:
            return
        low, high = float(x.min()), float(x.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError("values that are not finite")
        largest = max(-low, high)
        if largest > 0 and not max(-self.low, self.high) > 0:  # zeros alone stay in their bin whatever the range
            self._limit = max(_LEAST_LIMIT, math.ldexp(1.0, math.frexp(largest)[1]))
        self.low, self.high = min(self.low, low), max(self.high, high)
        while largest >= self._limit:
            self._grow()
        per_sample = x.size // len(x)
        step = -(-per_sample // _VALUES_PER_SAMPLE)
        while math.gcd(step, per_sample) > 1:  # else only some rows, columns or channels would be seen
            step += 1
        values = x.reshape(len(x), -1)[:, ::step].reshape(-1)
        index = ((values + self._limit) * (_BINS / (2 * self._limit))).astype(np.int32)
        np.clip(index, 0, _BINS - 1, out=index)
        self._counts += np.bincount(index, minlength=_BINS)
        self._sums += np.bincount(index, weights=values, minlength=_BINS)

    def _grow(self) -> None:
        """Double the range: neighbouring bins merge into the middle half."""
        self._limit *= 2
        quarter = _BINS // 4
        for bins in (self._counts, self._sums):
            merged: Array = bins.reshape(-1, 2).sum(axis=1)
            bins[:] = 0
            bins[quarter : 3 * quarter] = merged

    def points(self) -> tuple[Array, Array]:
        """Means and counts of the occupied bins, ascending."""
        used = np.flatnonzero(self._counts)
        return self._sums[used] / self._counts[used], self._counts[used]

    def scale(
        self,
        signed: bool,
        method: Method,
        percentile: float,
        within: tuple[float, float] = (-math.inf, math.inf),
    ) -> float:
        """Scale of an 8-bit representation with zero point 0; see `choose_scale`. 1.0 if nothing but zeros was seen.

        Values outside the interval `within` count as its ends.
        """
        values, counts = self.points()
        low, high = np.clip([self.low, self.high], *within)
        return choose_scale(np.clip(values, *within), counts, float(low), float(high), signed, method, percentile)


def choose_scale(
    values: Array, counts: Array, low: float, high: float, signed: bool, method: Method, percentile: float
) -> float:
    """Scale for int8 (`signed`) or uint8 of a weighted sample `values`/`counts` whose extremes are `low` and `high`.

    "minmax" represents the extremes; "percentile" the given percentage of the non-zero values by magnitude (zeros are
    exact at any scale, and a sparse tensor has little else); "mse" minimises the mean squared rounding and clipping
    error over fractions of the min-max scale that clip at most one value in 100,000; of fewer values none is an
    outlier. Returns 1.0 for an all-zero sample.
    """
    floor, ceiling = (-128, 127) if signed else (0, 255)
    widest = max(high / ceiling, low / floor if signed else 0.0)
    if not widest > 0:
        return 1.0
    if method == "minmax":
        return widest
    if method == "percentile":
        values, counts = values[values != 0], counts[values != 0]
        if not values.size:
            return widest
        order = np.argsort(np.abs(values), kind="stable")
        cumulative: Array = np.cumsum(counts[order])
        cut = int((cumulative < percentile / 100 * float(cumulative[-1])).sum())
        reach = float(np.abs(values[order[min(cut, len(order) - 1)]]))
        return min(widest, reach / ceiling)
    best, best_error = widest, math.inf
    least = _least_scale(values, counts, widest, floor, ceiling)
    for fraction in np.linspace(1.0, 0.2, 81):
        scale = widest * float(fraction)
        if scale < least:
            break
        error = np.clip(np.rint(values / scale), floor, ceiling) * scale - values
        total = float((counts * error * error).sum())
        if total < best_error:
            best, best_error = scale, total
    return best


def _least_scale(values: Array, counts: Array, widest: float, floor: int, ceiling: int) -> float:
    """Least scale with which [floor, ceiling] clips at most a share of `_CLIPPED` of the values."""
    allowed = _CLIPPED * float(counts.sum())
    reach = np.where(values > 0, values / ceiling, values / floor if floor else 0.0)
    order = np.argsort(-reach, kind="stable")
    clipped = int((np.cumsum(counts[order]) <= allowed).sum())
    return float(reach[order[min(clipped, len(order) - 1)]]) if clipped else widest
