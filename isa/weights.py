"""Packed dense weights: packer and unpacker side by side.

Signs, zeros among them, are packed as ternary coefficients are; magnitudes have a Huffman code. A table of 64 bytes,
shared by any number of blobs, holds the length of the code of each magnitude 1..128, 4 bits each, that of 1 in the low
half of byte 0; 0: no code. Codes are canonical: those of length l + 1 begin at twice the number after the last of
length l and follow the order of magnitudes. A blob of n weights:

number     the coding of the signs (0 FLAT, 1 TWO_LEVEL, 2 DELTA); number: their bytes
16 numbers the bytes of each lane
signs      the signs of the weights, -1, 0 or 1, as packed coefficients of shape [1][1][n]
16 lanes   non-zero i has the code of its magnitude in lane i % 16, the most significant bit of the code first

A number has 7 bits a byte, as in packed coefficients. Each lane begins on a byte and ends in zeros; a decoder reads a
code of every lane a cycle.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from isa.bitstream import BitReader, number, to_bytes
from isa.formats import CoefficientFormat
from isa.layout import WEIGHT_LANES, WEIGHT_TABLE_BYTES, ceil_div
from isa.packing import best, unpack

_MAGNITUDES = 128
_LONGEST = 15


def _huffman_lengths(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Length of each symbol's code, 0 for symbols that do not occur."""
    lengths = np.zeros(len(counts), np.int64)
    heap: list[tuple[int, int, list[int]]] = [(int(c), i, [i]) for i, c in enumerate(counts) if c]
    if len(heap) == 1:
        lengths[heap[0][1]] = 1
    heapq.heapify(heap)
    while len(heap) > 1:
        a, _, left = heapq.heappop(heap)
        b, first, right = heapq.heappop(heap)
        lengths[left + right] += 1
        heapq.heappush(heap, (a + b, first, left + right))
    return lengths


def weight_table(weights: NDArray[np.int8]) -> bytes:
    """The table that suits weights of any shape best, among codes of at most 15 bits."""
    magnitudes = np.abs(weights.reshape(-1).astype(np.int64))
    counts = np.bincount(magnitudes, minlength=_MAGNITUDES + 1)[1:].astype(np.int64)
    lengths = _huffman_lengths(counts)
    while int(lengths.max()) > _LONGEST:
        counts = (counts + 1) // 2
        lengths = _huffman_lengths(counts)
    return (lengths[0::2] | lengths[1::2] << 4).astype(np.uint8).tobytes()


def _codes(table: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Lengths and codes of the magnitudes 1..128. Raises `PackingError` if there are no such codes."""
    reader = BitReader(table, "table of packed weights")
    halves = reader.take(WEIGHT_TABLE_BYTES).astype(np.int64)
    reader.finish()
    lengths = np.stack([halves & 15, halves >> 4], axis=1).reshape(-1)
    codes = np.zeros(_MAGNITUDES, np.int64)
    code = 0
    for length in range(1, _LONGEST + 1):
        found = np.flatnonzero(lengths == length)
        codes[found] = code + np.arange(len(found))
        code += len(found)
        if code > 1 << length:
            raise reader.error(f"too many codes of up to {length} bits")
        code <<= 1
    return lengths, codes


def pack_weights(weights: NDArray[np.int8], table: bytes) -> bytes:
    """Pack int8 weights of any shape, row-major. Raises ValueError if the table lacks a magnitude that occurs."""
    flat = np.ascontiguousarray(weights, np.int8).reshape(-1)
    coding, signs = best(np.sign(flat))
    lengths, codes = _codes(table)
    symbols = np.abs(flat[flat != 0].astype(np.int64)) - 1
    if symbols.size and not int(lengths[symbols].min()):
        raise ValueError("the table has no code for a magnitude that occurs")
    lanes = [_encode(symbols[lane::WEIGHT_LANES], lengths, codes) for lane in range(WEIGHT_LANES)]
    head = number(int(coding)) + number(len(signs)) + b"".join(number(len(lane)) for lane in lanes)
    return head + signs + b"".join(lanes)


def packed_size(weights: NDArray[np.int8]) -> int:
    """Bytes of weights in one blob with a table of their own, or as they are where that is smaller."""
    table = weight_table(weights)
    return min(weights.size, len(table) + len(pack_weights(weights, table)))


def _encode(symbols: NDArray[np.int64], lengths: NDArray[np.int64], codes: NDArray[np.int64]) -> bytes:
    each = lengths[symbols]
    ends = np.cumsum(each)
    total = int(ends[-1]) if ends.size else 0
    below = np.repeat(ends, each) - 1 - np.arange(total)
    return to_bytes((np.repeat(codes[symbols], each) >> below & 1).astype(np.uint8))


def unpack_weights(data: bytes, table: bytes, n: int) -> NDArray[np.int8]:
    """Unpack to int8[n]. Raises `PackingError` if `data` is not exactly one blob of n weights."""
    reader = BitReader(data, "packed weights")
    coding, size = reader.number(), reader.number()
    if coding not in CoefficientFormat.__members__.values():
        raise reader.error(f"coding {coding} of the signs is undefined")
    sizes = [reader.number() for _ in range(WEIGHT_LANES)]
    signs = unpack(reader.take(size).tobytes(), CoefficientFormat(coding), 1, 1, n).reshape(-1)
    places = np.flatnonzero(signs)
    lengths, codes = _codes(table)
    longest = np.zeros(1 << _LONGEST, np.uint8)
    symbol = np.zeros(1 << _LONGEST, np.int64)
    for index in np.flatnonzero(lengths):
        spare = _LONGEST - int(lengths[index])
        window = slice(int(codes[index]) << spare, (int(codes[index]) + 1) << spare)
        longest[window], symbol[window] = lengths[index], index
    result = signs.astype(np.int64)
    for lane, each in enumerate(sizes):
        mine = places[lane::WEIGHT_LANES]
        windows = _windows(reader.take(each))
        starts, end = _follow(longest[windows].tobytes(), len(mine))
        if end < 0 or ceil_div(end, 8) != each or windows[end:].any():
            raise reader.error(f"lane {lane} does not hold {len(mine)} codes")
        result[mine] *= symbol[windows[starts]] + 1
    reader.finish()
    if n and int(result.max()) > 127:
        raise reader.error("a weight exceeds 127")
    return result.astype(np.int8)


def _windows(data: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The 15 bits from each bit of a lane on, zeros after its end, the first bit most significant; one more at the
    end.
    """
    bits = np.unpackbits(data, bitorder="little").astype(np.int64)
    padded = np.concatenate([bits, np.zeros(_LONGEST + 1, np.int64)])
    found = np.zeros(bits.size + 1, np.int64)
    for i in range(_LONGEST):
        found |= padded[i : i + found.size] << (_LONGEST - 1 - i)
    return found


def _follow(lengths: Sequence[int], count: int) -> tuple[list[int], int]:
    """Where each of `count` codes begins, and the end of the last; -1 if there are fewer. `lengths`: that of the code
    at each bit.
    """
    starts: list[int] = []
    at = 0
    for _ in range(count):
        if at >= len(lengths) or not lengths[at]:
            return [], -1
        starts.append(at)
        at += lengths[at]
    return starts, at if at < len(lengths) else -1
