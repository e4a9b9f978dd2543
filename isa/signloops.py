"""Compiled loops of `isa.packing`: what packed signs take in each format, and the gaps of DELTA."""

from __future__ import annotations

import math
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from isa.elementary import LN2, LOG_TERMS, ROOT_HALF
from isa.jit import jit

Bytes: TypeAlias = NDArray[np.uint8]
Longs: TypeAlias = NDArray[np.int64]
Signs: TypeAlias = NDArray[np.int8]


@jit
def scan_signs(t: Signs, occupied: Longs) -> int:
    """How many of the numbers `t` [n] are not 0, -1 if one is neither 0 nor +-1; adds to `occupied` [g] how many groups
    of 2, 4, 8, ... numbers hold such.
    """
    total = 0
    last = np.full(occupied.size, -1, np.int64)
    for i in range(t.size):
        if t[i]:
            if t[i] > 1 or t[i] < -1:
                return -1
            total += 1
            group = i
            for g in range(occupied.size):
                group >>= 1
                if last[g] == group:  # and so the larger groups have been met too
                    break
                last[g] = group
                occupied[g] += 1
    return total


@jit
def log2(x: float) -> float:
    """`isa.elementary.log2` of one positive number, bit for bit."""
    fraction, exponent = math.frexp(x)
    if fraction < ROOT_HALF:
        fraction, exponent = 2 * fraction, exponent - 1
    s = (fraction - 1) / (fraction + 1)
    square, series = s * s, 0.0
    for term in range(2 * LOG_TERMS - 1, 0, -2):
        series = series * square + 1 / term
    return exponent + s * series * (2 / LN2)


@jit
def golomb_widths(m: int) -> tuple[int, int]:
    """Prefix width in bits and `cut` of the truncated binary code of remainders modulo m."""
    b = 0
    while 1 << b < m:
        b += 1
    return max(b - 1, 0), (1 << b) - m


class Golomb(NamedTuple):
    """The divisor that suits the gaps before some marks best, and the bits that each stream takes."""

    inverted: bool
    marks: int
    divisor: int
    unary_bits: int
    prefix_bits: int
    extra_bits: int


@jit
def _lengths(t: Signs, inverted: bool, marks: int) -> tuple[Longs, int]:
    """How many gaps there are of each length, and the sum of all."""
    longest, last = 0, -1
    for i in range(t.size):
        if (t[i] != 0) != inverted:
            longest = max(longest, i - last - 1)
            last = i
    found = np.zeros(longest + 1, np.int64)
    before = -1
    for i in range(last + 1):
        if (t[i] != 0) != inverted:
            found[i - before - 1] += 1
            before = i
    return found, last + 1 - marks


@jit
def _divisors(mean: float, greatest: int) -> Longs:
    """Divisors to try for gaps of a mean length, in ascending order; some may be equal."""
    guess = 1  # the best divisor for geometric gaps: Gallager and van Voorhis, 1975
    if mean > 0:
        p = 1 / (1 + mean)
        guess = math.ceil(-log2(2 - p) / log2(1 - p))
    near = np.array([guess // 2, guess - 2, guess - 1, guess, guess + 1, guess + 2, 2 * guess])
    return np.sort(np.minimum(np.maximum(near, 1), greatest))


@jit
def golomb(t: Signs, total: int, greatest: int) -> Golomb:
    """What the gaps of numbers `t` [n], of which `total` are not 0, take with the best divisor up to `greatest`."""
    inverted = 2 * total > t.size
    marks = t.size - total if inverted else total
    if marks == 0:
        return Golomb(inverted, 0, 1, 0, 0, 0)
    found, whole = _lengths(t, inverted, marks)
    best, least = Golomb(inverted, marks, 1, 0, 0, 0), -1
    for m in _divisors(whole / marks, greatest):
        width, cut = golomb_widths(m)
        unary, extra = marks, 0
        for length in range(found.size):
            if found[length]:
                unary += length // m * found[length]
                if m > 1 and length % m >= cut:
                    extra += found[length]
        size = unary + marks * width + extra
        if least < 0 or size < least:
            best, least = Golomb(inverted, marks, m, unary, marks * width, extra), size
    return best


@jit
def write_gaps(t: Signs, inverted: bool, divisor: int, places: Longs, out: Bytes) -> None:
    """Write the streams of DELTA to zeros `out`; `places` [4]: the bits at which prefixes, signs, quotients and extra
    bits begin.
    """
    width, cut = golomb_widths(divisor)
    prefix, sign, quotient, extra = places[0], places[1], places[2], places[3]
    last = -1
    for i in range(t.size):
        if t[i]:
            if t[i] < 0:
                out[sign >> 3] |= 1 << (sign & 7)
            sign += 1
        if (t[i] != 0) != inverted:
            gap = i - last - 1
            last = i
            quotient += gap // divisor
            out[quotient >> 3] |= 1 << (quotient & 7)
            quotient += 1
            r = gap % divisor
            bits = r
            if divisor > 1 and r >= cut:
                bits = (r + cut) >> 1
                out[extra >> 3] |= ((r + cut) & 1) << (extra & 7)
                extra += 1
            for j in range(width):
                out[prefix >> 3] |= (bits >> j & 1) << (prefix & 7)
                prefix += 1
