"""Compiled loops of `isa.gather`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from isa.jit import inner, jit, woven

Bytes = NDArray[np.uint8]
I8 = NDArray[np.int8]
Longs = NDArray[np.int64]


GAP_CODES, MAGNITUDE_CODES = 16, 8
"""Parameters that the codes of a stream may have."""
MAGNITUDE, GROUPS = -1, -2
"""Why writing fails: a weight is -128; a bundle has too many groups."""


@inner
def _firsts(kn: int, rows: int) -> Longs:
    """The first output channel of each bundle, and kn."""
    return np.minimum(np.arange((kn + rows - 1) // rows + 1) * rows, kn)


@woven
def _code_sizes(w: I8, starts: Longs, firsts: Longs, gaps: Longs, magnitudes: Longs, counts: Longs) -> None:
    """Bits of all gaps and magnitudes of weights [kn, places] in Rice codes of each parameter, and entries [bundles,
    banks].
    """
    for bundle in range(firsts.size - 1):
        for bank in range(starts.size - 1):
            gap = 0
            for row in range(firsts[bundle], firsts[bundle + 1]):
                for place in range(starts[bank], starts[bank + 1]):
                    value = np.int64(w[row, place])
                    if value == 0:
                        gap += 1
                        continue
                    for p in range(gaps.size):
                        gaps[p] += (gap >> p) + 1 + p
                    for p in range(magnitudes.size):
                        magnitudes[p] += (abs(value) - 1 >> p) + 1 + p
                    counts[bundle, bank] += 1
                    gap = 0


@woven
def _put(data: Bytes, bit: int, value: int, width: int) -> int:
    """Write a number of `width` bits; the bit behind it."""
    for i in range(width):
        data[bit >> 3] |= (value >> i & 1) << (bit & 7)
        bit += 1
    return bit


@woven
def _put_rice(data: Bytes, bit: int, value: int, parameter: int) -> int:
    bit += value >> parameter
    data[bit >> 3] |= 1 << (bit & 7)
    return _put(data, bit + 1, value, parameter)


@woven
def _lacking_code(counts: Longs, bundle: int, groups: int) -> int:
    """The parameter of the shortest Rice code of what the banks of a bundle lack."""
    best, fewest = 0, np.int64(1) << 62
    for p in range(16):
        bits = 0
        for bank in range(counts.shape[1]):
            bits += (groups - counts[bundle, bank] >> p) + 1 + p
        if bits < fewest:
            best, fewest = p, bits
    return best


@jit
def packed_stream(w: I8, starts: Longs, rows: int, numbers: Longs, width: int, most: int) -> tuple[int, Bytes]:
    """The stream of weights [kn, places] in bundles of so many rows, and its bits, or why there is none.

    `numbers` [kn or 0] are the output channels, `width` bits each, `most` the groups that a bundle may have.
    """
    for row in range(w.shape[0]):
        for place in range(w.shape[1]):
            if w[row, place] == -128:
                return MAGNITUDE, np.zeros(0, np.uint8)
    firsts = _firsts(w.shape[0], rows)
    gaps, magnitudes = np.zeros(GAP_CODES, np.int64), np.zeros(MAGNITUDE_CODES, np.int64)
    counts = np.zeros((firsts.size - 1, starts.size - 1), np.int64)
    _code_sizes(w, starts, firsts, gaps, magnitudes, counts)
    spare = 64 + numbers.size * width + 64 * counts.size
    for bundle in range(counts.shape[0]):
        groups = counts[bundle].max()
        if groups > most:
            return GROUPS, np.zeros(0, np.uint8)
        spare += groups * counts.shape[1]  # the entries, whose signs take a bit each, and those that are lacking
    data = np.zeros((gaps.min() + magnitudes.min() + spare + 7) >> 3, np.uint8)
    g, m = int(np.argmin(gaps)), int(np.argmin(magnitudes))
    return _write_stream(w, starts, firsts, counts, g, m, numbers, width, data), data


@inner
def _write_stream(
    w: I8, starts: Longs, firsts: Longs, counts: Longs, g: int, m: int, numbers: Longs, width: int, data: Bytes
) -> int:
    """Write a stream to zeros; its bits."""
    bit = _put(data, 0, g, 4)
    bit = _put(data, bit, m, 3)
    bit = _put(data, bit, numbers.size > 0, 1)
    for k in range(numbers.size):
        bit = _put(data, bit, numbers[k], width)
    banks = starts.size - 1
    row, place, left = np.zeros(banks, np.int64), np.zeros(banks, np.int64), np.zeros(banks, np.int64)
    for bundle in range(firsts.size - 1):
        groups = counts[bundle].max()
        bit = _put(data, bit, groups, 16)
        code = _lacking_code(counts, bundle, groups)
        bit = _put(data, bit, code, 4)
        for bank in range(banks):
            bit = _put_rice(data, bit, groups - counts[bundle, bank], code)
            row[bank], place[bank], left[bank] = firsts[bundle], starts[bank], counts[bundle, bank]
        for _ in range(groups):
            for bank in range(banks):
                if left[bank] == 0:
                    continue
                gap = 0
                value = np.int64(0)
                while value == 0:
                    value = np.int64(w[row[bank], place[bank]])
                    gap += value == 0
                    place[bank] += 1
                    if place[bank] == starts[bank + 1]:
                        row[bank] += 1
                        place[bank] = starts[bank]
                left[bank] -= 1
                bit = _put_rice(data, bit, gap, g)
                bit = _put(data, bit, int(value < 0), 1)
                bit = _put_rice(data, bit, int(abs(value)) - 1, m)
    return bit


@woven
def _take(data: Bytes, bit: int, width: int) -> int:
    """A number of `width` bits, or -1 if the data end before."""
    if bit + width > 8 * data.size:
        return -1
    value = 0
    for i in range(width):
        value |= (int(data[bit + i >> 3]) >> (bit + i & 7) & 1) << i
    return value


@woven
def _take_rice(data: Bytes, bit: int, parameter: int) -> tuple[int, int]:
    """A number in a Rice code and the bit behind it; (0, -1) if the data end before."""
    high = 0
    while bit < 8 * data.size and not data[bit >> 3] >> (bit & 7) & 1:
        high += 1
        bit += 1
    low = _take(data, bit + 1, parameter)
    if bit >= 8 * data.size or low < 0:
        return 0, -1
    return high << parameter | low, bit + 1 + parameter


@jit
def read_stream(data: Bytes, places: Longs, starts: Longs, rows: int, width: int, w: I8, taken: Longs) -> int:
    """Read a stream of bundles of so many rows into zeros [kn, places], and groups and entries [2, bundles].

    Output channels have numbers of `width` bits. Returns the bits, or the negative number of a fault of `isa.gather`.
    """
    kn, banks = w.shape[0], starts.size - 1
    firsts, order = _firsts(kn, rows), np.empty(kn, np.int64)
    met = np.zeros(kn, np.bool_)
    twice = False
    g, m, own = _take(data, 0, 4), _take(data, 4, 3), _take(data, 7, 1)
    if own < 0:
        return -1
    bit = 8
    for k in range(order.size):
        order[k] = k
        if own:
            order[k] = _take(data, bit, width)
            bit += width
            if order[k] < 0:
                return -1
            if order[k] >= kn or met[order[k]]:
                twice = True
                order[k] = k
            met[order[k]] = True
    left, key = np.zeros(banks, np.int64), np.zeros(banks, np.int64)
    for bundle in range(firsts.size - 1):
        groups, code = _take(data, bit, 16), _take(data, bit + 16, 4)
        if code < 0:
            return -1
        bit += 20
        for bank in range(banks):
            lacking, bit = _take_rice(data, bit, code)
            if bit < 0:
                return -1
            if lacking > groups:
                return -2
            left[bank], key[bank] = groups - lacking, -1
        if left.max() != groups:
            return -5
        taken[0, bundle], taken[1, bundle] = groups, left.sum()
        for _ in range(groups):
            for bank in range(banks):
                if left[bank] == 0:
                    continue
                left[bank] -= 1
                gap, bit = _take_rice(data, bit, g)
                negative = -1 if bit < 0 else _take(data, bit, 1)
                if negative < 0:
                    return -1
                size, bit = _take_rice(data, bit + 1, m)
                if bit < 0:
                    return -1
                length = starts[bank + 1] - starts[bank]
                key[bank] += gap + 1
                if key[bank] >= length * (firsts[bundle + 1] - firsts[bundle]):
                    return -3
                if size > 126:
                    return -4
                value = size + 1
                row, place = firsts[bundle] + key[bank] // length, starts[bank] + key[bank] % length
                w[order[row], places[place]] = -value if negative else value
    return -6 if twice else bit
