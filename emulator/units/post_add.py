"""`post.add`: the sum of two tiles of ACT to OUT."""

from __future__ import annotations

import numpy as np

from emulator.geometry import OutTile, flip, out_tile_of
from emulator.kernels import Bytes, Longs
from emulator.memories import Memories
from emulator.recording import Entry
from emulator.unit import Unit
from isa.counts import Count
from isa.instructions.post_add import SPEC
from isa.integers import Values
from isa.jit import jit


@jit
def add_tiles(a: Bytes, a_flip: int, b: Bytes, addition: Longs, out: Bytes, tile: OutTile) -> None:
    """Plain tiles [N, positions * channels]; `addition`: ma, mb, lo, hi, shift, 128 if b is signed else 0."""
    ma, mb, lo, hi, shift, b_flip = addition[0], addition[1], addition[2], addition[3], addition[4], addition[5]
    around = np.int64(1) << (shift - 1)
    for n in range(a.shape[0]):
        for p in range(tile.h * tile.w):
            at = p * tile.channels
            to = tile.at + p // tile.w * tile.row_stride + p % tile.w * tile.position_stride
            for k in range(tile.channels):
                va = (np.int64(a[n, at + k]) ^ a_flip) - a_flip
                vb = (np.int64(b[n, at + k]) ^ b_flip) - b_flip
                out[n, to + k] = min(max((va * ma + vb * mb + around) >> shift, lo), hi) & 255


def execute(m: Memories, v: Values) -> int:
    """Returns the values of both tiles that are not zero."""
    positions = v["oh"] * v["ow"]
    a, b = m.decoded(v["act"], positions, v["kn"]), m.decoded(v["res"], positions, v["kn"])
    add_tiles(a.data, flip(v["signed"]), b.data, m.addition(v), m.out, out_tile_of(v))
    return a.nonzeros + b.nonzeros


def record(entry: Entry, _: Values, nonzeros: int) -> None:
    """Values that are not zero are read too."""
    entry.add(Count.ACT_READ, nonzeros)


UNIT = Unit(SPEC, execute, record)
