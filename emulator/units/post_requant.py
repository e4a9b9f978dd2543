"""`post.requant`: partial sums to 8 bits in ACT."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from emulator.geometry import BEHIND_TILE, TilePlace, packed, tile_in, tile_of
from emulator.kernels import Bytes, Longs, Words
from emulator.memories import Memories
from emulator.unit import Unit
from isa.errors import UserError
from isa.instructions.post_requant import SPEC
from isa.integers import Values
from isa.jit import borrowing
from isa.layout import TABLE_BYTES, requant_block_bytes
from isa.parameters import read_block

_NOTHING = np.empty(0, np.int64)
_NO_TILE = TilePlace(0, 0, 0, 0, 0, 0)


@borrowing
def requantise(psum: Words, parameters: Longs, table: Longs, act: Bytes, addition: Longs, numbers: Longs) -> None:
    """`parameters` [3, kn]: bias, multiplier and shift of each channel. `table` [256] holds the values q after the
    table; empty: there is none.

    `addition`: ma, mb, alo, ahi, shift, 128 if the residual is signed else 0; empty without a residual.
    `numbers`: tile, tile of the residual, first word of the sums, words from one position to the next, lowest and
    highest q, packed.
    """
    bias, mult, shift = parameters[0], parameters[1], parameters[2]
    tile, residual = tile_in(numbers, 0), tile_in(numbers, BEHIND_TILE)
    source, kt, lo, hi = numbers[-4], numbers[-3], numbers[-2], numbers[-1]
    kn, lut = bias.size, table.size > 0
    add = addition.size > 0
    if add:
        ma, mb, alo, ahi, ashift, flip = addition[0], addition[1], addition[2], addition[3], addition[4], addition[5]
        around = np.int64(1) << (ashift - 1)
    else:
        ma = mb = alo = ahi = ashift = flip = around = np.int64(0)
    for n in range(psum.shape[0]):
        for position in range(tile.h * tile.w):
            at = source + position * kt
            y, x = position // tile.w, position % tile.w
            to = tile.at + y * tile.row_stride + x * tile.position_stride
            added = residual.at + y * residual.row_stride + x * residual.position_stride
            for k in range(kn):
                q = (
                    (np.int64(psum[n, at + k]) + bias[k]) * mult[k] + (np.int64(1) << (shift[k] - np.int64(1)))
                ) >> shift[k]
                q = min(max(q, lo), hi)
                if lut:
                    q = table[q & 255]
                if add:
                    b = (np.int64(act[n, added + k]) ^ flip) - flip
                    q = min(max((q * ma + b * mb + around) >> ashift, alo), ahi)
                act[n, to + k] = q & 255


class _Operands(NamedTuple):
    """What an instruction reads from PAR, and where its tiles lie, as `requantise` takes it."""

    parameters: Longs
    table: Longs
    addition: Longs
    numbers: Longs

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self)


def requant_parameters(m: Memories, v: Values) -> Longs:
    """Bias, multiplier and shift of each channel, int64 [3, kn]. Raises `UserError` if a shift is impossible."""
    bias, mult, shift = read_block(m.par[v["par"] : v["par"] + requant_block_bytes(v["kn"])])
    if int(shift.min()) < 1 or int(shift.max()) > 62:
        raise UserError("a shift in PAR is outside [1, 62]")
    return np.array([bias, mult, shift], np.int64)


def requant_table(m: Memories, v: Values, signed: int) -> Longs:
    """The values of the table, int64 [256]; empty if the instruction has none."""
    if not v["lut"]:
        return _NOTHING
    stored = m.par[v["table"] : v["table"] + TABLE_BYTES]
    return (stored.view(np.int8) if signed else stored).astype(np.int64)


def _operands(m: Memories, v: Values) -> _Operands:
    residual, addition = (tile_of(v, "res"), m.addition(v)) if v["add"] else (_NO_TILE, _NOTHING)
    rest = v["psum"] // 4 + v["k"], v["kt"], v["lo"], v["hi"]
    numbers = packed(tile_of(v, "out"), residual, rest)
    return _Operands(requant_parameters(m, v), requant_table(m, v, v["add"] and v["q_signed"]), addition, numbers)


def execute(m: Memories, v: Values) -> None:
    """Raises `UserError` if a shift in PAR is impossible."""

    def make() -> tuple[_Operands, int]:
        found = _operands(m, v)
        return found, found.nbytes

    o = m.derived(make)
    requantise(m.psum, o.parameters, o.table, m.act, o.addition, o.numbers)


UNIT = Unit(SPEC, execute)
