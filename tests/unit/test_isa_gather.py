"""Streams of sparse weights: what is packed comes back, and what no packer wrote is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isa.bitstream import PackingError
from isa.gather import Gathering, bank_loads, order_of, pack_gather, places_of, spread, unpack_gather


@st.composite
def cases(draw):
    """Weights [kn, taps, c] and how they are gathered."""
    rng = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    shape = draw(st.integers(1, 40)), draw(st.integers(1, 9)), draw(st.integers(1, 40))
    banks = draw(st.integers(1, 32))
    how = Gathering.of(banks, draw(st.integers(1, 32)), draw(st.integers(1, 70)), draw(st.integers(0, 70)))
    weights = rng.integers(-127, 128, shape) * (rng.random(shape) < draw(st.floats(0, 1)))
    return weights.astype(np.int8), how


@settings(max_examples=60, deadline=None)
@given(case=cases(), own_order=st.booleans())
def test_round_trip(case, own_order):
    weights, how = case
    order = spread(weights, how) if own_order else None
    stream = unpack_gather(pack_gather(weights, how, order), how, weights.shape)
    np.testing.assert_array_equal(stream.weights, weights)
    loads = bank_loads(weights if order is None else weights[order], how)
    np.testing.assert_array_equal(stream.groups, loads.max(axis=1))
    np.testing.assert_array_equal(stream.entries, loads.sum(axis=1))


@settings(max_examples=30, deadline=None)
@given(case=cases(), data=st.data())
def test_damaged_streams_are_refused_or_mean_weights(case, data):
    weights, how = case
    packed = bytearray(pack_gather(weights, how))
    for _ in range(data.draw(st.integers(1, 3))):
        packed[data.draw(st.integers(0, len(packed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    packed = packed[: data.draw(st.integers(1, len(packed)))]
    try:
        found = unpack_gather(bytes(packed), how, weights.shape)
    except PackingError:
        return
    assert np.abs(found.weights.astype(int)).max(initial=0) <= 127


def test_banks_of_a_part_are_those_of_the_whole():
    whole = places_of(9, 20, Gathering.of(7, 1, 20))
    part = places_of(9, 5, Gathering.of(7, 1, 20, 10))
    for bank in range(7):
        taps, channels = np.divmod(whole.places[whole.starts[bank] : whole.starts[bank + 1]], 20)
        inside = (channels >= 10) & (channels < 15)
        expected = taps[inside] * 5 + channels[inside] - 10
        np.testing.assert_array_equal(part.places[part.starts[bank] : part.starts[bank + 1]], expected)


def test_groups_follow_the_fullest_bank():
    """Three entries in one bank of two: three groups for a row alone, two if a row of the other bank joins it."""
    weights = np.zeros((2, 1, 8), np.int8)
    weights[0, 0, [0, 2, 4]] = 1
    weights[1, 0, [1, 3, 5]] = -1
    alone, together = Gathering.of(2, 1, 8), Gathering.of(2, 2, 8)
    np.testing.assert_array_equal(bank_loads(weights, alone), [[3, 0], [0, 3]])
    np.testing.assert_array_equal(unpack_gather(pack_gather(weights, together), together, (2, 1, 8)).groups, [3])


def test_an_order_of_their_own_spreads_the_entries():
    """Neighbours use the same bank; apart they share a bundle with rows of the other bank."""
    weights = np.zeros((4, 1, 8), np.int8)
    weights[:2, 0, ::2], weights[2:, 0, 1::2] = 1, 1
    how = Gathering.of(2, 2, 8)
    assert bank_loads(weights, how).max(axis=1).sum() == 16
    assert bank_loads(weights[spread(weights, how)], how).max(axis=1).sum() == 8
    assert order_of(weights, how, True) is not None and order_of(weights, how, False) is None


def test_an_order_that_saves_nothing_is_not_taken():
    """Both bundles are balanced as they are."""
    weights = np.zeros((4, 1, 8), np.int8)
    weights[0::2, 0, ::2], weights[1::2, 0, 1::2] = 1, 1
    assert order_of(weights, Gathering.of(2, 2, 8), True) is None


def test_minus_128_has_no_code():
    with pytest.raises(ValueError, match="from -127 to 127"):
        pack_gather(np.full((1, 1, 1), -128, np.int8), Gathering.of(1, 1, 1))


def test_sizes_are_near_the_entropy():
    """At a density of 30 %, positions take about 3 bits an entry: a bitmap's entropy is 2.94."""
    rng = np.random.default_rng(1)
    weights = np.where(rng.random((64, 9, 64)) < 0.3, 1, 0).astype(np.int8)
    entries = np.count_nonzero(weights)
    bits = 8 * len(pack_gather(weights, Gathering.of(30, 16, 64))) - 2 * entries  # a sign and a magnitude of one bit
    assert 2.9 < bits / entries < 3.2


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "ends too early"),
        (pack_gather(np.zeros((1, 1, 1), np.int8), Gathering.of(1, 1, 1)) + b"\0", "do not end with the last bundle"),
        (b"\0\xff\xff\0\0", "lacks more entries than its bundle has groups|ends too early|more groups than"),
    ],
)
def test_what_is_wrong_is_said(data, why):
    with pytest.raises(PackingError, match=why):
        unpack_gather(data, Gathering.of(1, 1, 1), (1, 1, 1))
