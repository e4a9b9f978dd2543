"""`conv.dw`: a depthwise convolution into partial sums."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emulator.geometry import TilePlace, Window, flip, window_of
from emulator.kernels import Bytes, Longs, Words
from emulator.memories import Memories
from emulator.unit import Unit
from isa.errors import UserError
from isa.instructions.conv_dw import SPEC
from isa.integers import Values
from isa.jit import jit


class PsumPlace(NamedTuple):
    """Where partial sums lie: the first word, and words from one position to the next."""

    word: int
    kt: int


@jit
def depthwise(
    act: Bytes,
    tile: TilePlace,
    window: Window,
    flip: int,
    channels: Longs,
    weights: Words,
    psum: Words,
    at: PsumPlace,
    accumulate: bool,
) -> bool:
    """psum[at.word + (y*ow+x)*kt + k] (+)= sum weights[r, s, k] * act[.., channels[k]]; whether all fit int32.

    `weights` [r, s, kn]. Products of a window alone always fit: 255 * 255 * 128 * 255 is less than 2^31.
    """
    ih, iw, _, r, s, sy, sx, pt, pl, oh, ow = window
    kn = channels.size
    first, straight = channels[0], channels[kn - 1] - channels[0] == kn - 1
    sign = np.int32(flip)
    sums = np.empty(kn, np.int32)
    fits = True
    for n in range(act.shape[0]):
        for y in range(oh):
            for x in range(ow):
                sums[:] = 0
                for i in range(max(0, pt - y * sy), min(r, ih + pt - y * sy)):
                    for j in range(max(0, pl - x * sx), min(s, iw + pl - x * sx)):
                        row, column = y * sy - pt + i, x * sx - pl + j
                        begin = tile.at + row * tile.row_stride + column * tile.position_stride
                        taps = weights[i, j]
                        if straight:  # one input channel an output channel: a loop that the processor runs in parallel
                            values = act[n, begin + first : begin + first + kn]
                            for k in range(kn):
                                sums[k] += ((np.int32(values[k]) ^ sign) - sign) * taps[k]
                        else:
                            for k in range(kn):
                                sums[k] += ((np.int32(act[n, begin + channels[k]]) ^ sign) - sign) * taps[k]
                to = at.word + (y * ow + x) * at.kt
                for k in range(kn):
                    total = np.int64(sums[k]) + (np.int64(psum[n, to + k]) if accumulate else 0)
                    fits &= -(1 << 31) <= total < 1 << 31
                    psum[n, to + k] = total
    return bool(fits)


def execute(m: Memories, v: Values) -> Bytes:
    """The input tile of image 0. Raises `UserError` if a partial sum leaves int32."""

    def make() -> tuple[tuple[Longs, NDArray[np.int32]], int]:
        kn, r, s = v["kn"], v["r"], v["s"]
        w = m.coef[v["coef"] : v["coef"] + kn * r * s].view(np.int8).reshape(kn, r, s)
        channels = v["cs"] + np.arange(kn, dtype=np.int64) // v["kpg"]
        weights = np.ascontiguousarray(w.transpose(1, 2, 0), np.int32)
        return (channels, weights), channels.nbytes + weights.nbytes

    channels, weights = m.derived(make)
    place = PsumPlace(v["psum"] // 4 + v["k"], v["kt"])
    accumulate = bool(v["accumulate"])
    sign = flip(v["signed"])
    if not depthwise(*m.act_tile(v), window_of(v), sign, channels, weights, m.psum, place, accumulate):
        raise UserError("a partial sum leaves int32")
    return m.act_values(v)


UNIT = Unit(SPEC, execute, lambda entry, _, tile: entry.reads_inputs(tile))
