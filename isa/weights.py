"""Packed dense weights: packer and unpacker side by side.

Signs, zeros among them, are packed as above; magnitudes have a Huffman code. A table of 64 bytes,
shared by any number of blobs, holds the length of the code of each magnitude 1..128, 4 bits each, that of 1 in the low
half of byte 0; 0: no code. Codes are canonical: those of length l + 1 begin at twice the number after the last of
length l and follow the order of magnitudes. A blob of n weights:

number     the coding of the signs (0 FLAT, 1 TWO_LEVEL, 2 DELTA); number: their bytes
16 numbers the bytes of each lane
signs      the signs of the weights, -1, 0 or 1, packed
16 lanes   non-zero i has the code of its magnitude in lane i % 16, the most significant bit of the code first

A number has 7 bits a byte, as in packed signs. Each lane begins on a byte and ends in zeros; a decoder reads
codes of all lanes in the same cycle.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from isa.bitstream import BitReader
from isa.formats import SignFormat
from isa.layout import LONGEST_WEIGHT_CODE, WEIGHT_LANES, WEIGHT_MAGNITUDES, WEIGHT_TABLE_BYTES
from isa.packing import MAX_DIVISOR, MAX_SIGNS, unpack

_SIGN_FORMATS = frozenset(SignFormat)


def weight_table(weights: NDArray[np.int8]) -> bytes:
    """The table that suits weights of any shape best, among codes of at most 15 bits."""
    from isa.codeloops import count_magnitudes, huffman_lengths

    counts, lengths = np.zeros(WEIGHT_MAGNITUDES, np.int64), np.zeros(WEIGHT_MAGNITUDES, np.int64)
    count_magnitudes(np.ascontiguousarray(weights, np.int8).reshape(-1), counts)
    huffman_lengths(counts, lengths)
    while int(lengths.max()) > LONGEST_WEIGHT_CODE:
        counts = (counts + 1) // 2
        huffman_lengths(counts, lengths)
    return (lengths[0::2] | lengths[1::2] << 4).astype(np.uint8).tobytes()


class Codes(NamedTuple):
    """A code: length and bits of each magnitude 1..128, the bit that comes first least significant; and its inverse.

    `length_at`, `symbol_at`: for the next 15 bits of a lane, the length of the code that they begin with (0: none), and
    its magnitude less 1.
    """

    lengths: NDArray[np.int64]
    bits: NDArray[np.int64]
    length_at: NDArray[np.uint8]
    symbol_at: NDArray[np.uint8]


@lru_cache(maxsize=32)
def _codes(table: bytes) -> Codes:
    """The code of a table. Raises `PackingError` if there is no such code."""
    from isa.codeloops import fill_windows

    reader = BitReader(table, "table of packed weights")
    halves = reader.take(WEIGHT_TABLE_BYTES).astype(np.int64)
    reader.finish()
    lengths = np.stack([halves & 15, halves >> 4], axis=1).reshape(-1)
    codes = np.zeros(WEIGHT_MAGNITUDES, np.int64)
    code = 0
    for length in range(1, LONGEST_WEIGHT_CODE + 1):
        found = np.flatnonzero(lengths == length)
        codes[found] = code + np.arange(len(found))
        code += len(found)
        if code > 1 << length:
            raise reader.error(f"too many codes of up to {length} bits")
        code <<= 1
    places = np.arange(LONGEST_WEIGHT_CODE)
    forward = (codes[:, None] >> places & 1) << np.maximum(lengths[:, None] - 1 - places, 0)
    reversed_codes = np.where(places < lengths[:, None], forward, 0).sum(axis=1)
    windows = (np.zeros(1 << LONGEST_WEIGHT_CODE, np.uint8), np.zeros(1 << LONGEST_WEIGHT_CODE, np.uint8))
    fill_windows(lengths, reversed_codes, *windows)
    return Codes(lengths, reversed_codes, *windows)


def pack_weights(weights: NDArray[np.int8], table: bytes) -> bytes:
    """Pack int8 weights of any shape, row-major. Raises ValueError if the table lacks a magnitude that occurs, and if
    there are more than `isa.packing.MAX_SIGNS`.
    """
    from isa.codeloops import packed_weights

    flat = np.ascontiguousarray(weights, np.int8).reshape(-1)
    flat.flags.writeable = False  # Numba would compile the kernel for either kind of array
    if flat.size > MAX_SIGNS:
        raise ValueError(f"{flat.size} weights exceed {MAX_SIGNS}")
    codes = _codes(table)
    complete, data = packed_weights(flat, codes.lengths, codes.bits, WEIGHT_LANES, MAX_DIVISOR)
    if not complete:
        raise ValueError("the table has no code for a magnitude that occurs")
    return data.tobytes()


def packed_size(weights: NDArray[np.int8]) -> int:
    """Bytes of weights in one blob with a table of their own, or as they are where that is smaller."""
    table = weight_table(weights)
    return min(weights.size, len(table) + len(pack_weights(weights, table)))


def unpack_weights(data: bytes, table: bytes, n: int) -> NDArray[np.int8]:
    """Unpack to int8[n]. Raises `PackingError` if `data` is not exactly one blob of n weights."""
    from isa.codeloops import NOT_ITS_CODES, read_codes

    reader = BitReader(data, "packed weights")
    coding, size = reader.number(), reader.number()
    if coding not in _SIGN_FORMATS:
        raise reader.error(f"coding {coding} of the signs is undefined")
    sizes = reader.numbers(WEIGHT_LANES)
    result = unpack(reader.take(size).tobytes(), SignFormat(coding), n)
    codes = _codes(table)
    ends = np.cumsum(sizes)
    lanes = reader.take(int(ends[-1]))
    reader.finish()
    fault, lane = read_codes(lanes, ends - sizes, sizes, codes.length_at, codes.symbol_at, result)
    if fault == NOT_ITS_CODES:
        count = (np.count_nonzero(result) - lane - 1) // WEIGHT_LANES + 1
        raise reader.error(f"lane {lane} does not hold {count} codes")
    if fault:
        raise reader.error("a weight exceeds 127")
    return result
