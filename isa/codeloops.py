"""Compiled loops of `isa.weights`: codes of variable length in the lanes of a blob.

Codes and windows are bit-reversed against their definition: the bit that comes first in a lane is the least significant
one, as in the bytes themselves.
"""

from __future__ import annotations

from typing import TypeAlias

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
