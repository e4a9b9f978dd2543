"""`post.requant`: partial sums to 8 bits in OUT."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from emulator.geometry import OutTile, out_tile_of
from emulator.kernels import Bytes, Longs, Words
from emulator.memories import DecodedTile, Memories
from emulator.recording import Entry
from emulator.unit import Unit
from isa.counts import Count
from isa.errors import UserError
from isa.instructions.post_requant import SPEC
from isa.integers import Values
from isa.jit import jit
from isa.layout import TABLE_BYTES, requant_block_bytes
from isa.parameters import read_block

_IDENTITY = np.arange(TABLE_BYTES, dtype=np.int64)
_NO_ADDITION = np.empty(0, np.int64)
_NO_TILE = DecodedTile(np.empty((1, 0), np.uint8), 0)


class Parameters(NamedTuple):
    """Bias, multiplier and shift [kn] of each channel, and the clamp."""

    bias: Longs
    mult: Longs
    shift: Longs
    lo: int
    hi: int


@jit
def requantise(
    psum: Words,
    source: int,
    kt: int,
    p: Parameters,
    lut: int,
    table: Longs,
    residual: Bytes,
    res_c: int,
    res_k: int,
    addition: Longs,
    out: Bytes,
    tile: OutTile,
) -> None:
    """`table` [256] holds the values q after the table; `residual` [N, positions * res_c] plain bytes.

    `addition`: ma, mb, alo, ahi, shift, 128 if the residual is signed else 0; empty without a residual.
    """
    bias, mult, shift, lo, hi = p
    kn = bias.size
    add = addition.size > 0
    if add:
        ma, mb, alo, ahi, ashift, flip = addition[0], addition[1], addition[2], addition[3], addition[4], addition[5]
        around = np.int64(1) << (ashift - 1)
    else:
        ma = mb = alo = ahi = ashift = flip = around = np.int64(0)
    for n in range(psum.shape[0]):
        for position in range(tile.h * tile.w):
            at = source + position * kt
            to = tile.at + position // tile.w * tile.row_stride + position % tile.w * tile.position_stride
            for k in range(kn):
                q = (
                    (np.int64(psum[n, at + k]) + bias[k]) * mult[k] + (np.int64(1) << (shift[k] - np.int64(1)))
                ) >> shift[k]
                q = min(max(q, lo), hi)
                if lut:
                    q = table[q & 255]
                if add:
                    b = (np.int64(residual[n, position * res_c + res_k + k]) ^ flip) - flip
                    q = min(max((q * ma + b * mb + around) >> ashift, alo), ahi)
                out[n, to + k] = q & 255


def _table(m: Memories, v: Values) -> Longs:
    if not v["lut"]:
        return _IDENTITY
    stored = m.par[v["table"] : v["table"] + TABLE_BYTES]
    return (stored.view(np.int8) if v["add"] and v["q_signed"] else stored).astype(np.int64)


def execute(m: Memories, v: Values) -> DecodedTile:
    """Returns the residual tile, an empty one if there is none."""
    bias, mult, shift = read_block(m.par[v["par"] : v["par"] + requant_block_bytes(v["kn"])])
    if int(shift.min()) < 1 or int(shift.max()) > 62:
        raise UserError("a shift in PAR is outside [1, 62]")
    residual, addition = _NO_TILE, _NO_ADDITION
    if v["add"]:
        residual, addition = m.decoded(v["res"], v["oh"] * v["ow"], v["res_c"]), m.addition(v)
    parameters = Parameters(bias, mult, shift, v["lo"], v["hi"])
    source = v["psum"] // 4 + v["k"]
    requantise(
        m.psum, source, v["kt"], parameters, v["lut"], _table(m, v), residual.data, v["res_c"], v["res_k"], addition,
        m.out, out_tile_of(v),
    )  # fmt: skip
    return residual


def record(entry: Entry, _: Values, residual: DecodedTile) -> None:
    """Values of the residual that are not zero are read too."""
    entry.add(Count.ACT_READ, residual.nonzeros)


UNIT = Unit(SPEC, execute, record)
