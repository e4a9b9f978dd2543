"""Seeded random numbers with the same bits on every processor."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_PARTS = 4
_VARIANCE = _PARTS * (2**32 - 1) / 12
"""Of the sum of four uniform integers of 16 bits."""


def normal(rng: np.random.Generator, shape: Sequence[int]) -> NDArray[np.float64]:
    """Nearly normal numbers of mean 0 and variance 1: sums of four uniform integers, at most 3.5 in magnitude.

    NumPy's own normal numbers call the C library's exp and log1p, whose last digit depends on the processor.
    """
    drawn = rng.integers(0, 2**64, tuple(shape), np.uint64, endpoint=False)
    total = np.zeros(drawn.shape)
    for i in range(_PARTS):
        total += drawn >> np.uint64(16 * i) & np.uint64(0xFFFF)
    return (total - _PARTS * (2**16 - 1) / 2) / math.sqrt(_VARIANCE)
