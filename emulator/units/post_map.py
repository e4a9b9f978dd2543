"""`post.map`: a tile of ACT, moved and mapped, to OUT."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from emulator.geometry import OutTile, out_tile_of
from emulator.kernels import Bytes
from emulator.memories import Memories
from emulator.unit import Unit
from isa.instructions.post_map import SPEC
from isa.integers import Values
from isa.jit import jit
from isa.layout import TABLE_BYTES

_IDENTITY = np.arange(TABLE_BYTES, dtype=np.uint8)


class Move(NamedTuple):
    """From where an output position reads: fields of the instruction of the same names."""

    ih: int
    iw: int
    ic: int
    sy: int
    sx: int
    dy: int
    dx: int
    dc: int


@jit
def map_tile(source: Bytes, move: Move, table: Bytes, out: Bytes, tile: OutTile) -> None:
    """`source`: plain bytes [N, ih * iw * ic]; `table` [256] is the identity where the instruction has none."""
    ih, iw, ic, sy, sx, dy, dx, dc = move
    for n in range(source.shape[0]):
        for y in range(tile.h):
            row = y * sy + dy
            for x in range(tile.w):
                column = x * sx + dx
                to = tile.at + y * tile.row_stride + x * tile.position_stride
                at = (row * iw + column) * ic + dc
                inside = 0 <= row < ih and 0 <= column < iw
                for k in range(tile.channels):
                    if inside and 0 <= k + dc < ic:
                        out[n, to + k] = table[source[n, at + k]]
                    else:
                        out[n, to + k] = table[0]


def execute(m: Memories, v: Values) -> None:
    """Positions outside the tile count as 0."""
    table = m.par[v["table"] : v["table"] + TABLE_BYTES] if v["lut"] else _IDENTITY
    move = Move(*(v[name] for name in Move._fields))
    map_tile(m.act_tile(v).data, move, table, m.out, out_tile_of(v))


UNIT = Unit(SPEC, execute)
