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

LEVELS     uint8: one of the formats above in bits 0 and 1, the code of the magnitudes in bits 2 and 3. Then a blob in
           that format, but that every sign bit is followed by the code of the magnitude, in the same stream; in DELTA a
           fourth number gives the bytes of that stream. Code 0: a bit, 0 for 1 and 1 for 2; one coefficient at least is
           2 in magnitude. Codes 1, 2 and 3: a 0 for the magnitude 1, 2 or 4 in this order; for the other two, in
           ascending order, a 1 and then a 0 or a 1; one coefficient at least is 4 in magnitude.

The streams of DELTA are apart so that a decoder reads all of them at once.
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
from isa.levels import COEFFICIENT_VALUES, LEVELS, greatest_level, magnitudes

MAX_COEFFICIENTS = 1 << 26
"""Coefficients of a blob: what the largest scratchpad (16 MiB, two bits each) can hold."""

_GROUP_BITS = range(1, 9)
_MAX_DIVISOR = MAX_COEFFICIENTS


TERNARY_FORMATS = (CoefficientFormat.FLAT, CoefficientFormat.TWO_LEVEL, CoefficientFormat.DELTA)
"""Formats of coefficients -1, 0 and 1, which hold the positions of larger ones too."""


class _Marks(NamedTuple):
    """Bitmap of the non-zeros, their number, and the bits of their signs; those of magnitudes by `code`, if there is
    one, are among the latter.
    """

    bitmap: Bits
    total: int
    signs: Bits
    code: int | None


def _marks(t: NDArray[np.int8]) -> _Marks:
    """The marks of coefficients of any shape, with a code if any exceeds 1 in magnitude."""
    flat = np.ascontiguousarray(t, np.int8).reshape(-1)
    if flat.size > MAX_COEFFICIENTS:
        raise ValueError(f"{flat.size} coefficients exceed {MAX_COEFFICIENTS}")
    some = flat != 0
    values = flat[some].astype(np.int16)
    counts = np.bincount(np.abs(values), minlength=LEVELS[-1] + 1)
    if int(counts[list(LEVELS)].sum()) != values.size:
        raise ValueError(f"coefficients must be {COEFFICIENT_VALUES}")
    signs = (values < 0).view(np.uint8)
    code = None
    if counts[4]:
        code = 1 + int(np.argmax(counts[list(LEVELS)]))
    elif counts[2]:
        code = 0
    if code is not None:
        signs = _with_magnitudes(signs, np.abs(values), code)
    return _Marks(some.view(np.uint8), values.size, signs, code)


def _with_magnitudes(signs: Bits, magnitudes: NDArray[np.int16], code: int) -> Bits:
    """Bits of each sign and the code of its magnitude, one after the other."""
    bits = np.zeros((signs.size, 3), np.uint8)
    used = np.ones((signs.size, 3), np.bool_)
    bits[:, 0] = signs
    if code == 0:
        bits[:, 1] = magnitudes == 2
        used[:, 2] = False
    else:
        short, (_, last) = LEVELS[code - 1], [m for m in LEVELS if m != LEVELS[code - 1]]
        bits[:, 1] = magnitudes != short
        bits[:, 2] = magnitudes == last
        used[:, 2] = magnitudes != short
    return bits[used]


def pack(t: NDArray[np.int8], coding: CoefficientFormat) -> bytes:
    """Pack int8[K, V, C] (or any shape, row-major).

    Raises ValueError if a coefficient is not 0 or of magnitude 1, 2 or 4, or if the format does not hold it: LEVELS
    holds only coefficients of which one exceeds 1 in magnitude, and the others only those of which none does.
    """
    marks = _marks(t)
    if (coding is CoefficientFormat.LEVELS) != (marks.code is not None):
        raise ValueError(f"{coding.name} does not hold coefficients of magnitudes {magnitudes(greatest_level(t))}")
    return _pack(marks)[1] if marks.code is not None else _PACKERS[coding].pack(marks)


def best(t: NDArray[np.int8]) -> tuple[CoefficientFormat, bytes]:
    """The smallest packing of int8[K, V, C]; among equals the first format."""
    return _pack(_marks(t))


def _pack(marks: _Marks) -> tuple[CoefficientFormat, bytes]:
    coding = _smallest(marks)
    data = _PACKERS[coding].pack(marks)
    if marks.code is None:
        return coding, data
    return CoefficientFormat.LEVELS, bytes([int(coding) | marks.code << 2]) + data


def _smallest(marks: _Marks) -> CoefficientFormat:
    """The format in which marks take the fewest bytes; among equals the first."""
    return min(TERNARY_FORMATS, key=lambda coding: _PACKERS[coding].size(marks))


def packed_size(t: NDArray[np.int8]) -> int:
    """Bytes of the smallest packing of int8[K, V, C]."""
    marks = _marks(t)
    return _PACKERS[_smallest(marks)].size(marks) + (marks.code is not None)


def packed_level(data: bytes, coding: CoefficientFormat) -> int:
    """The greatest magnitude of the coefficients of a blob, as its first byte says it: no coefficient is read.

    Raises `PackingError` if `data` have no such byte; `unpack` refuses blobs of another greatest magnitude.
    """
    if coding is not CoefficientFormat.LEVELS:
        return 1
    return _level_of(int(BitReader(data, f"packed coefficients ({coding.name})").take(1)[0]) >> 2)


