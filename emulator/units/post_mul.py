"""`post.mul`: the product of two tiles of ACT."""

from __future__ import annotations

import numpy as np

from emulator.geometry import TilePlace, flip, tile_of
from emulator.kernels import Bytes, Longs
from emulator.memories import Memories
from emulator.unit import Unit
from isa.instructions.post_mul import SPEC, SPREAD
from isa.integers import Values
from isa.jit import jit


@jit
def multiply_tiles(
    act: Bytes, a: TilePlace, a_flip: int, b: TilePlace, steps: Longs, block: Longs, tile: TilePlace
) -> None:
    """`tile` = `a` * `b`; `steps`: 1, or 0 along the axes [y, x, k] of which b has one index; `block` as of an
    addition.
    """
    mult, lo, hi, shift, b_flip = block[0], block[2], block[3], block[4], block[5]
    around = np.int64(1) << (shift - 1)
    for n in range(act.shape[0]):
        for y in range(tile.h):
            for x in range(tile.w):
                at_a = a.at + y * a.row_stride + x * a.position_stride
                at_b = b.at + y * steps[0] * b.row_stride + x * steps[1] * b.position_stride
                to = tile.at + y * tile.row_stride + x * tile.position_stride
                for k in range(tile.channels):
                    va = (np.int64(act[n, at_a + k]) ^ a_flip) - a_flip
                    vb = (np.int64(act[n, at_b + k * steps[2]]) ^ b_flip) - b_flip
                    act[n, to + k] = min(max((va * vb * mult + around) >> shift, lo), hi) & 255


def execute(m: Memories, v: Values) -> None:
    """One multiplication a value."""
    steps = np.array([1 - v[name] for name in SPREAD], np.int64)
    multiply_tiles(
        m.act, tile_of(v, "act"), flip(v["signed"]), tile_of(v, "res"), steps, m.addition(v), tile_of(v, "out")
    )


UNIT = Unit(SPEC, execute)
