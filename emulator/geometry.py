"""Geometry of tiles and regions as compiled kernels take it: named tuples of the fields of instructions."""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from isa.integers import Values
from isa.jit import woven

Longs = NDArray[np.int64]


class Window(NamedTuple):
    """Windows that slide over a tile: fields of the instruction of the same names."""

    ih: int
    iw: int
    ic: int
    r: int
    s: int
    sy: int
    sx: int
    pt: int
    pl: int
    oh: int
    ow: int

    @property
    def pointwise(self) -> bool:
        """The patches are the tile itself."""
        return self[3:] == (1, 1, 1, 1, 0, 0, self.ih, self.iw)


class TilePlace(NamedTuple):
    """Where a tile of plain bytes lies in ACT: its first byte, rows, columns, channels, strides in bytes."""

    at: int
    h: int
    w: int
    channels: int
    row_stride: int
    position_stride: int


class Region(NamedTuple):
    """A region of a tensor in the arena: the byte where the tensor begins, and fields of the instruction."""

    tensor: int
    tensor_w: int
    tensor_c: int
    segment: int
    y: int
    x: int
    c: int
    h: int
    w: int
    cn: int


_window_fields = cast(Callable[[Values], tuple[int, ...]], itemgetter(*Window._fields))
_region_fields = cast(Callable[[Values], tuple[int, ...]], itemgetter(*Region._fields[1:]))


def window_of(v: Values) -> Window:
    """The windows of an instruction."""
    return Window(*_window_fields(v))


def tile_of(v: Values, name: str, h: str = "oh", w: str = "ow", channels: str = "kn") -> TilePlace:
    """The tile that the fields `isa.field_groups.place(name)` place; the fields named hold its extents."""
    stride = v[f"{name}_c"]
    return TilePlace(v[name], v[h], v[w], v[channels], v[f"{name}_w"] * stride, stride)


def act_tile_of(v: Values) -> TilePlace:
    """The input tile of an instruction with the fields `isa.field_groups.ACT_TILE`."""
    return tile_of(v, "act", "ih", "iw", "ic")


def view(memory: NDArray[np.uint8], tile: TilePlace) -> NDArray[np.uint8]:
    """A tile [N, h, w, channels] of a memory [N, bytes], which it shares."""
    strides = (memory.strides[0], tile.row_stride, tile.position_stride, 1)
    return np.ndarray((len(memory), tile.h, tile.w, tile.channels), np.uint8, memory, tile.at, strides)


BEHIND_WINDOW = len(Window._fields)
"""Index of the first number that `packed` puts behind a `Window`."""
BEHIND_TILE = len(TilePlace._fields)
"""Index of the first number that `packed` puts behind a `TilePlace`."""
BEHIND_REGION = len(Region._fields)
"""Index of the first number that `packed` puts behind a `Region`."""
BEHIND_REGION_AND_TILE = BEHIND_REGION + len(TilePlace._fields)
"""Index of the form of the lines of a region, behind its tile: channels of a chunk, then bytes of a line's slot."""


def packed(*parts: tuple[int, ...]) -> Longs:
    """The numbers of tiles, windows and the like one behind the other, which kernels take faster than named tuples."""
    return np.array([number for part in parts for number in part], np.int64)


@woven
def tile_in(numbers: Longs, first: int) -> TilePlace:
    """The tile that `packed` has put at `first`."""
    i = first
    return TilePlace(numbers[i], numbers[i + 1], numbers[i + 2], numbers[i + 3], numbers[i + 4], numbers[i + 5])


@woven
def window_in(numbers: Longs, first: int) -> Window:
    """The windows that `packed` has put at `first`."""
    i = first
    return Window(
        numbers[i], numbers[i + 1], numbers[i + 2], numbers[i + 3], numbers[i + 4], numbers[i + 5],
        numbers[i + 6], numbers[i + 7], numbers[i + 8], numbers[i + 9], numbers[i + 10],
    )  # fmt: skip


@woven
def region_in(numbers: Longs, first: int) -> Region:
    """The region that `packed` has put at `first`."""
    i = first
    return Region(
        numbers[i], numbers[i + 1], numbers[i + 2], numbers[i + 3], numbers[i + 4], numbers[i + 5],
        numbers[i + 6], numbers[i + 7], numbers[i + 8], numbers[i + 9],
    )  # fmt: skip


def region_of(v: Values, arena_base: int) -> Region:
    """The region of an instruction with the fields `isa.field_groups.DRAM_TENSOR`."""
    return Region(v["dram"] - arena_base, *_region_fields(v))


def flip(signed: int) -> int:
    """(byte ^ flip) - flip is the number that a stored byte means."""
    return 128 if signed else 0
