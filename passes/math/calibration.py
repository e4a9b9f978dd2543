"""Calibration data: loading, running statistics of tensors and the choice of quantisation scales."""

from __future__ import annotations

import math
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from isa.errors import UserError

Array: TypeAlias = NDArray[Any]
Method: TypeAlias = Literal["mse", "minmax", "percentile"]

SYNTHETIC_WARNING = (
    "no calibration data: activation ranges come from seeded synthetic input; accuracy will suffer (give --calibration)"
)
_BINS = 8192
_VALUES_PER_SAMPLE = 1 << 14
"""Values of a tensor that enter its histogram per calibration sample; minimum and maximum always see all of them."""


def load_inputs(
    path: str | Path | None,
    names: Sequence[str],
    shapes: Sequence[Sequence[int]],
    samples: int,
    seed: int,
) -> list[NDArray[np.float32]]:
    """Calibration inputs of a model, one float32 array [N, *shape[1:]] per input, N at most `samples`.

    `shapes` are those of the model, batch 1. The .npz holds `x` or the input's name (several inputs: their names).
    Of more than `samples` rows the first and a seeded random choice of the others are taken, in order. Without a
    path the input is synthetic, a standard normal clipped to [-2, 2], and a UserWarning says so. Raises UserError
    naming what is there and what is wanted on a missing key, a wrong shape, values that are not finite numbers, or
    an unreadable file.
    """
    if path is None:
        warnings.warn(SYNTHETIC_WARNING, UserWarning, stacklevel=2)
        return synthetic_inputs(shapes, samples, seed)
    arrays: list[Array] = [_array(Path(path), keys, shape) for keys, shape in zip(_keys(names), shapes, strict=True)]
    rows = {len(a) for a in arrays}
    if len(rows) > 1:
        found = ", ".join(f"'{n}' {len(a)}" for n, a in zip(names, arrays, strict=True))
        raise UserError(f"{path}: inputs have different numbers of rows: {found}")
    total = rows.pop()
    if total > samples:
        pick = sample_rows(total, samples, seed)
        arrays = [a[pick] for a in arrays]
    checked: list[NDArray[np.float32]] = []
    for name, a in zip(names, arrays, strict=True):
        x = a.astype(np.float32)
        if not np.isfinite(x).all():
            raise UserError(f"{path}: values for input '{name}' are not all finite")
        checked.append(x)
    return checked


def sample_rows(total: int, samples: int, seed: int) -> NDArray[np.int64]:
    """Rows that `load_inputs` takes of `total`, ascending: the first, and a seeded random choice of the others.

    Of more samples, a superset.
    """
    if total <= samples:
        return np.arange(total)
    others = 1 + np.random.default_rng(seed).permutation(total - 1)[: max(0, samples - 1)]
    return np.concatenate([[0], np.sort(others)])


def synthetic_inputs(shapes: Sequence[Sequence[int]], samples: int, seed: int) -> list[NDArray[np.float32]]:
    """Seeded standard normal numbers clipped to [-2, 2], at most 32 samples, as `load_inputs` without a path."""
    rng = np.random.default_rng(seed)
    count = max(1, min(samples, 32))
    return [np.clip(rng.standard_normal((count, *s[1:])), -2, 2).astype(np.float32) for s in shapes]


def _keys(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Accepted array names per input."""
    return [("x", names[0])] if len(names) == 1 else [(n,) for n in names]


def _array(path: Path, keys: Sequence[str], shape: Sequence[int]) -> Array:
    wanted = f"needs float32 [N,{','.join(str(d) for d in shape[1:])}]"
    try:
        loaded: object = np.load(path, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            raise UserError(f"{path}: not an .npz archive")
        with cast("np.lib.npyio.NpzFile[Any]", loaded) as archive:
            present = list(archive.files)
            key = next((k for k in keys if k in present), None)
            if key is None:
                here = ", ".join(f"'{k}'" for k in present) or "nothing"
                raise UserError(
                    f"{path}: no array {' or '.join(repr(k) for k in dict.fromkeys(keys))}; found {here}; {wanted}"
                )
            a: Array = archive[key]
    except OSError as e:
        raise UserError(f"{path}: {e.strerror or e}") from e
    except (ValueError, EOFError, zipfile.BadZipFile) as e:
        if isinstance(e, UserError):
            raise
        raise UserError(f"{path}: not an .npz archive of numbers") from e
    if a.ndim != len(shape) or tuple(a.shape[1:]) != tuple(shape[1:]) or a.dtype.kind not in "fiu":
        raise UserError(f"{path}: array '{key}' is {a.dtype}{list(a.shape)}; {wanted}")
    if len(a) == 0:
        raise UserError(f"{path}: array '{key}' holds no sample; {wanted}, N at least 1")
    return a


class Histogram:
    """Running distribution of one tensor in bounded memory: symmetric bins whose range doubles as values demand it."""

    def __init__(self) -> None:
        self.low = math.inf
        self.high = -math.inf
        self._limit = 2.0**-20
        self._counts = np.zeros(_BINS, np.int64)
        self._sums = np.zeros(_BINS, np.float64)

    def add(self, x: Array) -> None:
        """Take in the values of a batch, first axis the samples."""
        if x.size == 0:
            return
        low, high = float(x.min()), float(x.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError("values that are not finite")
        self.low, self.high = min(self.low, low), max(self.high, high)
        while max(-low, high) >= self._limit:
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
        if not self._counts.any():
            return
        quarter = _BINS // 4
        for bins in (self._counts, self._sums):
            merged: Array = bins.reshape(-1, 2).sum(axis=1)
            bins[:] = 0
            bins[quarter : 3 * quarter] = merged

    def points(self) -> tuple[Array, Array]:
        """Means and counts of the occupied bins, ascending."""
        used = np.flatnonzero(self._counts)
        return self._sums[used] / self._counts[used], self._counts[used]

    def scale(self, signed: bool, method: Method, percentile: float) -> float:
        """Scale of an 8-bit representation with zero point 0; see `choose_scale`. 1.0 if nothing but zeros was seen."""
        values, counts = self.points()
        return choose_scale(values, counts, self.low, self.high, signed, method, percentile)


def choose_scale(
    values: Array, counts: Array, low: float, high: float, signed: bool, method: Method, percentile: float
) -> float:
    """Scale for int8 (`signed`) or uint8 of a weighted sample `values`/`counts` whose extremes are `low` and `high`.

    "minmax" represents the extremes; "percentile" the given percentage of the non-zero values by magnitude (zeros are
    exact at any scale, and a sparse tensor has little else); "mse" minimises the mean squared rounding and clipping
    error over fractions of the min-max scale. Returns 1.0 for an all-zero sample.
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
    for fraction in np.linspace(1.0, 0.2, 81):
        scale = widest * float(fraction)
        error = np.clip(np.rint(values / scale), floor, ceiling) * scale - values
        total = float((counts * error * error).sum())
        if total < best_error:
            best, best_error = scale, total
    return best
