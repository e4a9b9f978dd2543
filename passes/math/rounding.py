"""Requantisation parameters of few significant bits: a small deviation for short constants."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from isa.reference import INT32_HIGH

Longs: TypeAlias = NDArray[np.int64]


def _multiples(values: Longs, zeros: Longs) -> Longs:
    """Multiples of 2^zeros nearest to the values, halves up."""
    half = (np.int64(1) << zeros) >> 1
    return (values + half) >> zeros << zeros


def round_multipliers(
    mult: NDArray[np.generic], shift: NDArray[np.generic], bits: int
) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Nearest mult * 2^-shift whose `mult` has at most `bits` significant bits; int32 and uint8 [K].

    The relative deviation is at most 2^-bits.
    """
    m, s = mult.astype(np.int64), shift.astype(np.int64)
    _, length = np.frexp(m)
    m = _multiples(m, np.maximum(0, length.astype(np.int64) - bits))
    over = m > INT32_HIGH
    fits = s > 1
    m = np.where(over, np.where(fits, 1 << 30, (1 << 31) - (1 << (31 - bits))), m)
    return m.astype(np.int32), np.where(over & fits, s - 1, s).astype(np.uint8)


def round_biases(bias: NDArray[np.generic], shift: NDArray[np.generic], bits: int, room: Longs) -> NDArray[np.int32]:
    """Biases int32 [K] that are multiples of 2^(shift-31-bits): the nearest ones, or those next to 0 where the nearest
    exceeds `room` int64 [K] in magnitude.

    Multipliers being below 2^31, such a multiple is at most 2^-bits steps of the result.
    """
    zeros = np.clip(shift.astype(np.int64) - 31 - bits, 0, 30)
    exact = bias.astype(np.int64)
    nearest = _multiples(exact, zeros)
    inner = np.sign(exact) * (np.abs(exact) >> zeros << zeros)
    fits = np.abs(nearest) <= np.minimum(room, INT32_HIGH)
    return np.where(fits, nearest, inner).astype(np.int32)
