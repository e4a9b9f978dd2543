"""Compiled loops of `isa.weights`, `isa.packing` and `isa.bitstream`: codes of variable length in the lanes and streams
of a blob, and numbers of some width.

Codes and windows are bit-reversed against their definition: the bit that comes first in a lane is the least significant
one, as in the bytes themselves.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from isa.jit import jit

Bytes: TypeAlias = NDArray[np.uint8]
Longs: TypeAlias = NDArray[np.int64]
Window: TypeAlias = NDArray[np.uint8]


@jit
def fill_windows(lengths: Longs, reversed_codes: Longs, length_at: Bytes, symbol_at: Bytes) -> None:
    """For every window of bits, length and symbol of the code that it begins with; length 0 if there is none."""
    for symbol in range(lengths.size):
        length = lengths[symbol]
        if length:
            for window in range(reversed_codes[symbol], length_at.size, 1 << length):
                length_at[window] = length
                symbol_at[window] = symbol


@jit
def lane_bits(symbols: Bytes, lengths: Longs, bits: Longs) -> bool:
    """Adds up the bits that each lane takes; symbol i goes to lane i % lanes. Whether every symbol has a code."""
    lanes = bits.size
    lane = 0
    complete = True
    for i in range(symbols.size):
        length = lengths[symbols[i]]
        if length == 0:
            complete = False
        bits[lane] += length
        lane = 0 if lane == lanes - 1 else lane + 1
    return complete


@jit
def write_codes(symbols: Bytes, lengths: Longs, reversed_codes: Longs, at: Longs, out: Bytes) -> None:
    """Write the codes of all symbols; `at` [lanes]: the bit of `out` at which each lane begins."""
    lanes = at.size
    held = np.zeros(lanes, np.int64)  # bits that are not written yet
    count = np.zeros(lanes, np.int64)
    to = at >> 3
    lane = 0
    for i in range(symbols.size):
        symbol = symbols[i]
        bits = held[lane] | reversed_codes[symbol] << count[lane]
        waiting = count[lane] + lengths[symbol]
        while waiting >= 8:
            out[to[lane]] = bits & 255
            to[lane] += 1
            bits >>= 8
            waiting -= 8
        held[lane], count[lane] = bits, waiting
        lane = 0 if lane == lanes - 1 else lane + 1
    for lane in range(lanes):
        if count[lane]:
            out[to[lane]] = held[lane]


@jit
def read_codes(
    data: Bytes, first: Longs, sizes: Longs, length_at: Bytes, symbol_at: Bytes, values: NDArray[np.int16]
) -> int:
    """Multiply every value that is not 0 by the magnitude whose code stands next in its lane.

    `data` has three bytes more than the lanes, which begin at the bytes `first` and have `sizes` bytes. Returns the
    first lane that does not hold just the codes of its values, followed by zeros to the end of its last byte, else -1.
    """
    lanes = first.size
    mask = length_at.size - 1
    position = first * 8
    end = (first + sizes) * 8
    bad = np.zeros(lanes, np.bool_)
    lane = 0
    for i in range(values.size):
        if values[i]:
            at = position[lane]
            if at < end[lane]:
                byte = at >> 3
                bits = np.int64(data[byte]) | np.int64(data[byte + 1]) << 8 | np.int64(data[byte + 2]) << 16
                window = (bits >> (at & 7)) & mask
                bad[lane] |= length_at[window] == 0
                position[lane] = at + length_at[window]
                values[i] *= np.int16(symbol_at[window] + 1)
            else:
                bad[lane] = True
            lane = 0 if lane == lanes - 1 else lane + 1
    for lane in range(lanes):
        left = end[lane] - position[lane]
        if bad[lane] or left < 0 or left >= 8 or (left and data[position[lane] >> 3] >> (position[lane] & 7)):
            return lane
    return -1


@jit
def _number(data: Bytes, bit: int, width: int) -> int:
    """`width` bits from a bit on, the least significant one first."""
    value = 0
    for i in range(width):
        value |= np.int64(data[(bit + i) >> 3] >> ((bit + i) & 7) & 1) << i
    return int(value)


@jit
def _padded(data: Bytes, bit: int) -> bool:
    """Whether the bits from a bit on to the end of its byte are 0; true at the begin of a byte."""
    return bit & 7 == 0 or data[bit >> 3] >> (bit & 7) == 0


class Gaps(NamedTuple):
    """A DELTA blob behind its header: see `isa.packing`."""

    divisor: int
    width: int  # bits of a prefix
    cut: int
    inverted: bool
    marks: int
    quotient_bytes: int


TOO_FEW, STRAY_BITS, NO_QUOTIENTS, BEYOND = -1, -2, -3, -4
"""Why reading gaps fails: bytes are missing, a stream does not end in zeros, the quotients are not those of all marks,
a mark lies beyond the last number.
"""


@jit
def read_gaps(data: Bytes, at: int, gaps: Gaps, t: NDArray[np.int8]) -> int:
    """Fill numbers `t` [n] from the streams that begin at a byte; the byte after them, or why not."""
    divisor, width, cut, inverted, marks, quotient_bytes = gaps
    n = t.size
    signs = n - marks if inverted else marks
    prefix = at * 8
    sign = ((prefix + marks * width + 7) >> 3) * 8
    quotient = ((sign + signs + 7) >> 3) * 8
    quotient_end = quotient + quotient_bytes * 8
    if quotient_end > data.size * 8:
        return TOO_FEW
    if not (_padded(data, prefix + marks * width) and _padded(data, sign + signs)):
        return STRAY_BITS
    t[:] = 1 if inverted else 0
    extra, last, place = quotient_end, data.size * 8, -1
    for _ in range(marks):
        place += 1
        while quotient < quotient_end and not data[quotient >> 3] >> (quotient & 7) & 1:
            quotient += 1
            place += divisor
        if quotient == quotient_end:
            return NO_QUOTIENTS
        quotient += 1
        r = _number(data, prefix, width)
        prefix += width
        if divisor > 1 and r >= cut:
            if extra == last:
                return TOO_FEW
            r = 2 * r + _number(data, extra, 1) - cut
            extra += 1
        place += r
        if place >= n:
            return BEYOND
        t[place] = 0 if inverted else 1
    if (quotient + 7) >> 3 != quotient_end >> 3 or not _padded(data, quotient):
        return NO_QUOTIENTS
    if not _padded(data, extra):
        return STRAY_BITS
    for i in range(n):
        if t[i]:
            t[i] -= 2 * _number(data, sign, 1)
            sign += 1
    return (extra + 7) >> 3


@jit
def write_numbers(numbers: Longs, width: int, out: Bytes) -> None:
    """Write the `width` least significant bits of numbers, at most 32, one number behind the other, to zeros."""
    held = count = at = 0
    for i in range(numbers.size):
        held |= (numbers[i] & ((1 << width) - 1)) << count
        count += width
        while count >= 8:
            out[at] = held & 255
            held >>= 8
            count -= 8
            at += 1
    if count:
        out[at] = held


@jit
def read_numbers(data: Bytes, width: int, out: Longs) -> bool:
    """Read what `write_numbers` has written; whether no bit is set behind the last number."""
    held = count = at = 0
    for i in range(out.size):
        while count < width:
            held |= np.int64(data[at]) << count
            count += 8
            at += 1
        out[i] = held & ((1 << width) - 1)
        held >>= width
        count -= width
    return held == 0
