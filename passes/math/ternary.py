"""Integer bounds of a decomposed convolution: intermediate values, accumulators, the shift between them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

I8 = NDArray[np.int8]

INT32_MAX = (1 << 31) - 1


def intermediate_range(coefficients: I8, low: int, high: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Least and greatest sum_c T[k,v,c] * x[c] for x in [low, high]: int64 [K, V] each."""
    plus = np.maximum(coefficients, 0).sum(axis=2, dtype=np.int64)
    minus = -np.minimum(coefficients, 0).sum(axis=2, dtype=np.int64)
    return plus * low - minus * high, plus * high - minus * low


def accumulator_range(
    coefficients: I8, basis: I8, low: int, high: int, ic_shift: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Least and greatest accumulator of the basis stage for x in [low, high], padding included: int64 [K] each.

    The intermediate values are shifted right by `ic_shift` and must not saturate.
    """
    least, most = intermediate_range(coefficients, min(low, 0), max(high, 0))
    taps_plus = np.maximum(basis, 0).astype(np.int64).sum(axis=(1, 2))
    taps_minus = -np.minimum(basis, 0).astype(np.int64).sum(axis=(1, 2))
    half = (1 << ic_shift) >> 1
    small, big = (least + half) >> ic_shift, (most + half) >> ic_shift
    return (small * taps_plus - big * taps_minus).sum(axis=1), (big * taps_plus - small * taps_minus).sum(axis=1)


def intermediate_shift(coefficients: I8, basis: I8, low: int, high: int, ic_bits: int) -> int:
    """Smallest right shift with which no intermediate value saturates and no accumulator leaves int32.

    Zeros of the padding are inputs too, so [low, high] must contain 0. Raises ValueError if no shift up to 31 does.
    """
    least, most = intermediate_range(coefficients, min(low, 0), max(high, 0))
    limit = (1 << (ic_bits - 1)) - 1
    for shift in range(32):
        half = (1 << shift) >> 1
        small, big = (least + half) >> shift, (most + half) >> shift
        bottom, top = accumulator_range(coefficients, basis, low, high, shift)
        fits = not big.size or (int(big.max()) <= limit and int(small.min()) >= -limit - 1)
        if fits and (not top.size or (int(top.max()) <= INT32_MAX and int(bottom.min()) >= -INT32_MAX)):
            return shift
    raise ValueError("no shift keeps the accumulators within int32")
