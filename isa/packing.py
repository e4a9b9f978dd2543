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
from math import ceil
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from isa.bitstream import BitReader, Bits, PackingError, number, to_bytes
from isa.elementary import log2
from isa.formats import SignFormat
from isa.layout import ceil_div

MAX_SIGNS = 1 << 26
"""Numbers of a blob: more than the largest scratchpad (16 MiB) holds weights."""

_GROUP_BITS = range(1, 9)
_MAX_DIVISOR = MAX_SIGNS


@dataclass(frozen=True)
class _Marks:
    """Bitmap of the non-zeros, their number, and the bits of their signs."""

    bitmap: Bits
    total: int
    signs: Bits

    @cached_property
    def gaps(self) -> _Gaps:
        """What DELTA makes of them."""
        return _gaps(self)


def _marks(t: NDArray[np.int8]) -> _Marks:
    """The marks of numbers of any shape."""
    flat = np.ascontiguousarray(t, np.int8).reshape(-1)
    if flat.size > MAX_SIGNS:
        raise ValueError(f"{flat.size} numbers exceed {MAX_SIGNS}")
    some = flat != 0
    values = flat[some]
    if not (np.abs(values) == 1).all():
        raise ValueError("numbers must be -1, 0 or 1")
    return _Marks(some.view(np.uint8), values.size, (values < 0).view(np.uint8))


def pack(t: NDArray[np.int8], coding: SignFormat) -> bytes:
    """Pack int8 of any shape, row-major. Raises ValueError if a number is not -1, 0 or 1."""
    return _PACKERS[coding].pack(_marks(t))


def best(t: NDArray[np.int8]) -> tuple[SignFormat, bytes]:
    """The smallest packing of int8 of any shape; among equals the first format."""
    marks = _marks(t)
    coding = min(SignFormat, key=lambda coding: _PACKERS[coding].size(marks))
    return coding, _PACKERS[coding].pack(marks)


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


def _flat_size(t: _Marks) -> int:
    return ceil_div(t.bitmap.size, 8) + ceil_div(t.signs.size, 8)


def _pack_flat(t: _Marks) -> bytes:
    return to_bytes(t.bitmap) + to_bytes(t.signs)


