"""Compiled loops of `isa.coefficients`: the streams of output channels, bit by bit."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from isa.jit import inner, jit

Bytes: TypeAlias = NDArray[np.uint8]
Longs: TypeAlias = NDArray[np.int64]
Code: TypeAlias = tuple[int, int, int]

TOO_FEW, COUNT, BEYOND = 1, 2, 3
"""Why reading fails: bytes are missing, there are more non-zeros than coefficients, a mark lies beyond the last one."""


@jit
def gap_bits(marks: int, n: int) -> int:
    """Low bits of each gap between so many marks among n coefficients."""
    bits = 0
    while marks and 8 * (marks + 1) * ((4 << bits) + 1) <= 15 * n:
        bits += 1
    return bits


@jit
def _counts(row: NDArray[np.int8], common: int) -> tuple[int, int, bool, int, int]:
    """Of the coefficients [n] of an output channel: those that are not 0, those of these whose magnitude is not the
    common one, whether the zeros are marked in their place, how many are marked, and the bits of a gap.
    """
    n = len(row)
    count = uncommon = 0
    for i in range(n):
        if row[i]:
            count += 1
            uncommon += abs(row[i]) != 1 << common
    inverted = 2 * count > n
    marks = n - count if inverted else count
    return count, uncommon, inverted, marks, gap_bits(marks, n)


@jit
def stream_sizes(t: NDArray[np.int8], code: Code, bits: Longs) -> None:
    """Set `bits` [k] to what `write_streams` takes for each output channel of `t` [k, n]."""
    count_bits, level, common = code
    n = t.shape[1]
    for k in range(t.shape[0]):
        count, uncommon, inverted, marks, width = _counts(t[k], common)
        rests, last = 0, -1
        for i in range(n):
            if (t[k, i] != 0) != inverted:
                rests += (i - last - 1) >> width
                last = i
        magnitudes = (count if level else 0) + (uncommon if level == 2 else 0)
        bits[k] = (count >> count_bits) + 1 + count_bits + marks * (width + 1) + count + magnitudes + rests


@jit
def write_streams(t: NDArray[np.int8], code: Code, data: Bytes) -> None:
    """Write the streams of coefficients `t` [k, n] to `data`, which are zeros and have room.

    `code`: `isa.coefficients.StreamCode`.
    """
    count_bits, level, common = code
    n = t.shape[1]
    bit = 0
    for k in range(t.shape[0]):
        count, uncommon, inverted, marks, width = _counts(t[k], common)
        bit += count >> count_bits
        data[bit >> 3] |= 1 << (bit & 7)
        bit += 1
        for i in range(count_bits):
            data[bit >> 3] |= (count >> i & 1) << (bit & 7)
            bit += 1
        low = bit
        sign = low + marks * width
        magnitude = sign + count
        other = magnitude + (count if level else 0)
        rest = other + (uncommon if level == 2 else 0)
        last = -1
        for i in range(n):
            value = t[k, i]
            if value:
                data[sign >> 3] |= (value < 0) << (sign & 7)
                sign += 1
                if level:
                    size = abs(value)
                    data[magnitude >> 3] |= (size != 1 << common) << (magnitude & 7)
                    magnitude += 1
                    if level == 2 and size != 1 << common:
                        data[other >> 3] |= (size == (2 if common == 2 else 4)) << (other & 7)
                        other += 1
            if (value != 0) != inverted:
                gap = i - last - 1
                for j in range(width):
                    data[low >> 3] |= (gap >> j & 1) << (low & 7)
                    low += 1
                rest += gap >> width
                data[rest >> 3] |= 1 << (rest & 7)
                rest += 1
                last = i
        bit = rest


@jit
def _count(data: Bytes, bit: int, count_bits: int, n: int) -> tuple[int, int]:
    """The number of non-zeros that begins at a bit, and the bit after it; the number is -1 if bytes are missing."""
    end = data.size * 8
    count = 0
    while bit < end and not data[bit >> 3] >> (bit & 7) & 1:
        count += 1
        bit += 1
    bit += 1
    if bit + count_bits > end:
        return -1, bit
    count = min(count, n + 1) << count_bits
    for i in range(count_bits):
        count |= np.int64(data[bit >> 3] >> (bit & 7) & 1) << i
        bit += 1
    return int(count), bit


@inner
def _marks(data: Bytes, low: int, width: int, rest: int, marks: int, inverted: bool, t: NDArray[np.int8]) -> int:
    """Set `t` [n] to 1 where the coefficients are not zero; the bit after the gaps, or less than 0: why not.

    `low`, `rest`: where the low bits of the gaps and their rests begin.
    """
    end = data.size * 8
    t[:] = 1 if inverted else 0
    place = -1
    for _ in range(marks):
        gap = 0
        while rest < end and not data[rest >> 3] >> (rest & 7) & 1:
            gap += 1
            rest += 1
        if rest >= end:
            return -TOO_FEW
        rest += 1
        gap <<= width
        for i in range(width):
            gap |= np.int64(data[low >> 3] >> (low & 7) & 1) << i
            low += 1
        place += gap + 1
        if place >= t.size:
            return -BEYOND
        t[place] = 0 if inverted else 1
    return rest


@jit
def _values(data: Bytes, sign: int, magnitude: int, other: int, code: Code, t: NDArray[np.int8]) -> None:
    """Give the ones of `t` [n] their signs and magnitudes; the bits of either begin at the given ones."""
    _, level, common = code
    least, greatest = 1 if common == 0 else 0, 1 if common == level else level  # of the other two magnitudes
    for i in range(t.size):
        if t[i]:
            size = 0
            if level:
                size = common
                if data[magnitude >> 3] >> (magnitude & 7) & 1:
                    size = least
                    if level == 2:
                        size = greatest if data[other >> 3] >> (other & 7) & 1 else least
                        other += 1
                magnitude += 1
            t[i] = (1 - 2 * np.int64(data[sign >> 3] >> (sign & 7) & 1)) << size
            sign += 1


@jit
def read_streams(data: Bytes, bit: int, code: Code, t: NDArray[np.int8], ends: Longs) -> int:
    """Fill coefficients `t` [k, n] from the streams that begin at a bit, and `ends` [k] with the bits after each.

    Returns 0, or why not.
    """
    count_bits, level, _ = code
    n = t.shape[1]
    end = data.size * 8
    for k in range(t.shape[0]):
        count, low = _count(data, bit, count_bits, n)
        if count < 0:
            return TOO_FEW
        if count > n:
            return COUNT
        inverted = 2 * count > n
        marks = n - count if inverted else count
        width = gap_bits(marks, n)
        sign = low + marks * width
        magnitude = sign + count
        other = magnitude + (count if level else 0)
        if other > end:
            return TOO_FEW
        rest = other
        if level == 2:
            for i in range(magnitude, other):
                rest += data[i >> 3] >> (i & 7) & 1
            if rest > end:
                return TOO_FEW
        bit = _marks(data, low, width, rest, marks, inverted, t[k])
        if bit < 0:
            return -bit
        _values(data, sign, magnitude, other, code, t[k])
        ends[k] = bit
    return 0
