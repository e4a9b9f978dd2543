"""Packed signs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from escc.report import entropy_bytes
from isa.errors import UserError
from isa.formats import SignFormat
from isa.packing import MAX_SIGNS, PackingError, best, pack, unpack

FORMATS = list(SignFormat)


def ternary(shape: tuple[int, ...], density: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    marks = rng.random(shape) < density
    return np.where(marks, rng.choice(np.array([-1, 1], np.int8), shape), 0).astype(np.int8)


@pytest.mark.parametrize("coding", FORMATS)
@pytest.mark.parametrize("density", [0.0, 0.001, 0.02, 0.3, 0.5, 0.7, 0.99, 1.0])
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 7), (16, 9, 16), (8, 18, 67)])
def test_round_trip(coding: SignFormat, density: float, shape: tuple[int, int, int]) -> None:
    t = ternary(shape, density)
    back = unpack(pack(t, coding), coding, t.size)
    assert back.dtype == np.int8
    np.testing.assert_array_equal(back, t.reshape(-1))


@given(
    st.sampled_from(FORMATS),
    st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 70)),
    st.floats(0, 1),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=200, deadline=None)
def test_round_trip_of_any_shape(coding: SignFormat, shape: tuple[int, int, int], density: float, seed: int) -> None:
    t = ternary(shape, density, seed)
    np.testing.assert_array_equal(unpack(pack(t, coding), coding, t.size), t.reshape(-1))


@given(st.sampled_from(FORMATS), st.lists(st.integers(0, 300), max_size=12))
@settings(max_examples=150, deadline=None)
def test_round_trip_of_any_gaps(coding: SignFormat, gaps: list[int]) -> None:
    t = np.array([x for gap in gaps for x in [0] * gap + [1]], np.int8)
    np.testing.assert_array_equal(unpack(pack(t, coding), coding, t.size), t)


def test_flat_is_bitmap_then_signs() -> None:
    t = np.array([[[1, 0, 0, -1, 0, 0, 0, 0, -1]]], np.int8)
    assert pack(t, SignFormat.FLAT) == bytes([0b0000_1001, 0b1, 0b110])


def test_two_level_by_hand() -> None:
    t = np.zeros((1, 1, 64), np.int8)
    t[0, 0, 33] = -1
    t[0, 0, 34] = 1
    assert pack(t, SignFormat.TWO_LEVEL) == bytes([3, 0b1_0000, 0b110, 0b01])


def test_delta_by_hand() -> None:
    t = np.zeros((1, 1, 20), np.int8)
    t[0, 0, [4, 12, 14]] = 1, -1, 1  # gaps 4, 7, 1
    data = bytes([2 * 5, 3, 1])
    # m = 5: two-bit prefixes, cut 3; remainders 4, 2, 1 -> prefixes 3 (extra 1), 2, 1; quotients 0, 1, 0.
    data += bytes([0b01_10_11, 0b010, 0b1101, 0b1])
    np.testing.assert_array_equal(unpack(data, SignFormat.DELTA, 20), t.reshape(-1))


@pytest.mark.parametrize("density", [0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8])
@pytest.mark.parametrize("shape", [(128, 9, 64), (64, 18, 256)])
def test_smallest_packing_is_near_the_entropy(density: float, shape: tuple[int, int, int]) -> None:
    t = ternary(shape, density)
    _, data = best(t)
    bound = entropy_bytes(t)
    assert bound > 1024
    assert bound <= len(data) < 1.04 * bound


def test_two_level_wins_on_clusters() -> None:
    t = ternary((64, 9, 64), 0.5)
    t[ternary((64, 9), 0.9, 1) != 0] = 0
    assert best(t)[0] is SignFormat.TWO_LEVEL


def test_best_is_the_smallest() -> None:
    for density in (0.0, 0.05, 0.3, 0.5, 1.0):
        t = ternary((8, 9, 16), density)
        coding, data = best(t)
        assert data == pack(t, coding)
        assert len(data) == min(len(pack(t, f)) for f in FORMATS)


def test_entropy() -> None:
    assert entropy_bytes(np.zeros((2, 3, 4), np.int8)) == 0
    assert entropy_bytes(np.zeros((0, 3, 4), np.int8)) == 0
    assert 8 * entropy_bytes(np.array([-1, 0, 1], np.int8)) == pytest.approx(3 * np.log2(3))


@pytest.mark.parametrize("value", [2, -2, 127, -128])
def test_only_signs_are_packed(value: int) -> None:
    with pytest.raises(ValueError, match="numbers must be -1, 0 or 1"):
        best(np.full(3, value, np.int8))


@pytest.mark.parametrize("coding", FORMATS)
def test_every_truncation_and_extension_is_rejected(coding: SignFormat) -> None:
    data = pack(ternary((4, 3, 17), 0.3), coding)
    for size in range(len(data)):
        with pytest.raises(PackingError):
            unpack(data[:size], coding, 204)
    with pytest.raises(PackingError):
        unpack(data + b"\0", coding, 204)


@pytest.mark.parametrize("coding", FORMATS)
def test_every_flipped_bit_is_rejected_or_decodes(coding: SignFormat) -> None:
    data = pack(ternary((4, 3, 17), 0.3), coding)
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            t = unpack(bytes(damaged), coding, 204)
        except UserError:
            continue
        assert t.shape == (204,)
        assert np.isin(t, (-1, 0, 1)).all()


@given(st.sampled_from(FORMATS), st.binary(max_size=200), st.integers(0, 1 << 48))
@settings(max_examples=300, deadline=None)
def test_garbage_is_rejected_or_decodes(coding: SignFormat, data: bytes, n: int) -> None:
    for count in (n, n % 3000):
        if count > MAX_SIGNS or count < 1 << 20:
            try:
                unpack(data, coding, count)
            except UserError:
                continue


@pytest.mark.parametrize("density", [0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9])
def test_size_is_within_ten_percent_of_the_entropy(density: float) -> None:
    random = np.random.default_rng(0)
    t = random.choice([-1, 0, 1], (64, 10, 64), p=[density / 2, 1 - density, density / 2]).astype(np.int8)
    p = np.count_nonzero(t) / t.size
    bound = t.size * (p - p * np.log2(p) - (1 - p) * np.log2(1 - p)) / 8
    assert len(best(t)[1]) < 1.04 * bound
