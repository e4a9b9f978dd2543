"""Streams of coefficients: what is packed comes back, costs little more than its entropy, and damage is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from escc.report import entropy_bytes
from isa.bitstream import PackingError
from isa.coefficients import (
    MAX_COEFFICIENTS,
    StreamCode,
    measure_streams,
    pack_streams,
    stream_bits,
    stream_bytes,
    stream_code,
    unpack_streams,
)
from isa.errors import UserError
from isa.levels import LEVELS, magnitudes
from isa.streamloops import gap_bits

Array = np.ndarray[Any, np.dtype[Any]]
Shape = tuple[int, int, int]


def coefficients(shape: Shape, density: float, level: int = 1, seed: int = 0) -> Array:
    """Coefficients of which about so many are not zero and some are of magnitude `level`."""
    rng = np.random.default_rng(seed)
    sizes = rng.choice(np.array([*magnitudes(level), 1], np.int8), shape)
    t = np.where(rng.random(shape) < density, rng.choice(np.array([-1, 1], np.int8), shape), 0).astype(np.int8) * sizes
    if t.size and level > 1:
        t.reshape(-1)[rng.integers(t.size)] = -level
    return t


def in_bytes(bits: str) -> list[int]:
    return [int(bits[i : i + 8][::-1], 2) for i in range(0, len(bits), 8)]


@settings(max_examples=200, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 70)),
    density=st.floats(0, 1),
    level=st.sampled_from(LEVELS),
    seed=st.integers(0, 2**32 - 1),
)
def test_round_trip_of_a_layer_and_of_its_parts(shape: Shape, density: float, level: int, seed: int) -> None:
    t = coefficients(shape, density, level, seed)
    code = stream_code(t)
    assert 1 << code.level == level and StreamCode.of(code.coding) == code
    bits, data = stream_bits(t), pack_streams(t, code)
    assert len(data) == stream_bytes(bits)
    np.testing.assert_array_equal(measure_streams(data, code, shape), bits)
    found = unpack_streams(data, 0, code, shape)
    assert found.t.dtype == np.int8
    np.testing.assert_array_equal(found.t, t)
    np.testing.assert_array_equal(found.sizes, bits)
    for k in range(shape[0]):
        first, end = int(bits[:k].sum()), int(bits[: k + 1].sum())
        own = data[first // 8 : -(-end // 8)]
        np.testing.assert_array_equal(unpack_streams(own, first % 8, code, (1, *shape[1:])).t, t[k : k + 1])


def test_streams_by_hand() -> None:
    t = np.zeros((3, 1, 20), np.int8)
    t[0, 0, [4, 12, 14]] = 1, -1, 1
    # Counts 3, 0 and 1 with one low bit. Three marks among 20 leave two low bits to the gaps 4, 7 and 1:
    # 8 * 4 * 9 is at most 15 * 20, and 8 * 4 * 17 is not. One mark leaves three: 8 * 2 * 17 is, 8 * 2 * 33 is not.
    t[2, 0, 9] = -1
    first = "011" + "001110" + "010" + "01" + "01" + "1"
    second, third = "10", "11" + "100" + "1" + "01"
    code = StreamCode(1, 0, 0)
    assert list(pack_streams(t, code)) == in_bytes(first + second + third)
    assert stream_bits(t, code).tolist() == [len(first), len(second), len(third)]


def test_magnitudes_by_hand() -> None:
    t = np.array([[[1, -2, 4, 4, 0]]], np.int8)
    # Four of five are not zero: the mark is the zero, its gap is 4. The magnitude 4 has the short code, then 1, then 2.
    bits = "00001" + "0100" + "1100" + "01" + "00001"
    code = StreamCode(0, 2, 2)
    assert stream_code(t)[1:] == code[1:]
    assert list(pack_streams(t, code)) == in_bytes(bits)
    assert stream_bits(t, code).tolist() == [len(bits)]


def test_a_channel_without_coefficients_takes_its_count_only() -> None:
    t = np.zeros((200, 6, 64), np.int8)
    assert stream_bits(t).tolist() == [1] * 200 and len(pack_streams(t, stream_code(t))) == 25


@pytest.mark.parametrize("density", [0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9])
@pytest.mark.parametrize("shape", [(128, 9, 64), (64, 18, 256), (256, 5, 40)])
def test_streams_are_near_the_entropy(density: float, shape: Shape) -> None:
    t = coefficients(shape, density)
    assert len(pack_streams(t, stream_code(t))) < 1.07 * entropy_bytes(t)


def test_small_channels_are_near_the_entropy() -> None:
    t = coefficients((256, 20, 34), 0.01)
    assert np.count_nonzero(t, axis=(1, 2)).max() < 20
    assert len(pack_streams(t, stream_code(t))) < 1.06 * entropy_bytes(t)


@pytest.mark.parametrize(
    "level, shares", [(2, [0.7, 0.3]), (2, [0.5, 0.5]), (4, [0.5, 0.4, 0.1]), (4, [0.1, 0.2, 0.7])]
)
@pytest.mark.parametrize("density", [0.05, 0.2, 0.5])
def test_levels_are_near_the_entropy(density: float, level: int, shares: list[float]) -> None:
    shape = (64, 6, 64)
    sizes = np.random.default_rng(3).choice(np.array(magnitudes(level), np.int8), shape, p=shares)
    t = coefficients(shape, density) * sizes
    assert len(pack_streams(t, stream_code(t))) < 1.08 * entropy_bytes(t)


def test_gaps_have_no_low_bits_where_nothing_is_marked() -> None:
    assert [gap_bits(marks, 4000) for marks in range(3)] == [0, 10, 10]
    assert [gap_bits(marks, 0) for marks in range(2)] == [0, 0]


def test_streams_of_nothing() -> None:
    t = np.zeros((0, 3, 4), np.int8)
    assert pack_streams(t, stream_code(t)) == b"" and stream_bits(t).size == 0
    assert unpack_streams(b"", 0, stream_code(t), (0, 3, 4)).t.shape == (0, 3, 4)


@pytest.mark.parametrize("value", [3, -3, 5, 127, -128])
def test_other_values_have_no_code(value: int) -> None:
    with pytest.raises(ValueError, match="of magnitude 1, 2 or 4"):
        stream_code(np.full((1, 1, 1), value, np.int8))


@pytest.mark.parametrize("coding", [-1, 27, 31, 3 << 5, 1 << 7, 1 << 6 | 3 << 7, 1 << 20])
def test_undefined_codes_are_refused(coding: int) -> None:
    with pytest.raises(PackingError, match=f"code {coding} is undefined"):
        StreamCode.of(coding)


@pytest.mark.parametrize("level", LEVELS)
def test_damaged_streams_are_refused_or_decode(level: int) -> None:
    shape = (4, 3, 17)
    t = coefficients(shape, 0.3, level)
    code = stream_code(t)
    data = pack_streams(t, code)
    for size in range(len(data)):
        with pytest.raises(PackingError, match="streams of coefficients: "):
            unpack_streams(data[:size], 0, code, shape)
    with pytest.raises(PackingError, match="1 bytes follow the last one"):
        unpack_streams(data + b"\0", 0, code, shape)
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            found = unpack_streams(bytes(damaged), 0, code, shape).t
        except UserError:
            continue
        assert found.shape == shape and np.isin(np.abs(found), (0, *magnitudes(level))).all()


def test_what_is_wrong_is_named() -> None:
    code, shape = StreamCode(0, 0, 0), (1, 1, 2)
    with pytest.raises(PackingError, match="a count exceeds 2 coefficients"):
        unpack_streams(bytes([0b1000]), 0, code, shape)
    with pytest.raises(PackingError, match="a mark lies beyond the last of 2 coefficients"):
        unpack_streams(bytes([0b1_0_0_0_10]), 0, code, shape)
    with pytest.raises(PackingError, match="1 bytes are too few"):
        unpack_streams(bytes([0b10]), 0, code, shape)
    good = bytes([0b1_0_10])
    assert measure_streams(good, code, shape).tolist() == [4]
    with pytest.raises(PackingError, match="bits are set after the last one"):
        measure_streams(bytes([0b1_0000 | good[0]]), code, shape)
    with pytest.raises(PackingError, match=rf"more than {MAX_COEFFICIENTS} coefficients"):
        unpack_streams(good, 0, code, (1 << 14, 1 << 6, 1 << 7))


@settings(max_examples=300, deadline=None)
@given(
    data=st.binary(max_size=200),
    first=st.integers(0, 7),
    code=st.tuples(st.integers(0, 31), st.integers(0, 2), st.integers(0, 2)),
    shape=st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 40)),
)
def test_garbage_is_refused_or_decodes(data: bytes, first: int, code: tuple[int, int, int], shape: Shape) -> None:
    try:
        unpack_streams(data, first, StreamCode(code[0], code[1], min(code[1:])), shape)
    except UserError:
        return
