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
Signed: TypeAlias = NDArray[np.int8]


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
def count_magnitudes(weights: Signed, counts: Longs) -> None:
    """Add up how often each magnitude 1..128 occurs."""
    for i in range(weights.size):
        if weights[i]:
            counts[abs(np.int64(weights[i])) - 1] += 1


@jit
def _sink(heap: Longs, size: int, at: int) -> None:
    """Let the entry at a place of a heap sink to where it belongs: none is below a greater one."""
    entry = heap[at]
    while 2 * at + 1 < size:
        below = 2 * at + 1
        if below + 1 < size and heap[below + 1] < heap[below]:
            below += 1
        if heap[below] >= entry:
            break
        heap[at] = heap[below]
        at = below
    heap[at] = entry


@jit
def huffman_lengths(counts: Longs, lengths: Longs) -> None:
    """Length of the code of each symbol [n], 0 for symbols that do not occur.

    Of nodes that occur equally often, that of the lesser symbol is taken first. A node of two counts as the second of
    its symbols.
    """
    n = counts.size
    heap = np.zeros(n, np.int64)  # count * n + symbol
    node = np.arange(n)  # the node that a symbol in the heap stands for; those of two follow the symbols
    above = np.zeros(2 * n, np.int64)
    depth = np.zeros(2 * n, np.int64)
    size = 0
    for symbol in range(n):
        if counts[symbol]:
            heap[size] = counts[symbol] * n + symbol
            size += 1
    lengths[:] = 0
    if size == 1:
        lengths[heap[0] % n] = 1
        return
    for at in range(size // 2 - 1, -1, -1):
        _sink(heap, size, at)
    made = n
    while size > 1:
        least = heap[0]
        size -= 1
        heap[0] = heap[size]
        _sink(heap, size, 0)
        second = heap[0]
        above[node[least % n]] = above[node[second % n]] = made
        node[second % n] = made
        heap[0] = (least // n + second // n) * n + second % n
        _sink(heap, size, 0)
        made += 1
    for below in range(made - 2, -1, -1):
        if above[below]:
            depth[below] = depth[above[below]] + 1
    lengths[:] = depth[:n]


@jit
def lane_bits(weights: Signed, lengths: Longs, bits: Longs) -> bool:
    """Adds up the bits that each lane takes; non-zero i goes to lane i % lanes. Whether every magnitude has a code."""
    lanes = bits.size
    lane = 0
    complete = True
    for i in range(weights.size):
        if weights[i]:
            length = lengths[abs(np.int64(weights[i])) - 1]
            if length == 0:
                complete = False
            bits[lane] += length
            lane = 0 if lane == lanes - 1 else lane + 1
    return complete


@jit
def write_codes(weights: Signed, lengths: Longs, reversed_codes: Longs, at: Longs, out: Bytes) -> None:
    """Write the codes of all magnitudes but 0; `at` [lanes]: the bit of `out` at which each lane begins."""
    lanes = at.size
    held = np.zeros(lanes, np.int64)  # bits that are not written yet
    count = np.zeros(lanes, np.int64)
    to = at >> 3
    lane = 0
    for i in range(weights.size):
        if weights[i] == 0:
            continue
        symbol = abs(np.int64(weights[i])) - 1
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
