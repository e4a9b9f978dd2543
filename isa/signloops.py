"""Compiled loops of `isa.packing`: what packed signs take in each format, and how they are written and read."""

from __future__ import annotations

import math
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from isa.elementary import LN2, LOG_TERMS, ROOT_HALF
from isa.formats import SignFormat
from isa.jit import inner, jit

Bytes: TypeAlias = NDArray[np.uint8]
Longs: TypeAlias = NDArray[np.int64]
Signs: TypeAlias = NDArray[np.int8]

FLAT, TWO_LEVEL, DELTA = (int(coding) for coding in (SignFormat.FLAT, SignFormat.TWO_LEVEL, SignFormat.DELTA))
GROUP_BITS = 8
"""Binary logarithm of the largest groups of TWO_LEVEL; the smallest ones have two numbers."""
TOO_FEW, STRAY_BITS, NO_QUOTIENTS, BEYOND, NO_GROUPS, EMPTY = -1, -2, -3, -4, -5, -6
"""Why reading fails: bytes are missing, a stream does not end in zeros, the quotients are not those of all marks, a
number beyond the last one is set, groups are of no size that there is, an occupied group is empty.
"""


@jit
def scan_signs(t: Signs, occupied: Longs) -> int:
    """How many of the numbers `t` [n] are not 0, -1 if one is neither 0 nor +-1; adds to `occupied` [g] how many groups
    of 2, 4, 8, ... numbers hold such.
    """
    total = 0
    last = np.full(occupied.size, -1, np.int64)
    for i in range(t.size):
        if t[i]:
            if t[i] > 1 or t[i] < -1:
                return -1
            total += 1
            group = i
            for g in range(occupied.size):
                group >>= 1
                if last[g] == group:  # and so the larger groups have been met too
                    break
                last[g] = group
                occupied[g] += 1
    return total


@jit
def log2(x: float) -> float:
    """`isa.elementary.log2` of one positive number, bit for bit."""
    fraction, exponent = math.frexp(x)
    if fraction < ROOT_HALF:
        fraction, exponent = 2 * fraction, exponent - 1
    s = (fraction - 1) / (fraction + 1)
    square, series = s * s, 0.0
    for term in range(2 * LOG_TERMS - 1, 0, -2):
        series = series * square + 1 / term
    return exponent + s * series * (2 / LN2)


@jit
def golomb_widths(m: int) -> tuple[int, int]:
    """Prefix width in bits and `cut` of the truncated binary code of remainders modulo m."""
    b = 0
    while 1 << b < m:
        b += 1
    return max(b - 1, 0), (1 << b) - m


class Golomb(NamedTuple):
    """The divisor that suits the gaps before some marks best, and the bits that each stream takes."""

    inverted: bool
    marks: int
    divisor: int
    unary_bits: int
    prefix_bits: int
    extra_bits: int


@inner
def _lengths(t: Signs, inverted: bool, marks: int) -> tuple[Longs, int]:
    """How many gaps there are of each length, and the sum of all."""
    longest, last = 0, -1
    for i in range(t.size):
        if (t[i] != 0) != inverted:
            longest = max(longest, i - last - 1)
            last = i
    found = np.zeros(longest + 1, np.int64)
    before = -1
    for i in range(last + 1):
        if (t[i] != 0) != inverted:
            found[i - before - 1] += 1
            before = i
    return found, last + 1 - marks


@inner
def _divisors(mean: float, greatest: int) -> tuple[int, int, int, int, int, int, int]:
    """Divisors to try for gaps of a mean length, before they are cut to the range from 1 to `greatest`."""
    guess = 1  # the best divisor for geometric gaps: Gallager and van Voorhis, 1975
    if mean > 0:
        p = 1 / (1 + mean)
        guess = math.ceil(-log2(2 - p) / log2(1 - p))
    return guess // 2, guess - 2, guess - 1, guess, guess + 1, guess + 2, 2 * guess


