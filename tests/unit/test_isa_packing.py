"""Packed coefficients: ternary, and of magnitudes to 4."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from escc.report import entropy_bytes
from isa.errors import UserError
from isa.formats import CoefficientFormat
from isa.levels import magnitudes
from isa.packing import MAX_COEFFICIENTS, TERNARY_FORMATS, PackingError, best, pack, packed_level, packed_size, unpack

FORMATS = list(TERNARY_FORMATS)
LEVELS = CoefficientFormat.LEVELS


def ternary(shape: tuple[int, ...], density: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    marks = rng.random(shape) < density
    return np.where(marks, rng.choice(np.array([-1, 1], np.int8), shape), 0).astype(np.int8)


def leveled(shape: tuple[int, ...], density: float, level: int, seed: int = 0) -> np.ndarray:
    """As `ternary`, with magnitudes that get rarer; at least one coefficient is of the greatest."""
    rng = np.random.default_rng(seed + 1)
    sizes = rng.choice(np.array([*magnitudes(level), 1], np.int8), shape)
    t = ternary(shape, density, seed) * sizes
    t.reshape(-1)[rng.integers(t.size)] = -level
    return t


@pytest.mark.parametrize("coding", FORMATS)
@pytest.mark.parametrize("density", [0.0, 0.001, 0.02, 0.3, 0.5, 0.7, 0.99, 1.0])
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 7), (16, 9, 16), (8, 18, 67)])
def test_round_trip(coding: CoefficientFormat, density: float, shape: tuple[int, int, int]) -> None:
    t = ternary(shape, density)
    back = unpack(pack(t, coding), coding, *shape)
    assert back.dtype == np.int8
    np.testing.assert_array_equal(back, t)


@given(
    st.sampled_from(FORMATS),
    st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 70)),
    st.floats(0, 1),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=200, deadline=None)
def test_round_trip_of_any_shape(
    coding: CoefficientFormat, shape: tuple[int, int, int], density: float, seed: int
) -> None:
    t = ternary(shape, density, seed)
    np.testing.assert_array_equal(unpack(pack(t, coding), coding, *shape), t)


@given(st.sampled_from(FORMATS), st.lists(st.integers(0, 300), max_size=12))
@settings(max_examples=150, deadline=None)
def test_round_trip_of_any_gaps(coding: CoefficientFormat, gaps: list[int]) -> None:
    t = np.array([x for gap in gaps for x in [0] * gap + [1]], np.int8).reshape(1, 1, -1)
    np.testing.assert_array_equal(unpack(pack(t, coding), coding, *t.shape), t)


def test_flat_is_bitmap_then_signs() -> None:
    t = np.array([[[1, 0, 0, -1, 0, 0, 0, 0, -1]]], np.int8)
    assert pack(t, CoefficientFormat.FLAT) == bytes([0b0000_1001, 0b1, 0b110])


def test_two_level_by_hand() -> None:
    t = np.zeros((1, 1, 64), np.int8)
    t[0, 0, 33] = -1
    t[0, 0, 34] = 1
    assert pack(t, CoefficientFormat.TWO_LEVEL) == bytes([3, 0b1_0000, 0b110, 0b01])


def test_delta_by_hand() -> None:
    t = np.zeros((1, 1, 20), np.int8)
    t[0, 0, [4, 12, 14]] = 1, -1, 1  # gaps 4, 7, 1
    data = bytes([2 * 5, 3, 1])
    # m = 5: two-bit prefixes, cut 3; remainders 4, 2, 1 -> prefixes 3 (extra 1), 2, 1; quotients 0, 1, 0.
    data += bytes([0b01_10_11, 0b010, 0b1101, 0b1])
    np.testing.assert_array_equal(unpack(data, CoefficientFormat.DELTA, 1, 1, 20), t)


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
    assert best(t)[0] is CoefficientFormat.TWO_LEVEL


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


def test_formats_hold_their_own_magnitudes_only() -> None:
    for coding in FORMATS:
        with pytest.raises(ValueError, match=f"{coding.name} does not hold coefficients of magnitudes"):
            pack(np.full((1, 1, 1), 2, np.int8), coding)
    with pytest.raises(ValueError, match="LEVELS does not hold"):
        pack(ternary((2, 3, 4), 0.5), LEVELS)
    for value in (3, -3, 5, 127, -128):
        with pytest.raises(ValueError, match="of magnitude 1, 2 or 4"):
            best(np.full((1, 1, 1), value, np.int8))


@given(
    st.sampled_from([2, 4]),
    st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 70)),
    st.floats(0, 1),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=200, deadline=None)
def test_round_trip_of_levels(level: int, shape: tuple[int, int, int], density: float, seed: int) -> None:
    t = leveled(shape, density, level, seed)
    coding, data = best(t)
    assert coding is LEVELS and data == pack(t, LEVELS) and len(data) == packed_size(t)
    assert packed_level(data, coding) == level
    back = unpack(data, LEVELS, *shape)
    assert back.dtype == np.int8
    np.testing.assert_array_equal(back, t)


def test_levels_by_hand() -> None:
    t = np.array([[[1, 0, 0, -2, 0, 0, 0, 0, 1]]], np.int8)
    # FLAT, a bit for each magnitude; the bitmap; sign and magnitude in turn: +1 is 00, -2 is 11.
    assert pack(t, LEVELS) == bytes([0b00_00, 0b0000_1001, 0b1, 0b00_11_00])
    t[0, 0, 8] = -4
    # Each magnitude occurs once, so that 1 has the short code: +1 is 00, -2 is 110, -4 is 111.
    assert pack(t, LEVELS) == bytes([0b01_00, 0b0000_1001, 0b1, 0b111_011_00 & 255])


@pytest.mark.parametrize("level, shares", [(2, [0.7, 0.3]), (2, [0.5, 0.5]), (4, [0.5, 0.4, 0.1])])
@pytest.mark.parametrize("density", [0.05, 0.2, 0.5])
def test_levels_are_packed_near_the_entropy(density: float, level: int, shares: list[float]) -> None:
    shape = (64, 6, 64)
    sizes = np.random.default_rng(3).choice(np.array(magnitudes(level), np.int8), shape, p=shares)
    t = ternary(shape, density) * sizes
    assert len(best(t)[1]) < 1.06 * entropy_bytes(t)


@pytest.mark.parametrize("common", [1, 2, 4])
def test_the_most_frequent_magnitude_has_the_short_code(common: int) -> None:
    t = np.full((1, 1, 100), common, np.int8)
    t[0, 0, :3] = 1, -2, 4
    # The smallest format is DELTA, of no zeros: four numbers, then two bits for most coefficients.
    assert len(pack(t, LEVELS)) == packed_size(t) == 1 + 4 + (2 * 98 + 3 * 2 + 7) // 8
    np.testing.assert_array_equal(unpack(pack(t, LEVELS), LEVELS, 1, 1, 100), t)


def test_what_no_packer_writes_is_rejected() -> None:
    def unpacked(*data: int) -> np.ndarray:
        return unpack(bytes(data), LEVELS, 1, 1, 3)

    good = (0b00_00, 0b101, 0b01_10)
    np.testing.assert_array_equal(unpacked(*good), [[[2, 0, -1]]])
    for head in (0b00_11, 0b1_00_00, 0b1111_1111):
        with pytest.raises(PackingError, match=r"format \d with code \d+ of the magnitudes is undefined"):
            unpacked(head, *good[1:])
    with pytest.raises(PackingError, match="no coefficient is of magnitude 2, which code 0 is for"):
        unpacked(*good[:2], 0b01_00)
    with pytest.raises(PackingError, match="no coefficient is of magnitude 4, which code 1 is for"):
        unpacked(0b01_00, *good[1:2], 0b00_00)
    with pytest.raises(PackingError, match="does not hold those of all marks"):
        unpacked(0b01_00, 0b111, 0b11_111_111)
    with pytest.raises(PackingError, match="bits are set after the end of a stream"):
        unpacked(*good[:2], 0b1_01_10)


@pytest.mark.parametrize("coding", FORMATS)
def test_every_truncation_and_extension_is_rejected(coding: CoefficientFormat) -> None:
    data = pack(ternary((4, 3, 17), 0.3), coding)
    for size in range(len(data)):
        with pytest.raises(PackingError):
            unpack(data[:size], coding, 4, 3, 17)
    with pytest.raises(PackingError):
        unpack(data + b"\0", coding, 4, 3, 17)


@pytest.mark.parametrize("coding", FORMATS)
def test_every_flipped_bit_is_rejected_or_decodes(coding: CoefficientFormat) -> None:
    data = pack(ternary((4, 3, 17), 0.3), coding)
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            t = unpack(bytes(damaged), coding, 4, 3, 17)
        except UserError:
            continue
        assert t.shape == (4, 3, 17)
        assert np.isin(t, (-1, 0, 1)).all()


@pytest.mark.parametrize("level", [2, 4])
def test_damaged_levels_are_rejected_or_decode(level: int) -> None:
    shape = (4, 3, 17)
    data = pack(leveled(shape, 0.3, level), LEVELS)
    for wrong in (*(data[:size] for size in range(len(data))), data + b"\0"):
        with pytest.raises(PackingError, match=r"packed coefficients \(LEVELS\): "):
            unpack(wrong, LEVELS, *shape)
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            t = unpack(bytes(damaged), LEVELS, *shape)
        except UserError:
            continue
        assert t.shape == shape and np.isin(np.abs(t), (0, 1, 2, 4)).all()


@given(
    st.sampled_from(list(CoefficientFormat)),
    st.binary(max_size=200),
    st.tuples(st.integers(0, 65535), st.integers(0, 65535), st.integers(0, 65535)),
)
@settings(max_examples=300, deadline=None)
def test_garbage_is_rejected_or_decodes(coding: CoefficientFormat, data: bytes, shape: tuple[int, int, int]) -> None:
    small = (shape[0] % 9, shape[1] % 9, shape[2] % 40)
    for k, v, c in (shape, small):
        if k * v * c > MAX_COEFFICIENTS or k * v * c < 1 << 20:
            try:
                unpack(data, coding, k, v, c)
            except UserError:
                continue


@pytest.mark.parametrize("density", [0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9])
def test_size_is_within_ten_percent_of_the_entropy(density: float) -> None:
    random = np.random.default_rng(0)
    t = random.choice([-1, 0, 1], (64, 10, 64), p=[density / 2, 1 - density, density / 2]).astype(np.int8)
    p = np.count_nonzero(t) / t.size
    bound = t.size * (p - p * np.log2(p) - (1 - p) * np.log2(1 - p)) / 8
    assert len(best(t)[1]) < 1.04 * bound
