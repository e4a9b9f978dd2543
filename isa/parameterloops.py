"""Compiled loops of `isa.parameters`: a blob of requantisation parameters, written and read in one call each."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from isa.codeloops import read_numbers, write_numbers
from isa.jit import inner, jit

Bytes: TypeAlias = NDArray[np.uint8]
Longs: TypeAlias = NDArray[np.int64]

HEADER_BYTES = 4
TOP = 30
LEAST_SHIFT, MOST_SHIFT = 1, 62
_ZERO = 63  # trailing zeros that a 0 counts as

NEGATIVE, WIDE = -1, -2
"""Why writing fails: a multiplier is negative or a shift is out of range; a bias or a multiplier exceeds 32 bits."""
TOO_FEW, UNDEFINED, STRAY_BITS, SHIFT, BIAS = -1, -2, -3, -4, -5
"""Why reading fails: bytes are missing, widths are undefined, a stream does not end in zeros, a shift is out of range,
a bias exceeds 32 bits.
"""


@inner
def _trailing_zeros(value: int) -> int:
    """Zero bits below the lowest set bit; 63 for 0."""
    if value == 0:
        return _ZERO
    count = 0
    while not value >> count & 1:
        count += 1
    return count


@jit
def _width(value: int) -> int:
    """Bits of a number that is not negative."""
    count = 0
    while value >> count:
        count += 1
    return count


@jit
def stream_bytes(count: int, width: int) -> int:
    """Bytes of so many numbers."""
    return (count * width + 7) >> 3


@jit
def write_block(bias: Longs, mult: Longs, shift: Longs, out: Bytes) -> int:
    """Write the blob of parameters, each [n], n > 0, to zeros `out`, which has room for any; its bytes, or why not."""
    n = bias.size
    reference, joined, common = 0, 0, True
    greatest, smallest, most, least = 0, mult[0], 0, shift[0]
    for i in range(n):
        if mult[i] < 0 or shift[i] < LEAST_SHIFT or shift[i] > MOST_SHIFT:
            return NEGATIVE
        if mult[i] >> 31 or bias[i] >> 31 != bias[i] >> 63:
            return WIDE
        if bias[i]:
            reference = max(reference, shift[i] - _trailing_zeros(bias[i]))
        joined |= mult[i]
        greatest, smallest = max(greatest, mult[i]), min(smallest, mult[i])
        most, least = max(most, shift[i]), min(least, shift[i])
        common &= mult[i] == mult[0] and shift[i] == shift[0]
    numbers = np.empty(n, np.int64)
    reach, occurs = 0, False
    for i in range(n):
        numbers[i] = bias[i] >> max(0, shift[i] - reference)
        reach = max(reach, numbers[i], ~numbers[i])
        occurs |= bias[i] != 0
    bias_width = _width(reach) + 1 if occurs else 0
    stored = 1 if common else n
    zeros = min(_trailing_zeros(joined), TOP)
    width = _width(greatest >> zeros)
    if smallest >> TOP:
        width = TOP - zeros
    elif zeros + width == TOP:
        width += 1
    shift_width = _width(most - least)
    header = bias_width | reference << 6 | zeros << 12 | width << 17 | least << 22 | shift_width << 28
    header |= np.int64(common) << 31
    for i in range(HEADER_BYTES):
        out[i] = header >> 8 * i & 255
    end = HEADER_BYTES + stream_bytes(n, bias_width)
    write_numbers(numbers, bias_width, out[HEADER_BYTES:end])
    at, end = end, end + stream_bytes(stored, width)
    for i in range(stored):
        numbers[i] = mult[i] >> zeros
    write_numbers(numbers[:stored], width, out[at:end])
    at, end = end, end + stream_bytes(stored, shift_width)
    for i in range(stored):
        numbers[i] = shift[i] - least
    write_numbers(numbers[:stored], shift_width, out[at:end])
    return end


@jit
def header(data: Bytes) -> tuple[int, int, int, int, int, int, bool]:
    """The fields of a header, of `data` that has one."""
    word = 0
    for i in range(HEADER_BYTES):
        word |= int(data[i]) << 8 * i
    return word & 63, word >> 6 & 63, word >> 12 & 31, word >> 17 & 31, word >> 22 & 63, word >> 28 & 7, word >> 31 > 0


@jit
def read_block(
    data: Bytes, bias: NDArray[np.int32], mult: NDArray[np.int32], shift: NDArray[np.uint8], numbers: Longs
) -> int:
    """Read a blob into parameters, each [n], with room for n `numbers`; how many bytes follow it, or why not."""
    if data.size < HEADER_BYTES:
        return TOO_FEW
    bias_width, reference, zeros, width, least, shift_width, common = header(data)
    if bias_width > 32 or zeros + width > TOP + 1:
        return UNDEFINED
    n = bias.size
    stored = 1 if common else n
    second = HEADER_BYTES + stream_bytes(n, bias_width)
    third = second + stream_bytes(stored, width)
    end = third + stream_bytes(stored, shift_width)
    if end > data.size:
        return TOO_FEW
    full = read_numbers(data[second:third], width, numbers[:stored])
    for i in range(n):
        found = numbers[0 if common else i]
        mult[i] = (found | 1 << width if zeros + width == TOP else found) << zeros
    full &= read_numbers(data[third:end], shift_width, numbers[:stored])
    out_of_range = False
    for i in range(n):
        found = numbers[0 if common else i] + least
        out_of_range |= found < LEAST_SHIFT or found > MOST_SHIFT
        shift[i] = found
    full &= read_numbers(data[HEADER_BYTES:second], bias_width, numbers)
    if not full:
        return STRAY_BITS
    if end < data.size:
        return data.size - end
    if out_of_range:
        return SHIFT
    for i in range(n):
        found = numbers[i] - (numbers[i] >> bias_width - 1 << bias_width) if bias_width else 0
        up = max(0, shift[i] - reference)
        if found and (up > 31 or found >> 31 - up != found >> 63):
            return BIAS
        bias[i] = found << up if found else 0
    return 0