@jit
def golomb(t: Signs, total: int, greatest: int) -> Golomb:
    """What the gaps of numbers `t` [n], of which `total` are not 0, take with the best divisor up to `greatest`."""
    inverted = 2 * total > t.size
    marks = t.size - total if inverted else total
    if marks == 0:
        return Golomb(inverted, 0, 1, 0, 0, 0)
    found, whole = _lengths(t, inverted, marks)
    best, least = Golomb(inverted, marks, 1, 0, 0, 0), -1
    for near in _divisors(whole / marks, greatest):
        m = min(max(near, 1), greatest)
        width, cut = golomb_widths(m)
        unary, extra = marks, 0
        for length in range(found.size):
            if found[length]:
                unary += length // m * found[length]
                if m > 1 and length % m >= cut:
                    extra += found[length]
        size = unary + marks * width + extra
        if least < 0 or size < least or (size == least and m < best.divisor):
            best, least = Golomb(inverted, marks, m, unary, marks * width, extra), size
    return best


class SignPlan(NamedTuple):
    """Of numbers: how many are not 0, the binary logarithm of the groups that suit TWO_LEVEL best, the gaps of DELTA,
    and the bytes in each format.
    """

    total: int
    group_bits: int
    gaps: Golomb
    flat: int
    two_level: int
    delta: int


@jit
def _bytes(bits: int) -> int:
    return (bits + 7) >> 3


@inner
def number_bytes(value: int) -> int:
    """Bytes of a number of 7 bits a byte."""
    count = 1
    while value >> 7 * count:
        count += 1
    return count


@inner
def write_number(value: int, out: Bytes, at: int) -> int:
    """Write a number of 7 bits a byte from a byte on; the byte behind it."""
    while value >= 128:
        out[at] = value & 127 | 128
        value >>= 7
        at += 1
    out[at] = value
    return at + 1


@inner
def plan_signs(t: Signs, greatest: int) -> SignPlan:
    """What the numbers `t` [n] take, with divisors up to `greatest`; a total of -1 if one is neither 0 nor +-1."""
    occupied = np.zeros(GROUP_BITS, np.int64)
    total = scan_signs(t, occupied)
    if total < 0:
        return SignPlan(-1, 0, Golomb(False, 0, 1, 0, 0, 0), 0, 0, 0)
    n, signs = t.size, _bytes(total)
    group_bits, least = 0, 0
    for g in range(1, GROUP_BITS + 1):
        size = _bytes((n + (1 << g) - 1) >> g) + _bytes(occupied[g - 1] << g)
        if group_bits == 0 or size < least:
            group_bits, least = g, size
    gaps = golomb(t, total, greatest)
    quotients = _bytes(gaps.unary_bits)
    delta = number_bytes(2 * gaps.divisor + gaps.inverted) + number_bytes(gaps.marks) + number_bytes(quotients)
    delta += _bytes(gaps.prefix_bits) + signs + quotients + _bytes(gaps.extra_bits)
    return SignPlan(total, group_bits, gaps, _bytes(n) + signs, 1 + least + signs, delta)


@inner
def smallest_coding(plan: SignPlan) -> int:
    """The format of the fewest bytes, the first among equals."""
    coding, least = FLAT, plan.flat
    if plan.two_level < least:
        coding, least = TWO_LEVEL, plan.two_level
    return DELTA if plan.delta < least else coding


@jit
def coded_bytes(plan: SignPlan, coding: int) -> int:
    """Bytes in a format."""
    return plan.flat if coding == FLAT else plan.two_level if coding == TWO_LEVEL else plan.delta


@jit
def packed_signs(t: Signs, coding: int, greatest: int) -> tuple[int, Bytes]:
    """The numbers `t` [n] in a format, or the smallest one if that is -1; the format, -1 if a number is no sign."""
    plan = plan_signs(t, greatest)
    if plan.total < 0:
        return -1, np.zeros(0, np.uint8)
    chosen = smallest_coding(plan) if coding < 0 else coding
    out = np.zeros(coded_bytes(plan, chosen), np.uint8)
    write_signs(t, chosen, plan, out, 0)
    return chosen, out


