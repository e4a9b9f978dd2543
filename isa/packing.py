"""Packed coefficients: packer and unpacker side by side.

A blob holds T[k][v][c], flattened row-major to n coefficients: 0, +-1, and in the format LEVELS also +-2 and +-4. Bit i
of a bit stream is bit i % 8 of byte i // 8; every stream begins on a byte and the bits after its end are 0. A sign bit
is 1 for a negative coefficient and stands for each non-zero in order. A blob has no other bytes than these:

FLAT       bitmap of n bits; signs.
TWO_LEVEL  uint8 g: groups of 2^g coefficients (the last one padded with zeros); one occupancy bit per group; the
           bitmaps of the occupied groups, 2^g bits each; signs.
DELTA      Golomb-coded gaps. Three numbers: 2*m, m >= 1 the divisor, plus 1 if the marks are the zeros instead of the
           non-zeros; number of marks; bytes of the quotient stream. Each takes as few bytes as it can, 7 bits a byte,
           least significant first, bit 7 set in all but the last. A gap is the number of unmarked coefficients before a
           mark; gap = q*m + r. With b = ceil(log2 m) and cut = 2^b - m, a remainder below cut is the prefix r; any
           other is the prefix (r + cut) >> 1 and the extra bit (r + cut) & 1. Streams: prefixes (b-1 bits each, none if
           b = 0); signs; quotients in unary, q zeros and a one; extra bits, one for each prefix that is not below cut.

LEVELS     two or three planes. The first is a packing of the signs of T, zeros among them, in one of the formats above.
           Each further plane has a value for every mark of the plane before it, in order: marked if the magnitude is at
           least 2 (in the second plane) or 4 (in the third). Such a plane has no signs, and at least one mark. One
           uint8: the formats of the planes, two bits each, that of the first least significant, and the number of
           planes in bits 6 and 7. Then the bytes of every plane but the last, as numbers like those of DELTA; then the
           planes.

The streams of DELTA, and the planes of LEVELS, are apart so that a decoder reads all of them at once.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from isa.bitstream import BitReader, Bits, PackingError, number, to_bytes
from isa.elementary import log2
from isa.formats import CoefficientFormat
from isa.layout import ceil_div
from isa.levels import COEFFICIENT_VALUES, LEVELS, magnitudes

MAX_COEFFICIENTS = 1 << 26
"""Coefficients of a blob: what the largest scratchpad (16 MiB, two bits each) can hold."""

_GROUP_BITS = range(1, 9)
_MAX_DIVISOR = MAX_COEFFICIENTS


PLANE_FORMATS = (CoefficientFormat.FLAT, CoefficientFormat.TWO_LEVEL, CoefficientFormat.DELTA)
"""Formats of coefficients -1, 0 and 1, and of the planes of larger ones."""


class _Plane(NamedTuple):
    """A bitmap of marks, and a sign for each mark; no signs for a plane that has none."""

    bitmap: Bits
    signs: Bits

    @property
    def marks(self) -> int:
        """How many marks there are."""
        return int(np.count_nonzero(self.bitmap))


def _planes(t: NDArray[np.int8]) -> list[_Plane]:
    """The planes of coefficients of any shape: one if all are -1, 0 or 1."""
    flat = np.ascontiguousarray(t, np.int8).reshape(-1)
    if flat.size > MAX_COEFFICIENTS:
        raise ValueError(f"{flat.size} coefficients exceed {MAX_COEFFICIENTS}")
    some = flat != 0
    planes = [_Plane(some.view(np.uint8), (flat[some] < 0).view(np.uint8))]
    left = np.abs(flat[some].astype(np.int16))
    if not np.isin(left, LEVELS).all():
        raise ValueError(f"coefficients must be {COEFFICIENT_VALUES}")
    for level in LEVELS[1:]:
        more = left >= level
        left = left[more]
        if left.size:
            planes.append(_Plane(more.view(np.uint8), np.zeros(0, np.uint8)))
    return planes


def pack(t: NDArray[np.int8], coding: CoefficientFormat) -> bytes:
    """Pack int8[K, V, C] (or any shape, row-major).

    Raises ValueError if a coefficient is not 0 or of magnitude 1, 2 or 4, or if the format does not hold it: LEVELS
    holds only coefficients of which one exceeds 1 in magnitude, and the others only those of which none does.
    """
    planes = _planes(t)
    if (coding is CoefficientFormat.LEVELS) != (len(planes) > 1):
        raise ValueError(
            f"{coding.name} does not hold coefficients of magnitudes {magnitudes(LEVELS[len(planes) - 1])}"
        )
    return _pack_levels(planes) if len(planes) > 1 else _PACKERS[coding].pack(planes[0])


def best(t: NDArray[np.int8]) -> tuple[CoefficientFormat, bytes]:
    """The smallest packing of int8[K, V, C]; among equals the first format."""
    planes = _planes(t)
    if len(planes) > 1:
        return CoefficientFormat.LEVELS, _pack_levels(planes)
    coding = _smallest(planes[0])
    return coding, _PACKERS[coding].pack(planes[0])


def packed_size(t: NDArray[np.int8]) -> int:
    """Bytes of the smallest packing of int8[K, V, C]."""
    planes = _planes(t)
    sizes = [_PACKERS[_smallest(plane)].size(plane) for plane in planes]
    head = 1 + sum(len(number(size)) for size in sizes[:-1]) if len(planes) > 1 else 0
    return head + sum(sizes)


def unpack(data: bytes, coding: CoefficientFormat, k: int, v: int, c: int) -> NDArray[np.int8]:
    """Unpack to int8[k, v, c]. Raises `PackingError` if `data` is not exactly one blob of that shape."""
    n = k * v * c
    if n > MAX_COEFFICIENTS:
        raise PackingError(f"packed coefficients: [{k}, {v}, {c}] are more than {MAX_COEFFICIENTS} coefficients")
    reader = BitReader(data, f"packed coefficients ({coding.name})")
    levels = coding is CoefficientFormat.LEVELS
    t = _unpack_levels(reader, n) if levels else _unpack_plane(reader, coding, n, signed=True)
    reader.finish()
    return t.reshape(k, v, c)


def _unpack_plane(reader: BitReader, coding: CoefficientFormat, n: int, signed: bool) -> NDArray[np.int8]:
    """int8 [n] in {-1, 0, 1}: marks with their signs, all positive in a plane that has no signs."""
    if coding is CoefficientFormat.DELTA:
        return _unpack_delta(reader, n, signed)
    bitmap = reader.bits(n) if coding is CoefficientFormat.FLAT else _unpack_two_level(reader, n)
    t = bitmap.astype(np.int8)
    if signed:
        t[bitmap != 0] -= (2 * reader.bits(int(np.count_nonzero(bitmap)))).astype(np.int8)
    return t


def _smallest(plane: _Plane) -> CoefficientFormat:
    """The format in which a plane takes the fewest bytes; among equals the first."""
    return min(PLANE_FORMATS, key=lambda coding: _PACKERS[coding].size(plane))


def _pack_levels(planes: list[_Plane]) -> bytes:
    codings = [_smallest(plane) for plane in planes]
    packed = [_PACKERS[coding].pack(plane) for coding, plane in zip(codings, planes, strict=True)]
    head = len(planes) << 6 | sum(int(coding) << 2 * i for i, coding in enumerate(codings))
    return bytes([head]) + b"".join(number(len(p)) for p in packed[:-1]) + b"".join(packed)


def _unpack_levels(reader: BitReader, n: int) -> NDArray[np.int8]:
    head = int(reader.take(1)[0])
    count, codings = head >> 6, [head >> 2 * i & 3 for i in range(3)]
    if count not in (2, 3) or any(coding not in PLANE_FORMATS for coding in codings[:count]) or any(codings[count:]):
        raise reader.error(f"{count} planes of the formats {codings} are undefined")
    sizes = [reader.number() for _ in range(count - 1)]
    t = np.zeros(0, np.int8)
    places = np.zeros(0, np.int64)
    for i in range(count):
        begin = reader.place
        plane = _unpack_plane(reader, CoefficientFormat(codings[i]), n if i == 0 else places.size, signed=i == 0)
        if i < count - 1 and reader.place - begin != sizes[i]:
            raise reader.error(f"plane {i} takes {reader.place - begin} bytes instead of {sizes[i]}")
        if i == 0:
            t, places = plane, np.flatnonzero(plane)
        else:
            places = places[plane != 0]
            t[places] *= np.int8(2)
            if not places.size:
                raise reader.error(f"plane {i} has no mark")
    return t


def _flat_size(t: _Plane) -> int:
    return ceil_div(t.bitmap.size, 8) + ceil_div(t.signs.size, 8)


def _pack_flat(t: _Plane) -> bytes:
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


def _two_level_size(t: _Plane) -> int:
    return 1 + min(_group_sizes(t.bitmap)) + ceil_div(t.signs.size, 8)


def _pack_two_level(t: _Plane) -> bytes:
    sizes = _group_sizes(t.bitmap)
    g = _GROUP_BITS[sizes.index(min(sizes))]
    groups = np.zeros((ceil_div(t.bitmap.size, 1 << g), 1 << g), np.uint8)
    groups.reshape(-1)[: t.bitmap.size] = t.bitmap
    occupied = groups.max(axis=1)
    return bytes([g]) + to_bytes(occupied) + to_bytes(groups[occupied != 0]) + to_bytes(t.signs)


def _unpack_two_level(reader: BitReader, n: int) -> Bits:
    g = int(reader.take(1)[0])
    if g not in _GROUP_BITS:
        raise reader.error(f"groups of 2^{g} coefficients are undefined")
    groups = np.zeros((ceil_div(n, 1 << g), 1 << g), np.uint8)
    occupied = reader.bits(len(groups)).astype(bool)
    count = int(np.count_nonzero(occupied))
    bitmaps = reader.bits(count << g).reshape(count, 1 << g)
    if not bitmaps.any(axis=1).all():
        raise reader.error("an occupied group is empty")
    groups[occupied] = bitmaps
    if groups.reshape(-1)[n:].any():
        raise reader.error("coefficients beyond the last one are set")
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


def _gaps(t: _Plane) -> _Gaps:
    inverted = 2 * t.marks > t.bitmap.size
    marks = np.flatnonzero(t.bitmap == 0 if inverted else t.bitmap)
    gaps = np.diff(marks, prepend=-1) - 1
    found = np.bincount(gaps)  # how many there are of each length: sizes need no more
    lengths = np.flatnonzero(found)
    counts = found[lengths]

    def bits(m: int) -> tuple[int, int, int]:
        quotients, r = np.divmod(lengths, m)
        width, cut = _golomb_widths(m)
        extra = int(counts[r >= cut].sum()) if m > 1 else 0
        return int((counts * quotients).sum()) + gaps.size, gaps.size * width, extra

    divisors = _divisors(float(gaps.mean())) if gaps.size else [1]
    divisor = min(divisors, key=lambda m: sum(bits(m)))
    return _Gaps(gaps, inverted, divisor, *bits(divisor))


def _divisors(mean: float) -> list[int]:
    """Divisors to try for gaps of a mean length, in ascending order."""
    guess = 1  # the best divisor for geometric gaps: Gallager and van Voorhis, 1975
    if mean > 0:
        p = 1 / (1 + mean)
        guess = ceil(float(-log2(2 - p) / log2(1 - p)))
    near = (guess // 2, guess - 2, guess - 1, guess, guess + 1, guess + 2, 2 * guess)
    return sorted({min(max(1, m), _MAX_DIVISOR) for m in near})


def _delta_header(g: _Gaps) -> bytes:
    return number(2 * g.divisor + g.inverted) + number(g.gaps.size) + number(ceil_div(g.unary_bits, 8))


def _delta_size(t: _Plane) -> int:
    g = _gaps(t)
    streams = (g.prefix_bits, t.signs.size, g.unary_bits, g.extra_bits)
    return len(_delta_header(g)) + sum(ceil_div(bits, 8) for bits in streams)


def _pack_delta(t: _Plane) -> bytes:
    g = _gaps(t)
    width, _ = _golomb_widths(g.divisor)
    quotients, prefixes, extra = _golomb_split(g.gaps, g.divisor)
    unary = np.zeros(g.unary_bits, np.uint8)
    unary[np.cumsum(quotients + 1) - 1] = 1
    prefix_bits = (prefixes[:, None] >> np.arange(width) & 1).astype(np.uint8)
    streams = (prefix_bits, t.signs, unary, extra.astype(np.uint8))
    return _delta_header(g) + b"".join(map(to_bytes, streams))


def _unpack_delta(reader: BitReader, n: int, signed: bool) -> NDArray[np.int8]:
    from isa.codeloops import BEYOND, NO_QUOTIENTS, STRAY_BITS, TOO_FEW, Gaps, read_gaps

    m, inverted = divmod(reader.number(), 2)
    count, quotient_bytes = reader.number(), reader.number()
    if not 1 <= m <= _MAX_DIVISOR or count > n:
        raise reader.error(f"divisor {m} with {count} marks among {n} coefficients is impossible")
    t = np.empty(n, np.int8)
    gaps = Gaps(m, *_golomb_widths(m), bool(inverted), signed, count, quotient_bytes)
    end = reader.follow(lambda data, at: read_gaps(data, at, gaps, t))
    if end < 0:
        why = {
            TOO_FEW: reader.too_few,
            STRAY_BITS: "bits are set after the end of a stream",
            NO_QUOTIENTS: f"the quotient stream does not hold {count} numbers",
            BEYOND: f"a mark lies beyond the last of {n} coefficients",
        }
        raise reader.error(why[end])
    return t


class _Packer(NamedTuple):
    """Bytes that a format takes, and its packer."""

    size: Callable[[_Plane], int]
    pack: Callable[[_Plane], bytes]


_PACKERS = {
    CoefficientFormat.FLAT: _Packer(_flat_size, _pack_flat),
    CoefficientFormat.TWO_LEVEL: _Packer(_two_level_size, _pack_two_level),
    CoefficientFormat.DELTA: _Packer(_delta_size, _pack_delta),
}
