"""Packed dense weights: round trips, sizes near the entropy, and blobs that no packer writes."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isa.bitstream import PackingError
from isa.layout import WEIGHT_TABLE_BYTES
from isa.weights import pack_weights, packed_size, unpack_weights, weight_table

FAST = settings(max_examples=150, deadline=None)


@st.composite
def weights(draw: st.DrawFn) -> np.ndarray:
    """Weights of any density and width, extremes included."""
    n = draw(st.integers(0, 400))
    random = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    w = np.clip(np.rint(random.normal(0, draw(st.sampled_from([0.5, 3, 30, 200])), n)), -128, 127)
    w[random.random(n) < draw(st.sampled_from([0.0, 0.5, 0.95, 1.0]))] = 0
    return w.astype(np.int8)


@FAST
@given(weights(), weights())
def test_round_trip(a: np.ndarray, b: np.ndarray) -> None:
    table = weight_table(np.concatenate([a, b]))
    assert len(table) == WEIGHT_TABLE_BYTES
    for w in (a, b):
        np.testing.assert_array_equal(unpack_weights(pack_weights(w, table), table, w.size), w)


def test_shape_does_not_matter() -> None:
    w = np.random.default_rng(0).integers(-128, 128, (3, 2, 5, 7)).astype(np.int8)
    table = weight_table(w)
    assert pack_weights(w, table) == pack_weights(w.reshape(-1), table)


def test_codes_of_rare_magnitudes_are_at_most_15_bits() -> None:
    w = np.repeat(np.arange(1, 26), [1 << max(0, 16 - i) for i in range(25)]).astype(np.int8)
    table = weight_table(w)
    np.testing.assert_array_equal(unpack_weights(pack_weights(w, table), table, w.size), w)


@pytest.mark.parametrize("density", [0.02, 0.1, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("deviation", [2.0, 12.0, 40.0])
def test_size_is_near_the_entropy(density: float, deviation: float) -> None:
    random = np.random.default_rng(1)
    w = np.clip(np.rint(random.normal(0, deviation, 20000)), -127, 127).astype(np.int8)
    w[random.random(w.size) >= density] = 0
    _, counts = np.unique(w, return_counts=True)
    p = counts / w.size
    bound = -(p * np.log2(p)).sum() * w.size / 8
    table = weight_table(w)
    assert bound < packed_size(w) == min(w.size, len(pack_weights(w, table)) + len(table)) < 1.1 * bound + 64


def test_a_table_without_the_code() -> None:
    with pytest.raises(ValueError, match="no code"):
        pack_weights(np.array([3], np.int8), weight_table(np.array([2], np.int8)))


def test_tables_that_are_none() -> None:
    w = np.array([1, -2], np.int8)
    table = weight_table(w)
    blob = pack_weights(w, table)
    with pytest.raises(PackingError, match="too many codes"):
        unpack_weights(blob, b"\x11" * WEIGHT_TABLE_BYTES, 2)
    for bad in (table[:-1], table + b"\0"):
        with pytest.raises(PackingError, match="table of packed weights"):
            unpack_weights(blob, bad, 2)
    with pytest.raises(PackingError, match="lane 0"):
        unpack_weights(blob, bytes(WEIGHT_TABLE_BYTES), 2)


def test_plus_128_is_no_weight() -> None:
    w = np.array([-128], np.int8)
    table = weight_table(w)
    blob = bytearray(pack_weights(w, table))
    assert unpack_weights(bytes(blob), table, 1)[0] == -128
    blob[-2] = 0  # the sign
    with pytest.raises(PackingError, match="exceeds 127"):
        unpack_weights(bytes(blob), table, 1)


@FAST
@given(weights().filter(len), st.data())
def test_damaged_blobs_are_rejected_or_other_weights(w: np.ndarray, data: st.DataObject) -> None:
    table = weight_table(w)
    blob = bytearray(pack_weights(w, table))
    for bad in (blob[:-1], blob + b"\0"):
        with pytest.raises(PackingError):
            unpack_weights(bytes(bad), table, w.size)
    bit = data.draw(st.integers(0, 8 * len(blob) - 1))
    blob[bit // 8] ^= 1 << bit % 8
    with contextlib.suppress(PackingError):
        found = unpack_weights(bytes(blob), table, w.size)
        assert found.dtype == np.int8 and found.shape == w.shape


@given(st.binary(max_size=60), st.binary(min_size=64, max_size=64), st.integers(0, 50))
def test_garbage(blob: bytes, table: bytes, n: int) -> None:
    with contextlib.suppress(PackingError):
        unpack_weights(blob, table, n)
