"""`post.maxima`: maxima of windows of requantised partial sums to ACT."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from emulator.geometry import TilePlace, packed, tile_in, tile_of
from emulator.kernels import Bytes, Longs, Words
from emulator.memories import Memories
from emulator.unit import Unit
from emulator.units.post_requant import requant_parameters, requant_table
from isa.instructions.post_maxima import SPEC, written
from isa.integers import Values
from isa.jit import borrowing


@borrowing
def requantise_maxima(psum: Words, parameters: Longs, table: Longs, act: Bytes, numbers: Longs, most: Longs) -> None:
    """`parameters` [3, kn]: bias, multiplier and shift of each channel. `table` [256] holds the values q after the
    table; empty: there is none.

    `numbers`: output tile, first word of the sums, words from one position to the next, columns of the sums, rows and
    columns of a window, lowest and highest q, packed. `most` [kn]: scratch.
    """
    bias, mult, shift = parameters[0], parameters[1], parameters[2]
    tile = tile_in(numbers, 0)
    source, kt, ow, r, s = numbers[-7], numbers[-6], numbers[-5], numbers[-4], numbers[-3]
    lo, hi, lut = numbers[-2], numbers[-1], table.size > 0
    for n in range(psum.shape[0]):
        for y in range(tile.h):
            for x in range(tile.w):
                most[:] = -256
                for row in range(y * r, y * r + r):
                    for column in range(x * s, x * s + s):
                        at = source + (row * ow + column) * kt
                        for k in range(bias.size):
                            q = (
                                (np.int64(psum[n, at + k]) + bias[k]) * mult[k]
                                + (np.int64(1) << (shift[k] - np.int64(1)))
                            ) >> shift[k]
                            q = min(max(q, lo), hi)
                            if lut:
                                q = table[q & 255]
                            most[k] = max(most[k], q)
                to = tile.at + y * tile.row_stride + x * tile.position_stride
                for k in range(bias.size):
                    act[n, to + k] = most[k] & 255


class _Maxima(NamedTuple):
    """What an instruction reads from PAR, and where its tiles lie, as `requantise_maxima` takes it."""

    parameters: Longs
    table: Longs
    numbers: Longs

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self)


def _operands(m: Memories, v: Values) -> _Maxima:
    place: TilePlace = tile_of(written(v), "out")
    rest = v["psum"] // 4 + v["k"], v["kt"], v["ow"], v["r"], v["s"], v["lo"], v["hi"]
    return _Maxima(requant_parameters(m, v), requant_table(m, v, v["q_signed"]), packed(place, rest))


def execute(m: Memories, v: Values) -> None:
    """Raises `UserError` if a shift in PAR is impossible."""

    def make() -> tuple[_Maxima, int]:
        found = _operands(m, v)
        return found, found.nbytes

    o, most = m.derived(make), np.empty(v["kn"], np.int64)
    requantise_maxima(m.psum, o.parameters, o.table, m.act, o.numbers, most)


UNIT = Unit(SPEC, execute)
