"""`post.add`: the sum of two tiles of ACT."""

from __future__ import annotations

import numpy as np

from emulator.geometry import TilePlace, flip, tile_of
from emulator.kernels import Bytes, Longs
from emulator.memories import Memories
from emulator.unit import Unit
from isa.instructions.post_add import SPEC
from isa.integers import Values
from isa.jit import borrowing


@borrowing
def add_tiles(act: Bytes, a: TilePlace, a_flip: int, b: TilePlace, addition: Longs, tile: TilePlace) -> None:
    """`tile` = `a` + `b`; `addition`: ma, mb, lo, hi, shift, 128 if b is signed else 0."""
    ma, mb, lo, hi, shift, b_flip = addition[0], addition[1], addition[2], addition[3], addition[4], addition[5]
    around = np.int64(1) << (shift - 1)
    for n in range(act.shape[0]):
        for y in range(tile.h):
            for x in range(tile.w):
                at_a = a.at + y * a.row_stride + x * a.position_stride
                at_b = b.at + y * b.row_stride + x * b.position_stride
                to = tile.at + y * tile.row_stride + x * tile.position_stride
                for k in range(tile.channels):
                    va = (np.int64(act[n, at_a + k]) ^ a_flip) - a_flip
                    vb = (np.int64(act[n, at_b + k]) ^ b_flip) - b_flip
                    act[n, to + k] = min(max((va * ma + vb * mb + around) >> shift, lo), hi) & 255


def execute(m: Memories, v: Values) -> None:
    """One addition a value."""
    add_tiles(m.act, tile_of(v, "act"), flip(v["signed"]), tile_of(v, "res"), m.addition(v), tile_of(v, "out"))


UNIT = Unit(SPEC, execute)
