"""Which bytes an instruction touches: exactly, and as the bounding boxes that hazards are judged by."""

from __future__ import annotations

from typing import NamedTuple

from isa.formats import Space
from isa.integers import Number


class Extent(NamedTuple):
    """Bytes base + i*outer_stride + j*inner_stride + [0, run) of a memory, i < outer, j < inner; none if outer is 0."""

    space: Space
    write: bool
    base: Number
    outer: Number
    outer_stride: Number
    inner: Number
    inner_stride: Number
    run: Number

    @property
    def end(self) -> Number:
        """The address after the last byte."""
        return self.base + (self.outer - 1) * self.outer_stride + (self.inner - 1) * self.inner_stride + self.run


def linear(space: Space, write: bool, base: Number, size: Number, when: Number = True) -> Extent:
    """`size` bytes from `base` on, where `when`."""
    return Extent(space, write, base, when * 1, 0, 1, 0, size)


def reads(space: Space, base: Number, size: Number, when: Number = True) -> Extent:
    """Bytes that are read in one piece."""
    return linear(space, False, base, size, when)


def writes(space: Space, base: Number, size: Number, when: Number = True) -> Extent:
    """Bytes that are written in one piece."""
    return linear(space, True, base, size, when)