@inner
def write_signs(t: Signs, coding: int, plan: SignPlan, out: Bytes, at: int) -> int:
    """Write numbers in a format to zeros, from a byte on; the byte behind them."""
    if coding == DELTA:
        return _write_gaps(t, plan, out, at)
    at = _write_groups(t, plan.group_bits, out, at) if coding == TWO_LEVEL else _write_bitmap(t, out, at)
    bit = 8 * at
    for i in range(t.size):
        if t[i]:
            out[bit >> 3] |= (t[i] < 0) << (bit & 7)
            bit += 1
    return _bytes(bit)


@inner
def _write_bitmap(t: Signs, out: Bytes, at: int) -> int:
    for i in range(t.size):
        out[at + (i >> 3)] |= (t[i] != 0) << (i & 7)
    return at + _bytes(t.size)


@inner
def _write_groups(t: Signs, group_bits: int, out: Bytes, at: int) -> int:
    """Write the size of groups, a bit for each group, and the bitmaps of those that are occupied."""
    out[at] = group_bits
    size = 1 << group_bits
    groups = (t.size + size - 1) >> group_bits
    bit = 8 * (at + 1 + _bytes(groups))
    for group in range(groups):
        first, occupied = group << group_bits, 0
        for i in range(first, min(first + size, t.size)):
            if t[i]:
                place = bit + i - first
                out[place >> 3] |= 1 << (place & 7)
                occupied = 1
        out[at + 1 + (group >> 3)] |= occupied << (group & 7)
        bit += occupied << group_bits
    return _bytes(bit)


@inner
def _write_gaps(t: Signs, plan: SignPlan, out: Bytes, at: int) -> int:
    """Write header and streams of DELTA."""
    gaps = plan.gaps
    divisor = gaps.divisor
    at = write_number(2 * divisor + gaps.inverted, out, at)
    at = write_number(gaps.marks, out, at)
    at = write_number(_bytes(gaps.unary_bits), out, at)
    width, cut = golomb_widths(divisor)
    prefix = 8 * at
    sign = prefix + 8 * _bytes(gaps.prefix_bits)
    quotient = sign + 8 * _bytes(plan.total)
    extra = quotient + 8 * _bytes(gaps.unary_bits)
    last = -1
    for i in range(t.size):
        if t[i]:
            out[sign >> 3] |= (t[i] < 0) << (sign & 7)
            sign += 1
        if (t[i] != 0) != gaps.inverted:
            gap = i - last - 1
            last = i
            quotient += gap // divisor
            out[quotient >> 3] |= 1 << (quotient & 7)
            quotient += 1
            r = gap % divisor
            bits = r
            if divisor > 1 and r >= cut:
                bits = (r + cut) >> 1
                out[extra >> 3] |= ((r + cut) & 1) << (extra & 7)
                extra += 1
            for j in range(width):
                out[prefix >> 3] |= (bits >> j & 1) << (prefix & 7)
                prefix += 1
    return _bytes(extra)


@inner
def _padded(data: Bytes, bit: int) -> bool:
    """Whether the bits from a bit on to the end of its byte are 0; true at the begin of a byte."""
    return bit & 7 == 0 or data[bit >> 3] >> (bit & 7) == 0


@inner
def _read_negatives(data: Bytes, at: int, total: int, t: Signs) -> int:
    """Make numbers negative, of which so many are 1 and all others 0, as the bits from a byte on say; the byte behind
    these, or why not.
    """
    bit = 8 * at
    if bit + total > 8 * data.size:
        return TOO_FEW
    for i in range(t.size):
        if t[i]:
            t[i] -= (data[bit >> 3] >> (bit & 7) & 1) << 1
            bit += 1
    return _bytes(bit) if _padded(data, bit) else STRAY_BITS


