"""Packed requantisation parameters: round trips, sizes, and blobs that no packer writes."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isa.bitstream import BitReader, PackingError, number
from isa.parameters import pack_parameters, plain_blocks, unpack_parameters

FAST = settings(max_examples=400, deadline=None)


@st.composite
def parameters(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Anything that a requantisation may have, from arbitrary to what the compiler makes."""
    n = draw(st.integers(1, 40))
    random = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    low, high = sorted(draw(st.tuples(st.integers(1, 62), st.integers(1, 62))))
    shift = random.integers(low, high + 1, n)
    bits = draw(st.integers(0, 31))
    mult = random.integers(0, (1 << bits) or 1, n, endpoint=bits < 31)
    if draw(st.booleans()):
        mult = mult | 1 << 30
    mult = mult & -(1 << draw(st.integers(0, 30)))
    size = draw(st.integers(0, 31))
    bias = random.integers(-(1 << size), 1 << size, n)
    if draw(st.booleans()):
        up = np.maximum(0, shift - draw(st.integers(0, 62)))
        bias = np.where(up < 31, bias >> np.minimum(up, 31) << np.minimum(up, 31), 0)
    if draw(st.booleans()):
        mult, shift = np.full(n, mult[0]), np.full(n, shift[0])
    return bias.astype(np.int32), mult.astype(np.int32), shift.astype(np.uint8)


