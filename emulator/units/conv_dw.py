"""`conv.dw`: a depthwise convolution into partial sums."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from emulator.geometry import Window, flip, window_of
from emulator.kernels import Bytes, Longs, Words
from emulator.memories import Memories
from emulator.unit import Unit
from isa.errors import UserError
from isa.instructions.conv_dw import SPEC
from isa.integers import Values
from isa.jit import jit


@jit
def depthwise(
    tile: Bytes,
    window: Window,
    flip: int,
    channels: Longs,
    weights: Words,
    psum: Words,
    target: int,
    kt: int,
    accumulate: bool,
) -> bool:
    """psum[target + (y*ow+x)*kt + i] (+)= sum weights[r, s, i] * tile[.., channels[i]]; whether all fit int32."""
    ih, iw, ic, r, s, sy, sx, pt, pl, oh, ow = window
    kn = channels.size
    fits = True
    sums = np.empty(kn, np.int64)
    for n in range(tile.shape[0]):
        for y in range(oh):
            for x in range(ow):
                to = target + (y * ow + x) * kt
                for k in range(kn):
                    sums[k] = psum[n, to + k] if accumulate else 0
                for i in range(max(0, pt - y * sy), min(r, ih + pt - y * sy)):
                    for j in range(max(0, pl - x * sx), min(s, iw + pl - x * sx)):
                        at = ((y * sy - pt + i) * iw + x * sx - pl + j) * ic
                        for k in range(kn):
                            v = (np.int64(tile[n, at + channels[k]]) ^ flip) - flip
                            sums[k] += v * weights[i, j, k]
                for k in range(kn):
                    fits &= -(1 << 31) <= sums[k] < 1 << 31
                    psum[n, to + k] = sums[k]
    return fits


def execute(m: Memories, v: Values) -> None:
    """Raises `UserError` if a partial sum leaves int32."""
    tile = m.act_tile(v)

    def make() -> tuple[tuple[Longs, NDArray[np.int32]], int]:
        kn, r, s = v["kn"], v["r"], v["s"]
        w = m.coef[v["coef"] : v["coef"] + kn * r * s].view(np.int8).reshape(kn, r, s)
        channels = v["cs"] + np.arange(kn, dtype=np.int64) // v["kpg"]
        weights = np.ascontiguousarray(w.transpose(1, 2, 0), np.int32)
        return (channels, weights), channels.nbytes + weights.nbytes

    channels, weights = m.derived(make)
    target = v["psum"] // 4 + v["k"]
    accumulate = bool(v["accumulate"])
    window, sign = window_of(v), flip(v["signed"])
    if not depthwise(tile.data, window, sign, channels, weights, m.psum, target, v["kt"], accumulate):
        raise UserError("a partial sum leaves int32")


UNIT = Unit(SPEC, execute)