@jit
def read_flat(data: Bytes, at: int, t: Signs) -> int:
    """Fill numbers `t` [n] from a blob of FLAT that begins at a byte; the byte behind it, or why not."""
    if at + _bytes(t.size) > data.size:
        return TOO_FEW
    if not _padded(data, 8 * at + t.size):
        return STRAY_BITS
    total = 0
    for i in range(t.size):
        t[i] = data[at + (i >> 3)] >> (i & 7) & 1
        total += t[i]
    return _read_negatives(data, at + _bytes(t.size), total, t)


@jit
def read_two_level(data: Bytes, at: int, t: Signs) -> int:
    """The same of TWO_LEVEL."""
    if at == data.size:
        return TOO_FEW
    group_bits = int(data[at])
    if not 1 <= group_bits <= GROUP_BITS:
        return NO_GROUPS
    n, size = t.size, 1 << group_bits
    groups = (n + size - 1) >> group_bits
    occupancy = 8 * (at + 1)
    bit = occupancy + 8 * _bytes(groups)
    if bit > 8 * data.size:
        return TOO_FEW
    if not _padded(data, occupancy + groups):
        return STRAY_BITS
    t[:] = 0
    total, beyond = 0, False
    for group in range(groups):
        if not data[occupancy + group >> 3] >> (occupancy + group & 7) & 1:
            continue
        if bit + size > 8 * data.size:
            return TOO_FEW
        before = total
        for place in range(group << group_bits, (group + 1) << group_bits):
            if data[bit >> 3] >> (bit & 7) & 1:
                total += 1
                if place < n:
                    t[place] = 1
                else:
                    beyond = True
            bit += 1
        if total == before:
            return EMPTY
    if not _padded(data, bit):
        return STRAY_BITS
    return BEYOND if beyond else _read_negatives(data, _bytes(bit), total, t)


@jit
def _number(data: Bytes, bit: int, width: int) -> int:
    """`width` bits from a bit on, the least significant one first."""
    value = 0
    for i in range(width):
        value |= np.int64(data[(bit + i) >> 3] >> ((bit + i) & 7) & 1) << i
    return int(value)


class Gaps(NamedTuple):
    """A DELTA blob behind its header: see `isa.packing`."""

    divisor: int
    width: int  # bits of a prefix
    cut: int
    inverted: bool
    marks: int
    quotient_bytes: int


@jit
def read_gaps(data: Bytes, at: int, gaps: Gaps, t: NDArray[np.int8]) -> int:
    """Fill numbers `t` [n] from the streams that begin at a byte; the byte after them, or why not."""
    divisor, width, cut, inverted, marks, quotient_bytes = gaps
    n = t.size
    signs = n - marks if inverted else marks
    prefix = at * 8
    sign = ((prefix + marks * width + 7) >> 3) * 8
    quotient = ((sign + signs + 7) >> 3) * 8
    quotient_end = quotient + quotient_bytes * 8
    if quotient_end > data.size * 8:
        return TOO_FEW
    if not (_padded(data, prefix + marks * width) and _padded(data, sign + signs)):
        return STRAY_BITS
    t[:] = 1 if inverted else 0
    extra, last, place = quotient_end, data.size * 8, -1
    for _ in range(marks):
        place += 1
        while quotient < quotient_end and not data[quotient >> 3] >> (quotient & 7) & 1:
            quotient += 1
            place += divisor
        if quotient == quotient_end:
            return NO_QUOTIENTS
        quotient += 1
        r = _number(data, prefix, width)
        prefix += width
        if divisor > 1 and r >= cut:
            if extra == last:
                return TOO_FEW
            r = 2 * r + _number(data, extra, 1) - cut
            extra += 1
        place += r
        if place >= n:
            return BEYOND
        t[place] = 0 if inverted else 1
    if (quotient + 7) >> 3 != quotient_end >> 3 or not _padded(data, quotient):
        return NO_QUOTIENTS
    if not _padded(data, extra):
        return STRAY_BITS
    for i in range(n):
        if t[i]:
            t[i] -= 2 * _number(data, sign, 1)
            sign += 1
    return (extra + 7) >> 3
