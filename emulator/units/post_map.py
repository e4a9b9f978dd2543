"""`post.map`: a tile of ACT, moved and mapped."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from emulator.geometry import TilePlace, tile_of
from emulator.kernels import Bytes
from emulator.memories import Memories
from emulator.unit import Unit
from isa.instructions.post_map import SPEC
from isa.integers import Values
from isa.jit import borrowing
from isa.layout import TABLE_BYTES

_IDENTITY = np.arange(TABLE_BYTES, dtype=np.uint8)


class Move(NamedTuple):
    """From where an output position reads: fields of the instruction of the same names."""

    sy: int
    sx: int
    dy: int
    dx: int
    dc: int


@borrowing
def map_tile(read: Bytes, source: TilePlace, move: Move, table: Bytes, act: Bytes, tile: TilePlace) -> None:
    """From tile `source` of `read` to `tile` of ACT; `table` [256] is the identity where the instruction has none."""
    sy, sx, dy, dx, dc = move
    for n in range(act.shape[0]):
        for y in range(tile.h):
            row = y * sy + dy
            for x in range(tile.w):
                column = x * sx + dx
                to = tile.at + y * tile.row_stride + x * tile.position_stride
                at = source.at + row * source.row_stride + column * source.position_stride + dc
                inside = 0 <= row < source.h and 0 <= column < source.w
                for k in range(tile.channels):
                    if inside and 0 <= k + dc < source.channels:
                        act[n, to + k] = table[read[n, at + k]]
                    else:
                        act[n, to + k] = table[0]


def execute(m: Memories, v: Values) -> None:
    """Positions outside the tile count as 0."""

    def make() -> tuple[tuple[Bytes, Move, TilePlace], int]:
        table = m.par[v["table"] : v["table"] + TABLE_BYTES].copy() if v["lut"] else _IDENTITY
        move = Move(*(v[name] for name in Move._fields))
        return (table, move, tile_of(v, "out")), table.nbytes

    table, move, tile = m.derived(make)
    map_tile(*m.act_tile(v), move, table, m.act, tile)


UNIT = Unit(SPEC, execute)