def _group_sizes(bitmap: Bits) -> list[int]:
    """Bytes of occupancy bits and bitmaps for each choice of `_GROUP_BITS`."""
    sizes: list[int] = []
    occupied = bitmap
    for g in _GROUP_BITS:
        even = occupied[: occupied.size // 2 * 2]
        pairs = even[0::2] | even[1::2]
        occupied = pairs if even.size == occupied.size else np.append(pairs, occupied[-1])
        sizes.append(ceil_div(occupied.size, 8) + ceil_div(int(np.count_nonzero(occupied)) << g, 8))
    return sizes


def _two_level_size(t: _Marks) -> int:
    return 1 + min(_group_sizes(t.bitmap)) + ceil_div(t.signs.size, 8)


def _pack_two_level(t: _Marks) -> bytes:
    sizes = _group_sizes(t.bitmap)
    g = _GROUP_BITS[sizes.index(min(sizes))]
    groups = np.zeros((ceil_div(t.bitmap.size, 1 << g), 1 << g), np.uint8)
    groups.reshape(-1)[: t.bitmap.size] = t.bitmap
    occupied = groups.max(axis=1)
    return bytes([g]) + to_bytes(occupied) + to_bytes(groups[occupied != 0]) + to_bytes(t.signs)


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


def _golomb_widths(m: int) -> tuple[int, int]:
    """Prefix width in bits and `cut` of the truncated binary code of remainders modulo m."""
    b = (m - 1).bit_length()
    return max(b - 1, 0), (1 << b) - m


def _golomb_split(gaps: NDArray[np.int64], m: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Quotients, prefixes and extra bits."""
    quotients, r = np.divmod(gaps, m)
    _, cut = _golomb_widths(m)
    long = r >= cut
    prefixes = np.where(long, (r + cut) >> 1, r)
    # A divisor of one has no remainder at all: cut is 0 and every "prefix" would call for an extra bit.
    return quotients, prefixes, (r + cut)[long] & 1 if m > 1 else r[:0]


class _Gaps(NamedTuple):
    """Gaps before the marks of DELTA, with the divisor that suits them best, and the bits that each stream takes."""

    gaps: NDArray[np.int64]
    inverted: bool
    divisor: int
    unary_bits: int
    prefix_bits: int
    extra_bits: int


def _gaps(t: _Marks) -> _Gaps:
    inverted = 2 * t.total > t.bitmap.size
    marks = np.flatnonzero(t.bitmap == 0 if inverted else t.bitmap)
    gaps = np.diff(marks, prepend=-1) - 1
    found = np.bincount(gaps)  # how many there are of each length: sizes need no more
    lengths = np.flatnonzero(found)
    counts = found[lengths]

    divisors = np.array(_divisors(float(gaps.mean())) if gaps.size else [1])
    quotients, r = np.divmod(lengths, divisors[:, None])
    widths, cuts = np.array([_golomb_widths(m) for m in divisors.tolist()]).T
    unary = quotients @ counts + gaps.size
    extra = np.where(divisors > 1, (r >= cuts[:, None]) @ counts, 0)
    best = int(np.argmin(unary + gaps.size * widths + extra))
    numbers = int(divisors[best]), int(unary[best]), gaps.size * int(widths[best]), int(extra[best])
    return _Gaps(gaps, inverted, *numbers)


def _divisors(mean: float) -> list[int]:
    """Divisors to try for gaps of a mean length, in ascending order."""
    guess = 1  # the best divisor for geometric gaps: Gallager and van Voorhis, 1975
    if mean > 0:
        p = 1 / (1 + mean)
        more, less = log2([2 - p, 1 - p])
        guess = ceil(float(-more / less))
    near = (guess // 2, guess - 2, guess - 1, guess, guess + 1, guess + 2, 2 * guess)
    return sorted({min(max(1, m), _MAX_DIVISOR) for m in near})


def _delta_header(g: _Gaps) -> bytes:
    return number(2 * g.divisor + g.inverted) + number(g.gaps.size) + number(ceil_div(g.unary_bits, 8))


def _delta_size(t: _Marks) -> int:
    g = t.gaps
    streams = (g.prefix_bits, t.signs.size, g.unary_bits, g.extra_bits)
    return len(_delta_header(g)) + sum(ceil_div(bits, 8) for bits in streams)


def _pack_delta(t: _Marks) -> bytes:
    g = t.gaps
    width, _ = _golomb_widths(g.divisor)
    quotients, prefixes, extra = _golomb_split(g.gaps, g.divisor)
    unary = np.zeros(g.unary_bits, np.uint8)
    unary[np.cumsum(quotients + 1) - 1] = 1
    prefix_bits = (prefixes[:, None] >> np.arange(width) & 1).astype(np.uint8)
    streams = (prefix_bits, t.signs, unary, extra.astype(np.uint8))
    return _delta_header(g) + b"".join(map(to_bytes, streams))


def _unpack_delta(reader: BitReader, n: int) -> NDArray[np.int8]:
    from isa.codeloops import BEYOND, NO_QUOTIENTS, STRAY_BITS, TOO_FEW, Gaps, read_gaps

    m, inverted = divmod(reader.number(), 2)
    count, quotient_bytes = reader.number(), reader.number()
    if not 1 <= m <= _MAX_DIVISOR or count > n:
        raise reader.error(f"divisor {m} with {count} marks among {n} numbers is impossible")
    t = np.empty(n, np.int8)
    gaps = Gaps(m, *_golomb_widths(m), bool(inverted), count, quotient_bytes)
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

    size: Callable[[_Marks], int]
    pack: Callable[[_Marks], bytes]


_PACKERS = {
    SignFormat.FLAT: _Packer(_flat_size, _pack_flat),
    SignFormat.TWO_LEVEL: _Packer(_two_level_size, _pack_two_level),
    SignFormat.DELTA: _Packer(_delta_size, _pack_delta),
}
