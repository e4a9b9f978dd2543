"""Blocks as they lie in the scratchpads: packer and unpacker side by side.

The requantisation block of PAR stands in `isa.parameters`, beside the form in which it is packed. Everything is
little-endian and without gaps.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from isa.errors import UserError
from isa.layout import ADD_BLOCK_BYTES, RecordLayout
from isa.levels import greatest_level

Bytes = NDArray[np.uint8]

_ADDITION = np.dtype([("ma", "<i4"), ("mb", "<i4"), ("lo", "<i2"), ("hi", "<i2"), ("shift", "u1")])
assert _ADDITION.itemsize == ADD_BLOCK_BYTES


class AdditionBlock(NamedTuple):
    """Parameters of clamp((a*ma + b*mb + 2^(shift-1)) >> shift, lo, hi)."""

    ma: int
    mb: int
    lo: int
    hi: int
    shift: int


def pack_addition(block: AdditionBlock) -> bytes:
    """The bytes of PAR. Raises OverflowError if a number does not fit its field."""
    return np.array([tuple(block)], _ADDITION).tobytes()


def unpack_addition(data: Bytes) -> AdditionBlock:
    """The parameters in `ADD_BLOCK_BYTES` bytes of PAR."""
    return AdditionBlock(*np.frombuffer(data.tobytes(), _ADDITION)[0].tolist())


def unpack_multipliers(data: Bytes) -> NDArray[np.int64]:
    """The multipliers of an average, from their bytes in PAR."""
    return np.frombuffer(data.tobytes(), "<i4").astype(np.int64)


def pack_coefficients(t: NDArray[np.int8], chunk: int) -> Bytes:
    """The bytes of COEF of ternary coefficients [kn, v, c]: [kn][v][chunk] of (bitmap, sign bitmap), bit 1 for -1.

    Raises UserError if one of them is beyond -1 and 1.
    """
    kn, v, c = t.shape
    if (level := greatest_level(t)) > 1:
        raise UserError(f"packed coefficients: COEF holds -1, 0 and 1, found one of magnitude {level}")
    records = RecordLayout(c, chunk)
    padded = np.zeros((kn, v, records.chunks * records.slot), np.int8)
    padded[:, :, :c] = t
    lanes = padded.reshape(kn, v, records.chunks, 1, records.slot)
    bits = np.concatenate([lanes != 0, lanes < 0], axis=3)
    return np.packbits(bits, axis=4, bitorder="little").reshape(-1)


def unpack_coefficients(coef: Bytes, kn: int, v: int, c: int, chunk: int) -> NDArray[np.int8]:
    """Ternary coefficients [kn, v, c] from their bytes in COEF."""
    records = RecordLayout(c, chunk)
    bits = np.unpackbits(coef.reshape(kn, v, records.chunks, 2, records.bitmap_bytes), axis=4, bitorder="little")
    some = bits[:, :, :, 0, : records.slot].view(np.int8)
    minus = bits[:, :, :, 1, : records.slot].view(np.int8)
    return (some - 2 * minus).reshape(kn, v, -1)[:, :, :c]


def bitmaps(data: Bytes) -> NDArray[np.uint64]:
    """uint64 [...] of little-endian bitmaps [..., bytes] of at most 64 bits."""
    wide = np.zeros((*data.shape[:-1], 8), np.uint8)
    wide[..., : data.shape[-1]] = data
    return wide.view("<u8")[..., 0]


def coefficient_bitmaps(coef: Bytes, kn: int, v: int, c: int, chunk: int) -> NDArray[np.uint64]:
    """Bitmaps [kn, v, chunks] of the non-zero coefficients, from their bytes in COEF."""
    records = RecordLayout(c, chunk)
    return bitmaps(coef.reshape(kn, v, records.chunks, 2, records.bitmap_bytes)[:, :, :, 0])


def tile_bitmaps(tile: Bytes, chunk: int) -> NDArray[np.uint64]:
    """Bitmaps [positions, chunks] of the non-zero values of a tile [h, w, c] of plain bytes."""
    h, w, c = tile.shape
    chunks = RecordLayout(c, chunk).chunks
    marks = np.zeros((h * w, chunks * chunk), bool)
    marks[:, :c] = (tile != 0).reshape(h * w, c)
    return bitmaps(np.packbits(marks.reshape(h * w, chunks, chunk), axis=2, bitorder="little"))
