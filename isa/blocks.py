"""Blocks as they lie in the scratchpads: packer and unpacker side by side.

The requantisation block of PAR stands in `isa.parameters`, beside the form in which it is packed. Everything is
little-endian and without gaps.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from isa.layout import ADD_BLOCK_BYTES, RecordLayout

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


def bitmaps(data: Bytes) -> NDArray[np.uint64]:
    """uint64 [...] of little-endian bitmaps [..., bytes] of at most 64 bits."""
    wide = np.zeros((*data.shape[:-1], 8), np.uint8)
    wide[..., : data.shape[-1]] = data
    return wide.view("<u8")[..., 0]


def coefficient_bitmaps(t: NDArray[np.int8], chunk: int) -> NDArray[np.uint64]:
    """Bitmaps [kn, v, chunks] of the non-zero coefficients among coefficients int8 [kn, v, c]."""
    kn, v, c = t.shape
    records = RecordLayout(c, chunk)
    padded = np.zeros((kn, v, records.chunks * records.slot), np.bool_)
    padded[:, :, :c] = t != 0
    lanes = padded.reshape(kn, v, records.chunks, records.slot)
    return bitmaps(np.packbits(lanes, axis=3, bitorder="little"))
