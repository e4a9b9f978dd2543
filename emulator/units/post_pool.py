"""`post.pool`: maximum or average over windows of a tile of ACT."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from emulator.geometry import TilePlace, Window, flip, tile_of, window_of
from emulator.kernels import Bytes, Longs
from emulator.memories import Memories
from emulator.unit import Unit
from isa.blocks import unpack_multipliers
from isa.formats import PoolKind
from isa.instructions.post_pool import SPEC, multipliers
from isa.integers import Values
from isa.jit import borrowing


class Average(NamedTuple):
    """How sums become averages: the rows [top, bottom) and columns [left, right) that count, and the division."""

    top: int
    bottom: int
    left: int
    right: int
    mult: Longs
    count0: int
    shift: int
    lo: int
    hi: int


@borrowing
def pool_maximum(
    source: Bytes, tile: TilePlace, window: Window, flip: int, cs: int, act: Bytes, to_tile: TilePlace, most: Longs
) -> None:
    """From `tile` of `source` to `to_tile` of ACT; `most` [channels]: scratch."""
    ih, iw, _, r, s, sy, sx, pt, pl, oh, ow = window
    for n in range(act.shape[0]):
        for y in range(oh):
            top = y * sy - pt
            for x in range(ow):
                left = x * sx - pl
                to = to_tile.at + y * to_tile.row_stride + x * to_tile.position_stride
                most[:] = -256
                for row in range(max(top, 0), min(top + r, ih)):
                    for column in range(max(left, 0), min(left + s, iw)):
                        at = tile.at + row * tile.row_stride + column * tile.position_stride + cs
                        for k in range(most.size):
                            most[k] = max(most[k], (np.int64(source[n, at + k]) ^ flip) - flip)
                for k in range(most.size):
                    act[n, to + k] = most[k] & 255


@borrowing
def pool_average(
    source: Bytes,
    tile: TilePlace,
    window: Window,
    flip: int,
    cs: int,
    average: Average,
    act: Bytes,
    to_tile: TilePlace,
    sums: Longs,
) -> None:
    """From `tile` of `source` to `to_tile` of ACT; `sums` [channels]: scratch."""
    ih, iw, _, r, s, sy, sx, pt, pl, oh, ow = window
    shift = average.shift
    around = np.int64(1) << (shift - 1)
    for n in range(act.shape[0]):
        for y in range(oh):
            top = y * sy - pt
            rows = min(top + r, average.bottom) - max(top, average.top)
            for x in range(ow):
                left = x * sx - pl
                columns = min(left + s, average.right) - max(left, average.left)
                to = to_tile.at + y * to_tile.row_stride + x * to_tile.position_stride
                sums[:] = 0
                for row in range(max(top, 0), min(top + r, ih)):
                    for column in range(max(left, 0), min(left + s, iw)):
                        at = tile.at + row * tile.row_stride + column * tile.position_stride + cs
                        for k in range(sums.size):
                            sums[k] += (np.int64(source[n, at + k]) ^ flip) - flip
                m = average.mult[rows * columns - average.count0]
                for k in range(sums.size):
                    act[n, to + k] = min(max((sums[k] * m + around) >> shift, average.lo), average.hi) & 255


def execute(m: Memories, v: Values) -> None:
    """Windows see positions of the tile only; an average may count padding."""
    (source, tile), window, sign = m.act_tile(v), window_of(v), flip(v["signed"])
    scratch, to = np.empty(v["kn"], np.int64), tile_of(v, "out")
    if v["kind"] == PoolKind.MAX:
        pool_maximum(source, tile, window, sign, v["cs"], m.act, to, scratch)
        return
    mult = unpack_multipliers(m.par[v["par"] : v["par"] + 4 * multipliers(v)])
    average = Average(
        -v["bt"], v["ih"] + v["bb"], -v["bl"], v["iw"] + v["br"], mult, v["count0"], v["shift"], v["lo"], v["hi"]
    )
    pool_average(source, tile, window, sign, v["cs"], average, m.act, to, scratch)


UNIT = Unit(SPEC, execute)