@FAST
@given(parameters())
def test_round_trip(values: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    data = pack_parameters(*values)
    n = len(values[0])
    found = unpack_parameters(data, n)
    for a, b in zip(values, found, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype
    assert len(data) <= 4 + sum(-(-bits * n // 8) for bits in (32, 31, 6))
    assert len(plain_blocks(*found, 7)) == 9 * n


@pytest.mark.parametrize(
    ("bias", "mult", "shift"),
    [
        ([-(1 << 31), (1 << 31) - 1], [0, (1 << 31) - 1], [1, 62]),
        ([0], [0], [1]),
        ([0, 0, 0], [1 << 30] * 3, [40] * 3),
        ([1, 0], [1 << 29, 1 << 29], [5, 6]),
        ([1 << 30, -(1 << 31)], [1 << 30, 1 << 29], [62, 62]),
        ([5, -5], [(1 << 30) - 1, 1], [3, 3]),
    ],
)
def test_extremes(bias: list[int], mult: list[int], shift: list[int]) -> None:
    data = pack_parameters(np.array(bias), np.array(mult), np.array(shift))
    assert [a.tolist() for a in unpack_parameters(data, len(bias))] == [bias, mult, shift]


def test_sizes() -> None:
    n = 64
    random = np.random.default_rng(0)
    shift = random.integers(36, 40, n)
    mult = 1 << 30 | random.integers(0, 1 << 11, n) << 19
    bias = random.integers(-2048, 2048, n) << (shift - 35)
    assert len(pack_parameters(bias, mult, shift)) == 4 + (12 + 11 + 2) * n // 8
    assert len(pack_parameters(bias, np.full(n, mult[0]), np.full(n, 37))) <= 4 + 15 * n // 8 + 2 + 1
    assert len(pack_parameters(np.zeros(n), np.full(n, 1 << 30), np.full(n, 37))) == 4


@FAST
@given(parameters(), st.data())
def test_damaged_blobs_are_rejected_or_other_parameters(
    values: tuple[np.ndarray, np.ndarray, np.ndarray], data: st.DataObject
) -> None:
    blob, n = bytearray(pack_parameters(*values)), len(values[0])
    for bad in (blob[:-1], blob + b"\0"):
        with pytest.raises(PackingError):
            unpack_parameters(bytes(bad), n)
    bit = data.draw(st.integers(0, 8 * len(blob) - 1))
    blob[bit // 8] ^= 1 << bit % 8
    try:
        bias, mult, shift = unpack_parameters(bytes(blob), n)
    except PackingError:
        return
    assert mult.min() >= 0 and shift.min() >= 1 and shift.max() <= 62
    assert [a.tolist() for a in unpack_parameters(pack_parameters(bias, mult, shift), n)] == [
        a.tolist() for a in (bias, mult, shift)
    ]


@given(st.binary(max_size=40), st.integers(1, 20))
def test_garbage(blob: bytes, n: int) -> None:
    with contextlib.suppress(PackingError):
        unpack_parameters(blob, n)


def test_plain_blocks() -> None:
    assert plain_blocks(np.array([1, 2, 3]), np.array([4, 5, 6]), np.array([7, 8, 9]), 2) == b"".join(
        [
            np.array([1, 2, 4, 5], "<i4").tobytes() + bytes([7, 8]),
            np.array([3, 6], "<i4").tobytes() + bytes([9]),
        ]
    )


def test_what_cannot_be_packed() -> None:
    for mult, shift in ((-1, 5), (1, 0), (1, 63)):
        with pytest.raises(ValueError, match="shifts"):
            pack_parameters(np.array([0]), np.array([mult]), np.array([shift]))
    for bias, mult in ((1 << 31, 1), (-(1 << 31) - 1, 1), (0, 1 << 31)):
        with pytest.raises(ValueError, match="at most 32 bits"):
            pack_parameters(np.array([bias]), np.array([mult]), np.array([5]))
    for count in (0, 2):
        with pytest.raises(ValueError, match=f"{count} biases, {count} multipliers, 1 shifts"):
            pack_parameters(np.zeros(count), np.zeros(count), np.ones(1))


@pytest.mark.parametrize(
    ("header", "data", "why"),
    [
        ((1, 0, 0, 1, 31, 0, 1), b"\1\1", None),
        ((1, 0, 0, 1, 32, 0, 1), b"\1\1", "a bias exceeds 32 bits"),
        ((1, 0, 0, 1, 40, 0, 1), b"\1\1", "a bias exceeds 32 bits"),
        ((1, 0, 0, 1, 0, 0, 1), b"\1\1", r"a shift is not in \[1, 62\]"),
        ((1, 0, 0, 1, 63, 0, 1), b"\1\1", r"a shift is not in \[1, 62\]"),
        ((33, 0, 0, 1, 1, 0, 1), b"\1\1", "biases of 33 bits, multipliers of 1 bits and 0 zeros are undefined"),
        ((1, 0, 20, 12, 1, 0, 1), b"\1\1", "biases of 1 bits, multipliers of 12 bits and 20 zeros are undefined"),
        ((1, 0, 0, 1, 31, 0, 1), b"\3\1", "bits are set after the end of a stream"),
        ((1, 0, 0, 1, 31, 0, 1), b"\1\3", "bits are set after the end of a stream"),
        ((1, 0, 0, 1, 31, 0, 1), b"\1", "5 bytes are too few"),
        ((1, 0, 0, 1, 31, 0, 1), b"\1\1\0\0", "2 bytes follow the last stream"),
    ],
)
def test_what_is_wrong_is_said(header: tuple[int, ...], data: bytes, why: str | None) -> None:
    """A channel with the bias -1 times 2^shift, the multiplier 1 and a shift that the header gives."""
    word = sum(value << at for value, at in zip(header, (0, 6, 12, 17, 22, 28, 31), strict=True))
    blob = word.to_bytes(4, "little") + data
    if why is None:
        assert [a.tolist() for a in unpack_parameters(blob, 1)] == [[-(1 << 31)], [1], [header[4]]]
        return
    with pytest.raises(PackingError, match=f"packed parameters: {why}"):
        unpack_parameters(blob, 1)


@given(st.integers(0, (1 << 35) - 1))
def test_numbers(value: int) -> None:
    data = number(value)
    reader = BitReader(data, "x")
    assert reader.number() == value
    reader.finish()
    assert len(data) == max(1, -(-value.bit_length() // 7))


@pytest.mark.parametrize("data", [b"", b"\x80", b"\x80\x00", b"\xff\xff\xff\xff\xff\x01"])
def test_numbers_that_nobody_writes(data: bytes) -> None:
    with pytest.raises(PackingError):
        BitReader(data, "x").number()
