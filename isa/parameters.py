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

from isa.bitstream import PackingError
from isa.layout import requant_block_bytes

Longs: TypeAlias = NDArray[np.int64]

_LONGEST_HEAD = 7
"""Bytes of a header, and of what the three streams end with beyond the bits of their numbers."""


def pack_parameters(bias: NDArray[np.generic], mult: NDArray[np.generic], shift: NDArray[np.generic]) -> bytes:
    """Pack int32 `bias` and `mult`, uint8 `shift`, each [n], n > 0.

    Raises ValueError if a multiplier is negative, a shift not in [1, 62], or a number exceeds 32 bits.
    """
    from isa.parameterloops import NEGATIVE, write_block

    b, m, s = (np.asarray(a).astype(np.int64) for a in (bias, mult, shift))
    if not 0 < b.size == m.size == s.size:
        raise ValueError(f"{b.size} biases, {m.size} multipliers, {s.size} shifts; requires one of each a channel")
    out = np.zeros(_LONGEST_HEAD + requant_block_bytes(b.size), np.uint8)
    size = write_block(b, m, s, out)
    if size == NEGATIVE:
        raise ValueError("multipliers must not be negative, shifts be in [1, 62]")
    if size < 0:
        raise ValueError("biases and multipliers must be of at most 32 bits")
    return out[:size].tobytes()


def unpack_parameters(data: bytes, n: int) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.uint8]]:
    """Bias, mult and shift of n channels. Raises `PackingError` if `data` is not exactly one blob of n channels."""
    from isa.parameterloops import read_block

    raw = np.frombuffer(data, np.uint8)
    bias, mult, shift = np.empty(n, np.int32), np.empty(n, np.int32), np.empty(n, np.uint8)
    end = read_block(raw, bias, mult, shift, np.empty(n, np.int64))
    if end:
        raise PackingError(f"packed parameters: {_fault(raw, end)}")
    return bias, mult, shift


def _fault(data: NDArray[np.uint8], end: int) -> str:
    """What is wrong with a blob, `end` being what `read_block` says of it."""
    from isa.parameterloops import BIAS, SHIFT, STRAY_BITS, TOO_FEW, header

    if end > 0:
        return f"{end} bytes follow the last stream"
    if end == TOO_FEW:
        return f"{data.size} bytes are too few"
    bias_width, _, zeros, width, *_ = header(data)
    undefined = f"biases of {bias_width} bits, multipliers of {width} bits and {zeros} zeros are undefined"
    why = {
        STRAY_BITS: "bits are set after the end of a stream",
        SHIFT: "a shift is not in [1, 62]",
        BIAS: "a bias exceeds 32 bits",
    }
    return why.get(end, undefined)


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
