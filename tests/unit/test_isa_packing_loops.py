"""Compiled loops of packers against plain ones: lengths of codes, divisors of gaps, sizes of streams, logarithms."""

from __future__ import annotations

import heapq

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from isa import elementary
from isa.codeloops import huffman_lengths
from isa.signloops import golomb, golomb_widths, log2, scan_signs


def plain_lengths(counts: list[int]) -> list[int]:
    """The same with the heap of Python."""
    heap = [(count, symbol, [symbol]) for symbol, count in enumerate(counts) if count]
    heapq.heapify(heap)
    lengths = [0] * len(counts)
    if len(heap) == 1:
        lengths[heap[0][1]] = 1
    while len(heap) > 1:
        a, _, left = heapq.heappop(heap)
        b, first, right = heapq.heappop(heap)
        for symbol in left + right:
            lengths[symbol] += 1
        heapq.heappush(heap, (a + b, first, left + right))
    return lengths


@given(st.lists(st.one_of(st.integers(0, 3), st.integers(0, 10**6)), min_size=1, max_size=128))
@settings(max_examples=300, deadline=None)
def test_lengths_of_codes(counts: list[int]) -> None:
    lengths = np.full(len(counts), 9, np.int64)
    huffman_lengths(np.array(counts, np.int64), lengths)
    assert lengths.tolist() == plain_lengths(counts)


@given(st.floats(1e-300, 1e300))
@settings(max_examples=500, deadline=None)
def test_logarithm_has_the_bits_of_the_one_for_arrays(x: float) -> None:
    assert log2(x) == float(elementary.log2(x))


def plain_size(gaps: list[int], m: int) -> int:
    """Bits of the gaps with a divisor: quotients, prefixes and extra bits."""
    width, cut = golomb_widths(m)
    return sum(gap // m + 1 + width + (m > 1 and gap % m >= cut) for gap in gaps)


@given(st.lists(st.sampled_from([-1, 0, 0, 0, 0, 0, 1]), max_size=400), st.booleans())
@settings(max_examples=200, deadline=None)
def test_gaps_and_groups(numbers: list[int], dense: bool) -> None:
    t = np.array([1 - abs(x) for x in numbers] if dense else numbers, np.int8)
    occupied = np.zeros(8, np.int64)
    total = scan_signs(t, occupied)
    assert total == np.count_nonzero(t)
    places = np.flatnonzero(t)
    assert occupied.tolist() == [len(set((places >> g).tolist())) for g in range(1, 9)]
    found = golomb(t, total, 1 << 26)
    marks = np.flatnonzero((t != 0) != found.inverted)
    assert found.inverted == (2 * total > t.size) and found.marks == marks.size
    gaps = (np.diff(marks, prepend=-1) - 1).tolist()
    taken = found.unary_bits + found.prefix_bits + found.extra_bits
    assert taken == plain_size(gaps, found.divisor)
    assert taken <= 1.02 * min(plain_size(gaps, m) for m in range(1, 65)) + 2


def test_numbers_that_are_no_signs() -> None:
    for value in (2, -2, -128):
        assert scan_signs(np.array([0, value], np.int8), np.zeros(8, np.int64)) == -1
