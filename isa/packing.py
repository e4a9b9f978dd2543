"""Packed signs: packer and unpacker side by side.

A blob holds n numbers, each 0 or +-1. Bit i of a bit stream is bit i % 8 of byte i // 8; every stream begins on a byte
and the bits after its end are 0. A sign bit is 1 for a negative number and stands for each non-zero in order. A blob
has no other bytes than these:

FLAT       bitmap of n bits; signs.
TWO_LEVEL  uint8 g: groups of 2^g numbers (the last one padded with zeros); one occupancy bit per group; the
           bitmaps of the occupied groups, 2^g bits each; signs.
DELTA      Golomb-coded gaps. Three counts: 2*m, m >= 1 the divisor, plus 1 if the marks are the zeros instead of the
           non-zeros; number of marks; bytes of the quotient stream. Each takes as few bytes as it can, 7 bits a byte,
           least significant first, bit 7 set in all but the last. A gap is the count of unmarked numbers before a
           mark; gap = q*m + r. With b = ceil(log2 m) and cut = 2^b - m, a remainder below cut is the prefix r; any
           other is the prefix (r + cut) >> 1 and the extra bit (r + cut) & 1. Streams: prefixes (b-1 bits each, none if
           b = 0); signs; quotients in unary, q zeros and a one; extra bits, one for each prefix that is not below cut.

The streams of DELTA are apart so that a decoder reads all of them at once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from isa.bitstream import BitReader, PackingError
from isa.formats import SignFormat

MAX_SIGNS = 1 << 26
"""Numbers of a blob: more than the largest scratchpad (16 MiB) holds weights."""
MAX_DIVISOR = MAX_SIGNS
_STRAY_BITS = "bits are set after the end of a stream"


def _packed(t: NDArray[np.int8], coding: int) -> tuple[SignFormat, bytes]:
    """Numbers of any shape in a format, or in the smallest if that is -1."""
    from isa.signloops import packed_signs

    flat = np.ascontiguousarray(t, np.int8).reshape(-1)
    if flat.size > MAX_SIGNS:
        raise ValueError(f"{flat.size} numbers exceed {MAX_SIGNS}")
    chosen, data = packed_signs(flat, coding, MAX_DIVISOR)
    if chosen < 0:
        raise ValueError("numbers must be -1, 0 or 1")
    return SignFormat(chosen), data.tobytes()


def pack(t: NDArray[np.int8], coding: SignFormat) -> bytes:
    """Pack int8 of any shape, row-major. Raises ValueError if a number is not -1, 0 or 1."""
    return _packed(t, int(coding))[1]


def best(t: NDArray[np.int8]) -> tuple[SignFormat, bytes]:
    """The smallest packing of int8 of any shape; among equals the first format. Raises like `pack`."""
    return _packed(t, -1)


def unpack(data: bytes, coding: SignFormat, n: int) -> NDArray[np.int8]:
    """Unpack to int8[n]. Raises `PackingError` if `data` is not exactly one blob of n numbers."""
    if n > MAX_SIGNS:
        raise PackingError(f"packed signs: {n} are more than {MAX_SIGNS}")
    reader = BitReader(data, f"packed signs ({coding.name})")
    t = _unpack_delta(reader, n) if coding is SignFormat.DELTA else _unpack_bitmap(reader, n, coding)
    reader.finish()
    return t


def _unpack_bitmap(reader: BitReader, n: int, coding: SignFormat) -> NDArray[np.int8]:
    """int8 [n] of a bitmap, and signs after it."""
    from isa.signloops import BEYOND, EMPTY, NO_GROUPS, STRAY_BITS, TOO_FEW, read_flat, read_two_level

    t = np.empty(n, np.int8)
    read = read_flat if coding is SignFormat.FLAT else read_two_level
    end = reader.follow(lambda data, at: read(data, at, t))
    if end < 0:
        why = {
            TOO_FEW: reader.too_few,
            STRAY_BITS: _STRAY_BITS,
            BEYOND: "numbers beyond the last one are set",
            EMPTY: "an occupied group is empty",
        }
        raise reader.error(f"groups of 2^{reader.take(1)[0]} numbers are undefined" if end == NO_GROUPS else why[end])
    return t


def _unpack_delta(reader: BitReader, n: int) -> NDArray[np.int8]:
    from isa.signloops import BEYOND, NO_QUOTIENTS, STRAY_BITS, TOO_FEW, Gaps, golomb_widths, read_gaps

    m, inverted = divmod(reader.number(), 2)
    count, quotient_bytes = reader.number(), reader.number()
    if not 1 <= m <= MAX_DIVISOR or count > n:
        raise reader.error(f"divisor {m} with {count} marks among {n} numbers is impossible")
    t = np.empty(n, np.int8)
    gaps = Gaps(m, *golomb_widths(m), bool(inverted), count, quotient_bytes)
    end = reader.follow(lambda data, at: read_gaps(data, at, gaps, t))
    if end < 0:
        why = {
            TOO_FEW: reader.too_few,
            STRAY_BITS: _STRAY_BITS,
            NO_QUOTIENTS: f"the quotient stream does not hold {count} numbers",
            BEYOND: f"a mark lies beyond the last of {n} numbers",
        }
        raise reader.error(why[end])
    return t
