"""The rule of SmartExchange as published: every filter by itself, and its weights alone.

The patches of a filter are the rows of a matrix, which is taken for coefficients times a few vectors of its own. In
turns the coefficients are rounded to powers of two, the vectors are fitted to them by least squares, and coefficients
to the vectors. At the end small coefficients become 0, and so do all those of a patch in which none is large.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from isa.elementary import log2
from passes.math.linear import product, solve

F = NDArray[np.float64]

_ROUNDS = 30
_TOLERANCE = 1e-4
_RIDGE = 1e-9


class Exchanged(NamedTuple):
    """w ~ coefficients times vectors: int8 [K, patches, J], 0 or of magnitude 1, 2 or 4; float64 [K, J, width]."""

    coefficients: NDArray[np.int8]
    vectors: F


def exchange(w: F, level: int, threshold: float) -> Exchanged:
    """Coefficients of magnitudes up to `level`, and as many vectors for each filter as a patch has weights, of filters
    float64 [K, patches, width].

    Coefficients below `threshold` times the largest one of the filter become 0, and so do patches of which none reaches
    five times as much.
    """
    found = [_filter(part, level, threshold) for part in w]
    return Exchanged(np.stack([t for t, _ in found]), np.stack([b for _, b in found]))


def _filter(w: F, level: int, threshold: float) -> tuple[NDArray[np.int8], F]:
    width = w.shape[1]
    peak = float(np.abs(w).max())
    if peak == 0:
        return np.zeros(w.shape, np.int8), np.zeros((width, width))
    exact, vectors = w.copy(), np.eye(width)
    rounded = _powers(_normalised(exact, level), level)
    before = np.inf
    for _ in range(_ROUNDS):
        vectors = _least_squares(rounded, w)
        error = float(((w - product(rounded, vectors)) ** 2).sum())
        if before - error <= _TOLERANCE * before:
            break
        before = error
        exact = np.ascontiguousarray(_least_squares(vectors.T, w.T).T)
        rounded = _powers(_normalised(exact, level), level)
    size = np.abs(_normalised(exact, level)) / level
    small = (size < threshold) | (size.max(axis=1, keepdims=True) < 5 * threshold)
    rounded = np.where(small, 0.0, rounded)
    return rounded.astype(np.int8), _least_squares(rounded, w)


def _normalised(coefficients: F, level: int) -> F:
    """Coefficients whose greatest magnitude in each column is the level."""
    peaks = np.abs(coefficients).max(axis=0)
    return coefficients * (level / np.where(peaks > 0, peaks, 1.0))


def _powers(x: F, level: int) -> F:
    """The powers of two from 1 to `level` that are nearest in their logarithm, with the signs of x; 0 below a half."""
    size = np.abs(x)
    exponents = np.rint(np.clip(log2(np.maximum(size, 0.5)), 0, level.bit_length() - 1))
    powers = np.ldexp(1.0, exponents.astype(np.int64))
    rounded: F = np.where(size < 0.5, 0.0, np.sign(x) * powers)
    return rounded


def _least_squares(a: F, y: F) -> F:
    """x of least || a x - y ||, for a [n, m] and y [n, o]."""
    gram = product(np.ascontiguousarray(a.T), a)
    ridge = _RIDGE * max(float(np.trace(gram)), 1e-300)
    rhs = product(np.ascontiguousarray(a.T), y)
    return np.stack([solve(gram + ridge * np.eye(len(gram)), np.ascontiguousarray(c)) for c in rhs.T], axis=1)