def _level_of(code: int) -> int:
    """The greatest magnitude that a code of the magnitudes is for."""
    return 2 if code == 0 else 4


def unpack(data: bytes, coding: CoefficientFormat, k: int, v: int, c: int) -> NDArray[np.int8]:
    """Unpack to int8[k, v, c]. Raises `PackingError` if `data` is not exactly one blob of that shape."""
    n = k * v * c
    if n > MAX_COEFFICIENTS:
        raise PackingError(f"packed coefficients: [{k}, {v}, {c}] are more than {MAX_COEFFICIENTS} coefficients")
    reader = BitReader(data, f"packed coefficients ({coding.name})")
    code = None
    if coding is CoefficientFormat.LEVELS:
        head = int(reader.take(1)[0])
        code, inner = divmod(head, 4)
        if code > len(LEVELS) or inner not in TERNARY_FORMATS:
            raise reader.error(f"format {inner} with code {code} of the magnitudes is undefined")
        coding = CoefficientFormat(inner)
    t = _unpack_delta(reader, n, code) if coding is CoefficientFormat.DELTA else _unpack_bitmap(reader, n, coding, code)
    reader.finish()
    if code is not None and greatest_level(t) != (level := _level_of(code)):
        raise reader.error(f"no coefficient is of magnitude {level}, which code {code} is for")
    return t.reshape(k, v, c)


def _unpack_bitmap(reader: BitReader, n: int, coding: CoefficientFormat, code: int | None) -> NDArray[np.int8]:
    """int8 [n] of a bitmap, and signs after it."""
    from isa.codeloops import read_magnitudes

    bitmap = reader.bits(n) if coding is CoefficientFormat.FLAT else _unpack_two_level(reader, n)
    t = bitmap.astype(np.int8)
    if code is None:
        t[bitmap != 0] -= (2 * reader.bits(int(np.count_nonzero(bitmap)))).astype(np.int8)
    else:
        _follow(reader, lambda data, at: read_magnitudes(data, 8 * at, 8 * data.size, code, t), {})
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


def _gaps(t: _Marks) -> _Gaps:
    inverted = 2 * t.total > t.bitmap.size
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


def _delta_header(g: _Gaps, t: _Marks) -> bytes:
    signs = b"" if t.code is None else number(ceil_div(t.signs.size, 8))
    return number(2 * g.divisor + g.inverted) + number(g.gaps.size) + number(ceil_div(g.unary_bits, 8)) + signs


def _delta_size(t: _Marks) -> int:
    g = _gaps(t)
    streams = (g.prefix_bits, t.signs.size, g.unary_bits, g.extra_bits)
    return len(_delta_header(g, t)) + sum(ceil_div(bits, 8) for bits in streams)


def _pack_delta(t: _Marks) -> bytes:
    g = _gaps(t)
    width, _ = _golomb_widths(g.divisor)
    quotients, prefixes, extra = _golomb_split(g.gaps, g.divisor)
    unary = np.zeros(g.unary_bits, np.uint8)
    unary[np.cumsum(quotients + 1) - 1] = 1
    prefix_bits = (prefixes[:, None] >> np.arange(width) & 1).astype(np.uint8)
    streams = (prefix_bits, t.signs, unary, extra.astype(np.uint8))
    return _delta_header(g, t) + b"".join(map(to_bytes, streams))


def _unpack_delta(reader: BitReader, n: int, code: int | None) -> NDArray[np.int8]:
    from isa.codeloops import BEYOND, NO_QUOTIENTS, Gaps, read_gaps

    m, inverted = divmod(reader.number(), 2)
    count, quotient_bytes = reader.number(), reader.number()
    if not 1 <= m <= _MAX_DIVISOR or count > n:
        raise reader.error(f"divisor {m} with {count} marks among {n} coefficients is impossible")
    sign_bytes = ceil_div(n - count if inverted else count, 8) if code is None else reader.number()
    t = np.empty(n, np.int8)
    gaps = Gaps(m, *_golomb_widths(m), bool(inverted), count, sign_bytes, quotient_bytes)
    why = {
        NO_QUOTIENTS: f"the quotient stream does not hold {count} numbers",
        BEYOND: f"a mark lies beyond the last of {n} coefficients",
    }
    _follow(reader, lambda data, at: read_gaps(data, at, gaps, -1 if code is None else code, t), why)
    return t


def _follow(reader: BitReader, loop: Callable[[NDArray[np.uint8], int], int], why: dict[int, str]) -> None:
    """Let a loop read on; an error where it fails."""
    from isa.codeloops import NO_SIGNS, STRAY_BITS, TOO_FEW

    end = reader.follow(loop)
    if end < 0:
        known = {
            TOO_FEW: reader.too_few,
            STRAY_BITS: "bits are set after the end of a stream",
            NO_SIGNS: "the stream of signs and magnitudes does not hold those of all marks",
        }
        raise reader.error({**known, **why}[end])


class _Packer(NamedTuple):
    """Bytes that a format takes, and its packer."""

    size: Callable[[_Marks], int]
    pack: Callable[[_Marks], bytes]


_PACKERS = {
    CoefficientFormat.FLAT: _Packer(_flat_size, _pack_flat),
    CoefficientFormat.TWO_LEVEL: _Packer(_two_level_size, _pack_two_level),
    CoefficientFormat.DELTA: _Packer(_delta_size, _pack_delta),
}
