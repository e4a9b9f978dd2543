"""Packed requantisation parameters: packer and unpacker side by side.

A blob holds bias, mult and shift of n output channels. uint32 header: bits 0-5 the width of a bias, 6-11 its reference
shift s, 12-16 the trailing zeros z of all multipliers, 17-21 the width of a multiplier, 22-27 the smallest shift, 28-30
the width of a shift, 31 set if multiplier and shift are common to all channels and stand once. Three streams of numbers
follow, each of the width that the header gives, least significant bit first, each stream from a byte on, with zeros
after its end:

biases       two's complement; bias = number << max(0, shift - s)
multipliers  mult = number << z, and, if z and the width make 30, bit 30 of mult is set too
shifts       shift = number + the smallest shift

So multipliers of few significant bits are short, and so are biases that are multiples of about the same share of an
output step in every channel.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from isa.bitstream import BitReader, PackingError, numbers_to_bytes
from isa.layout import requant_block_bytes

Longs: TypeAlias = NDArray[np.int64]

_HEADER_BYTES = 4
_FIELDS = (6, 6, 5, 5, 6, 3, 1)
_TOP = 30
_SHIFTS = range(1, 63)


def _trailing_zeros(values: Longs) -> Longs:
    """Number of zero bits below the lowest set bit; 63 for 0."""
    low = values & -values
    return np.where(values == 0, 63, np.bitwise_count(low - 1).astype(np.int64))


def _width(largest: int) -> int:
    return int(largest).bit_length()


def pack_parameters(bias: NDArray[np.generic], mult: NDArray[np.generic], shift: NDArray[np.generic]) -> bytes:
    """Pack int32 `bias` and `mult`, uint8 `shift`, each [n], n > 0.

    Raises ValueError if a multiplier is negative or a shift not in [1, 62].
    """
    b, m, s = (np.asarray(a).astype(np.int64) for a in (bias, mult, shift))
    if int(m.min()) < 0 or int(s.min()) not in _SHIFTS or int(s.max()) not in _SHIFTS:
        raise ValueError("multipliers must not be negative, shifts be in [1, 62]")
    reference = max(0, int((s - _trailing_zeros(b))[b != 0].max(initial=0)))
    b = b >> np.maximum(0, s - reference)
    bias_width = _width(int(np.maximum(b, ~b).max())) + 1 if b.any() else 0
    common = bool((m == m[0]).all() and (s == s[0]).all())
    if common:
        m, s = m[:1], s[:1]
    zeros = min(int(_trailing_zeros(m).min()), _TOP)
    m = m >> zeros
    width = _width(int(m.max()))
    if int(m.min()) >> (_TOP - zeros):
        width = _TOP - zeros
    elif zeros + width == _TOP:
        width += 1
    least = int(s.min())
    shift_width = _width(int(s.max()) - least)
    header, at = 0, 0
    fields = (bias_width, reference, zeros, width, least, shift_width, common)
    for value, bits in zip(fields, _FIELDS, strict=True):
        header |= int(value) << at
        at += bits
    streams = ((b, bias_width), (m, width), (s - least, shift_width))
    return header.to_bytes(_HEADER_BYTES, "little") + b"".join(numbers_to_bytes(*stream) for stream in streams)


def unpack_parameters(data: bytes, n: int) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.uint8]]:
    """Bias, mult and shift of n channels. Raises `PackingError` if `data` is not exactly one blob of n channels."""
    reader = BitReader(data, "packed parameters")
    header = int.from_bytes(reader.take(_HEADER_BYTES).tobytes(), "little")
    fields: list[int] = []
    for bits in _FIELDS:
        fields.append(header & ((1 << bits) - 1))
        header >>= bits
    bias_width, reference, zeros, width, least, shift_width, common = fields
    if bias_width > 32 or zeros + width > _TOP + 1:
        raise reader.error(f"biases of {bias_width} bits, multipliers of {width} bits and {zeros} zeros are undefined")
    stored = 1 if common else n
    b = reader.numbers(n, bias_width)
    m = reader.numbers(stored, width)
    s = reader.numbers(stored, shift_width) + least
    reader.finish()
    if bias_width:
        b -= (b >> (bias_width - 1)) << bias_width
    if zeros + width == _TOP:
        m |= 1 << width
    m, s = np.broadcast_to(m << zeros, n), np.broadcast_to(s, n)
    if n and (int(s.min()) not in _SHIFTS or int(s.max()) not in _SHIFTS):
        raise reader.error("a shift is not in [1, 62]")
    up = np.maximum(0, s - reference)
    limit = np.int64(1) << np.maximum(0, 31 - up)
    if (((b >= limit) | (b < -limit)) & (b != 0)).any():
        raise reader.error("a bias exceeds 32 bits")
    return (b << np.where(b == 0, 0, up)).astype(np.int32), m.astype(np.int32), s.astype(np.uint8)


def plain_blocks(bias: NDArray[np.generic], mult: NDArray[np.generic], shift: NDArray[np.generic], block: int) -> bytes:
    """Blocks as they lie in PAR: int32 bias, int32 mult, uint8 shift, for `block` channels each, the last for fewer."""
    found: list[bytes] = []
    for first in range(0, len(bias), block):
        part = slice(first, first + block)
        found += [np.asarray(a[part]).astype(t).tobytes() for a, t in ((bias, "<i4"), (mult, "<i4"), (shift, "u1"))]
    return b"".join(found)


def read_block(data: NDArray[np.uint8]) -> tuple[Longs, Longs, Longs]:
    """Bias, mult and shift [n] of one block, from its bytes in PAR."""
    raw = data.tobytes()
    n = len(raw) // requant_block_bytes(1)
    words = np.frombuffer(raw, "<i4", 2 * n).astype(np.int64)
    return words[:n], words[n:], np.frombuffer(raw, "u1", n, 8 * n).astype(np.int64)


__all__ = ["PackingError", "pack_parameters", "plain_blocks", "read_block", "unpack_parameters"]
