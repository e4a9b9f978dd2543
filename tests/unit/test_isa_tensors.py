"""Activation tensors in DRAM against a byte-by-byte model."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isa.formats import TensorFormat
from isa.layout import TensorLayout, align
from isa.tensors import pack_tensor, unpack_tensor


def sparse(shape: tuple[int, ...], density: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.where(rng.random(shape) < density, rng.integers(1, 256, shape), 0).astype(np.uint8)


def line_by_hand(positions: list[np.ndarray], size: int) -> bytes:
    """All bitmaps, then all non-zeros, of the slots of a line."""
    bitmaps, values = b"", b""
    for slot in positions:
        bits = 0
        for i, value in enumerate(slot):
            if value:
                bits |= 1 << i
                values += bytes([value])
        bitmaps += bits.to_bytes(-(-len(slot) // 8), "little")
    return (bitmaps + values).ljust(size, b"\0")


shapes = st.tuples(st.integers(1, 5), st.integers(1, 9), st.integers(1, 40))


@given(shapes, st.sampled_from([8, 16, 64]), st.integers(1, 12), st.floats(0, 1), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_bitmap_tensor(shape: tuple[int, int, int], chunk: int, segment: int, density: float, seed: int) -> None:
    h, w, c = shape
    x = sparse(shape, density, seed)
    layout = TensorLayout(h, w, c, TensorFormat.BITMAP, segment, chunk)
    data = pack_tensor(x, layout)
    assert data.size == layout.nbytes
    slot = layout.records.slot
    padded = np.zeros((h, w, layout.records.chunks * slot), np.uint8)
    padded[:, :, :c] = x
    for y in range(h):
        for k in range(layout.records.chunks):
            for s in range(layout.segments):
                positions = [
                    padded[y, p, k * slot : (k + 1) * slot] for p in range(s * segment, min(w, (s + 1) * segment))
                ]
                at = layout.line_offset(y, k, s)
                want = line_by_hand(positions, layout.line_bytes)
                assert data[at : at + layout.line_bytes].tobytes() == want
    np.testing.assert_array_equal(unpack_tensor(data, layout), x)


def test_raw_tensor() -> None:
    x = sparse((3, 5, 7), 0.5, 0)
    layout = TensorLayout(3, 5, 7, TensorFormat.RAW, 0, 64)
    data = pack_tensor(x, layout)
    assert data.size == layout.nbytes == align(105)
    assert data[:105].tobytes() == x.tobytes()
    np.testing.assert_array_equal(unpack_tensor(data, layout), x)


@pytest.mark.parametrize("chunk", [8, 64])
def test_undefined_bytes_are_not_read(chunk: int) -> None:
    x = sparse((2, 6, 24), 0.4, 1)
    layout = TensorLayout(2, 6, 24, TensorFormat.BITMAP, 4, chunk)
    zero, ones = pack_tensor(x, layout), np.full(layout.nbytes, 255, np.uint8)
    lines = zero.reshape(-1, layout.line_bytes)
    other = ones.reshape(-1, layout.line_bytes)
    for i, line in enumerate(lines):
        positions = 4 if i % layout.segments == 0 else 2
        bitmaps = positions * layout.records.bitmap_bytes
        used = bitmaps + int(np.unpackbits(line[:bitmaps]).sum())
        other[i, :used] = line[:used]
    np.testing.assert_array_equal(unpack_tensor(ones, layout), x)
