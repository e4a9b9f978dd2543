"""Compiled loops of `isa.weights`, codes of variable length in the lanes of a blob, and numbers of some width.

Codes and windows are bit-reversed against their definition: the bit that comes first in a lane is the least significant
one, as in the bytes themselves.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from isa.jit import inner, jit
from isa.signloops import coded_bytes, number_bytes, plan_signs, smallest_coding, write_number, write_signs

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


@inner
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
    node = np.empty(n, np.int64)  # the node that a symbol in the heap stands for; those of two follow the symbols
    above = np.zeros(2 * n, np.int64)
    depth = np.zeros(2 * n, np.int64)
    size = 0
    for symbol in range(n):
        node[symbol], lengths[symbol] = symbol, 0
        if counts[symbol]:
            heap[size] = counts[symbol] * n + symbol
            size += 1
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
    for symbol in range(n):
        lengths[symbol] = depth[symbol]


@inner
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
def packed_weights(
    weights: Signed, lengths: Longs, reversed_codes: Longs, lanes: int, greatest: int
) -> tuple[bool, Bytes]:
    """The blob of weights [n] in lanes of codes, and whether every magnitude has a code; divisors up to `greatest`."""
    bits = np.zeros(lanes, np.int64)
    if not lane_bits(weights, lengths, bits):
        return False, np.zeros(0, np.uint8)
    signs = np.empty(weights.size, np.int8)
    for i in range(weights.size):
        signs[i] = (weights[i] > 0) - (weights[i] < 0)
    plan = plan_signs(signs, greatest)
    coding = smallest_coding(plan)
    size = coded_bytes(plan, coding)
    whole = number_bytes(coding) + number_bytes(size) + size
    for lane in range(lanes):
        bits[lane] = (bits[lane] + 7) >> 3  # bytes from here on
        whole += number_bytes(bits[lane]) + bits[lane]
    out = np.zeros(whole, np.uint8)
    at = write_number(size, out, write_number(coding, out, 0))
    for lane in range(lanes):
        at = write_number(bits[lane], out, at)
    at = write_signs(signs, coding, plan, out, at)
    to = np.empty(lanes, np.int64)
    for lane in range(lanes):
        to[lane] = at
        at += bits[lane]
    write_codes(weights, lengths, reversed_codes, to, out)
    return True, out


@inner
def write_codes(weights: Signed, lengths: Longs, reversed_codes: Longs, to: Longs, out: Bytes) -> None:
    """Write the codes of all magnitudes but 0; `to` [lanes]: the byte of `out` at which each lane begins."""
    lanes = to.size
    held = np.zeros(lanes, np.int64)  # bits that are not written yet
    count = np.zeros(lanes, np.int64)
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


NOT_ITS_CODES, TOO_LARGE = -1, -2
"""Why reading codes fails: a lane does not hold just the codes of its values; a value exceeds 127."""


@jit
def read_codes(
    data: Bytes, first: Longs, sizes: Longs, length_at: Bytes, symbol_at: Bytes, values: Signed
) -> tuple[int, int]:
    """Multiply every value, which is -1, 0 or 1, by the magnitude whose code stands next in its lane.

    The lanes begin at the bytes `first`, and have `sizes` bytes. Returns 0, or why that fails, and the first lane that
    does not hold just the codes of its values, followed by zeros to the end of its last byte.
    """
    lanes = first.size
    mask = length_at.size - 1
    end = (first + sizes) * 8
    position = first * 8
    bad = np.zeros(lanes, np.bool_)
    too_large = False
    lane = 0
    for i in range(values.size):
        if values[i]:
            at = position[lane]
            if at < end[lane]:
                byte = at >> 3
                bits = np.int64(data[byte])
                if byte + 2 < data.size:
                    bits |= np.int64(data[byte + 1]) << 8 | np.int64(data[byte + 2]) << 16
                elif byte + 1 < data.size:
                    bits |= np.int64(data[byte + 1]) << 8
                window = (bits >> (at & 7)) & mask
                bad[lane] |= length_at[window] == 0
                position[lane] = at + length_at[window]
                value = np.int64(values[i]) * (np.int64(symbol_at[window]) + 1)
                too_large |= value > 127
                values[i] = value
            else:
                bad[lane] = True
            lane = 0 if lane == lanes - 1 else lane + 1
    for lane in range(lanes):
        left = end[lane] - position[lane]
        if bad[lane] or left < 0 or left >= 8 or (left and data[position[lane] >> 3] >> (position[lane] & 7)):
            return NOT_ITS_CODES, lane
    return TOO_LARGE if too_large else 0, 0


@inner
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


@inner
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
