"""`conv.dw`: a depthwise convolution into partial sums."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from emulator.geometry import BEHIND_TILE, flip, packed, tile_in, window_in, window_of
from emulator.kernels import Bytes, Longs, Words
from emulator.memories import Memories
from emulator.recording import InputTile
from emulator.unit import Unit
from isa.errors import UserError
from isa.instructions.conv_dw import SPEC
from isa.integers import Values
from isa.jit import jit


@jit
def depthwise(
    act: Bytes,
    numbers: Longs,
    flip: int,
    channels: Longs,
    weights: Words,
    psum: Words,
    accumulate: bool,
) -> bool:
    """psum[word + (y*ow+x)*kt + k] (+)= sum weights[r, s, k] * act[.., channels[k]]; whether all fit int32.

    `numbers`: tile, windows, word and kt, packed. `weights` [r, s, kn]. Products of a window alone always fit:
    255 * 255 * 128 * 255 is less than 2^31.
    """
    tile, word, kt = tile_in(numbers, 0), numbers[numbers.size - 2], numbers[numbers.size - 1]
    ih, iw, _, r, s, sy, sx, pt, pl, oh, ow = window_in(numbers, BEHIND_TILE)
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
                to = word + (y * ow + x) * kt
                for k in range(kn):
                    total = np.int64(sums[k]) + (np.int64(psum[n, to + k]) if accumulate else 0)
                    fits &= -(1 << 31) <= total < 1 << 31
                    psum[n, to + k] = total
    return bool(fits)


def execute(m: Memories, v: Values) -> InputTile:
    """The input tile. Raises `UserError` if a partial sum leaves int32."""

    def make() -> tuple[tuple[Longs, NDArray[np.int32], Longs], int]:
        kn, r, s = v["kn"], v["r"], v["s"]
        w = m.coef[v["coef"] : v["coef"] + kn * r * s].view(np.int8).reshape(kn, r, s)
        channels = v["cs"] + np.arange(kn, dtype=np.int64) // v["kpg"]
        weights = np.ascontiguousarray(w.transpose(1, 2, 0), np.int32)
        numbers = packed(m.act_place(v), window_of(v), (v["psum"] // 4 + v["k"], v["kt"]))
        return (channels, weights, numbers), channels.nbytes + weights.nbytes + numbers.nbytes

    channels, weights, numbers = m.derived(make)
    act = m.act_source(v)
    if not depthwise(act, numbers, flip(v["signed"]), channels, weights, m.psum, bool(v["accumulate"])):
        raise UserError("a partial sum leaves int32")
    return InputTile(act, numbers)


UNIT = Unit(SPEC, execute, lambda entry, _, tile: entry.reads_inputs(tile))
