"""Streams of bits in packed data: bit i of a stream is bit i % 8 of byte i // 8, and every stream begins on a byte."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from isa.errors import UserError


class PackingError(UserError):
    """A blob that no packer has written."""


_BYTES = tuple(bytes([value]) for value in range(128))


def number(value: int) -> bytes:
    """A number in as few bytes as it takes: 7 bits a byte, least significant first, bit 7 set in all but the last."""
    if value < 128:
        return _BYTES[value]
    found = bytearray()
    while value >= 128:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


class BitReader:
    """Takes streams off the front of a blob; `what` is how errors call it."""

    def __init__(self, data: bytes, what: str) -> None:
        self._raw = data
        self._data = np.frombuffer(data, np.uint8)
        self._at = 0
        self._what = what

    def error(self, why: str) -> PackingError:
        """An error about this blob."""
        return PackingError(f"{self._what}: {why}")

    @property
    def too_few(self) -> str:
        """What is wrong with a blob that ends too early."""
        return f"{self._data.size} bytes are too few"

    @property
    def place(self) -> int:
        """Bytes that are taken."""
        return self._at

    def follow(self, loop: Callable[[NDArray[np.uint8], int], int]) -> int:
        """Let a loop read on: it takes the blob and a place in it, and returns the place behind what it has read.

        Negative results are the loop's own way to fail; they are returned, and the reader stays where it is.
        """
        end = loop(self._data, self._at)
        if end >= 0:
            self._at = end
        return end

    def take(self, count: int) -> NDArray[np.uint8]:
        """The next `count` bytes."""
        if count > self._data.size - self._at:
            raise self.error(self.too_few)
        taken = self._data[self._at : self._at + count]
        self._at += count
        return taken

    def number(self) -> int:
        """The next number of 7 bits a byte, at most 5 bytes."""
        if self._at < len(self._raw) and self._raw[self._at] < 128:  # most have one byte
            self._at += 1
            return self._raw[self._at - 1]
        value = 0
        for shift in range(0, 35, 7):
            if self._at == len(self._raw):
                raise self.error(self.too_few)
            byte = self._raw[self._at]
            self._at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                if byte == 0 and shift:
                    raise self.error("a number takes more bytes than it needs")
                return value
        raise self.error("a number has more than 35 bits")

    def numbers(self, count: int) -> NDArray[np.int64]:
        """The next `count` numbers: int64 [count]."""
        given = self._raw[self._at : self._at + count]
        if len(given) == count and given.isascii():  # a byte each
            self._at += count
            return np.frombuffer(given, np.uint8).astype(np.int64)
        return np.array([self.number() for _ in range(count)], np.int64)

    def finish(self) -> None:
        """Raise PackingError unless everything is taken."""
        if self._at != self._data.size:
            raise self.error(f"{self._data.size - self._at} bytes follow the last stream")
