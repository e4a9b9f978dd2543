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

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from isa.bitstream import BitReader, Bits, PackingError, number, to_bytes
from isa.formats import SignFormat
from isa.layout import ceil_div

if TYPE_CHECKING:
    from isa.signloops import Golomb

MAX_SIGNS = 1 << 26
"""Numbers of a blob: more than the largest scratchpad (16 MiB) holds weights."""

_GROUP_BITS = range(1, 9)
_MAX_DIVISOR = MAX_SIGNS


@dataclass(frozen=True)
class _Signs:
    """Numbers int8 [n], how many are not 0, and how many groups of each choice of `_GROUP_BITS` hold such."""

    t: NDArray[np.int8]
    total: int
    occupied: NDArray[np.int64]

    @cached_property
    def golomb(self) -> Golomb:
        """What DELTA makes of them."""
        from isa.signloops import golomb

        return golomb(self.t, self.total, _MAX_DIVISOR)

    @property
    def bits(self) -> tuple[Bits, Bits]:
        """A bit for each number that is not 0, and the bits of the signs."""
        some = self.t != 0
        return some.view(np.uint8), (self.t[some] < 0).view(np.uint8)


def _scanned(t: NDArray[np.int8]) -> _Signs:
    """Numbers of any shape. Raises ValueError unless they are -1, 0 or 1."""
    from isa.signloops import scan_signs

    flat = np.ascontiguousarray(t, np.int8).reshape(-1)
    if flat.size > MAX_SIGNS:
        raise ValueError(f"{flat.size} numbers exceed {MAX_SIGNS}")
    occupied = np.zeros(len(_GROUP_BITS), np.int64)
    total = scan_signs(flat, occupied)
    if total < 0:
        raise ValueError("numbers must be -1, 0 or 1")
    return _Signs(flat, total, occupied)


def pack(t: NDArray[np.int8], coding: SignFormat) -> bytes:
    """Pack int8 of any shape, row-major. Raises ValueError if a number is not -1, 0 or 1."""
    return _PACKERS[coding].pack(_scanned(t))


def best(t: NDArray[np.int8]) -> tuple[SignFormat, bytes]:
    """The smallest packing of int8 of any shape; among equals the first format."""
    signs = _scanned(t)
    coding = min(SignFormat, key=lambda coding: _PACKERS[coding].size(signs))
    return coding, _PACKERS[coding].pack(signs)


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
    bitmap = reader.bits(n) if coding is SignFormat.FLAT else _unpack_two_level(reader, n)
    t = bitmap.astype(np.int8)
    t[bitmap != 0] -= (2 * reader.bits(int(np.count_nonzero(bitmap)))).astype(np.int8)
    return t


def _flat_size(signs: _Signs) -> int:
    return ceil_div(signs.t.size, 8) + ceil_div(signs.total, 8)


def _pack_flat(signs: _Signs) -> bytes:
    bitmap, negative = signs.bits
    return to_bytes(bitmap) + to_bytes(negative)


def _group_sizes(signs: _Signs) -> list[int]:
    """Bytes of occupancy bits and bitmaps for each choice of `_GROUP_BITS`."""
    n, counts = signs.t.size, zip(_GROUP_BITS, signs.occupied.tolist(), strict=True)
    return [ceil_div(ceil_div(n, 1 << g), 8) + ceil_div(count << g, 8) for g, count in counts]


def _two_level_size(signs: _Signs) -> int:
    return 1 + min(_group_sizes(signs)) + ceil_div(signs.total, 8)


def _pack_two_level(signs: _Signs) -> bytes:
    sizes = _group_sizes(signs)
    g = _GROUP_BITS[sizes.index(min(sizes))]
    groups = np.zeros((ceil_div(signs.t.size, 1 << g), 1 << g), np.uint8)
    bitmap, negative = signs.bits
    groups.reshape(-1)[: signs.t.size] = bitmap
    occupied = groups.max(axis=1)
    return bytes([g]) + to_bytes(occupied) + to_bytes(groups[occupied != 0]) + to_bytes(negative)


def _unpack_two_level(reader: BitReader, n: int) -> Bits:
    g = int(reader.take(1)[0])
    if g not in _GROUP_BITS:
        raise reader.error(f"groups of 2^{g} numbers are undefined")
    groups = np.zeros((ceil_div(n, 1 << g), 1 << g), np.uint8)
    occupied = reader.bits(len(groups)).astype(bool)
    count = int(np.count_nonzero(occupied))
    bitmaps = reader.bits(count << g).reshape(count, 1 << g)
    if not bitmaps.any(axis=1).all():
        raise reader.error("an occupied group is empty")
    groups[occupied] = bitmaps
    if groups.reshape(-1)[n:].any():
        raise reader.error("numbers beyond the last one are set")
    return groups.reshape(-1)[:n]


def _delta_header(g: Golomb) -> bytes:
    return number(2 * g.divisor + g.inverted) + number(g.marks) + number(ceil_div(g.unary_bits, 8))


def _delta_streams(signs: _Signs) -> list[int]:
    """Bytes of prefixes, signs, quotients and extra bits."""
    g = signs.golomb
    return [ceil_div(bits, 8) for bits in (g.prefix_bits, signs.total, g.unary_bits, g.extra_bits)]


def _delta_size(signs: _Signs) -> int:
    return len(_delta_header(signs.golomb)) + sum(_delta_streams(signs))


def _pack_delta(signs: _Signs) -> bytes:
    from isa.signloops import write_gaps

    g, sizes = signs.golomb, _delta_streams(signs)
    out = np.zeros(sum(sizes), np.uint8)
    places = np.array([8 * sum(sizes[:i]) for i in range(len(sizes))], np.int64)
    write_gaps(signs.t, g.inverted, g.divisor, places, out)
    return _delta_header(g) + out.tobytes()


def _unpack_delta(reader: BitReader, n: int) -> NDArray[np.int8]:
    from isa.codeloops import BEYOND, NO_QUOTIENTS, STRAY_BITS, TOO_FEW, Gaps, read_gaps
    from isa.signloops import golomb_widths

    m, inverted = divmod(reader.number(), 2)
    count, quotient_bytes = reader.number(), reader.number()
    if not 1 <= m <= _MAX_DIVISOR or count > n:
        raise reader.error(f"divisor {m} with {count} marks among {n} numbers is impossible")
    t = np.empty(n, np.int8)
    gaps = Gaps(m, *golomb_widths(m), bool(inverted), count, quotient_bytes)
    end = reader.follow(lambda data, at: read_gaps(data, at, gaps, t))
    if end < 0:
        why = {
            TOO_FEW: reader.too_few,
            STRAY_BITS: "bits are set after the end of a stream",
            NO_QUOTIENTS: f"the quotient stream does not hold {count} numbers",
            BEYOND: f"a mark lies beyond the last of {n} numbers",
        }
        raise reader.error(why[end])
    return t


class _Packer(NamedTuple):
    """Bytes that a format takes, and its packer."""

    size: Callable[[_Signs], int]
    pack: Callable[[_Signs], bytes]


_PACKERS = {
    SignFormat.FLAT: _Packer(_flat_size, _pack_flat),
    SignFormat.TWO_LEVEL: _Packer(_two_level_size, _pack_two_level),
    SignFormat.DELTA: _Packer(_delta_size, _pack_delta),
}
