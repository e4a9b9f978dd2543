"""Weights that are 0 or a power of two with a sign, as codes of four bits: packer and unpacker."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LEVELS = 7
"""Powers that a code can name: 1, 2, 4, ... 64."""

_SIGN = 8
_POWERS = np.array([0, *(1 << p for p in range(LEVELS))], np.int8)
"""What the low three bits of a code say."""


def are_powers(weights: NDArray[np.generic]) -> bool:
    """Whether every weight has a code."""
    return bool(np.isin(np.abs(weights.astype(np.int64)), _POWERS).all())


def packed_bytes(count: int) -> int:
    """Bytes of the codes of so many weights."""
    return (count + 1) // 2


def pack(weights: NDArray[np.int8]) -> bytes:
    """Codes of int8 weights of any shape, in order, two a byte, the first one in the low half."""
    flat = weights.reshape(-1).astype(np.int64)
    codes = np.searchsorted(_POWERS, np.abs(flat)) + _SIGN * (flat < 0)
    pairs = np.append(codes, 0)[: 2 * packed_bytes(len(codes))].reshape(-1, 2).astype(np.uint8)
    return (pairs[:, 0] | pairs[:, 1] << 4).tobytes()


def unpack(data: bytes, count: int) -> NDArray[np.int8]:
    """The int8 weights of `count` codes. Raises ValueError for the code that means nothing, a negative zero."""
    packed = np.frombuffer(data, np.uint8)
    codes = np.stack([packed & 15, packed >> 4], axis=1).reshape(-1)[:count]
    if (codes == _SIGN).any():
        raise ValueError(f"code {int(np.argmax(codes == _SIGN))} is a negative zero")
    values = _POWERS[codes & (_SIGN - 1)]
    return np.where(codes & _SIGN, -values, values).astype(np.int8)
