"""`conv.esc`: a decomposed convolution into partial sums."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emulator.arithmetic import Decomposed, WeightMatrix, convolve, convolve_decomposed, fold
from emulator.geometry import window_of
from emulator.kernels import Bytes
from emulator.memories import Memories
from emulator.recording import Entry
from emulator.streaming import Streamed, Streams, stream
from emulator.unit import Unit
from isa.blocks import coefficient_bitmaps, unpack_coefficients
from isa.counts import Count
from isa.instructions.conv_esc import SPEC, expanded_bytes, stationary
from isa.integers import Values, ceil_div
from isa.layout import RecordLayout


class Operands(NamedTuple):
    """The bitmaps of the tile of image 0, and the expanded coefficients."""

    bits: NDArray[np.uint64]
    coef: Bytes


def execute(m: Memories, v: Values) -> Operands:
    """One convolution if the intermediate values are exact, else both stages."""
    tile = m.act_tile(v)
    coef = m.coef[v["coef"] : v["coef"] + expanded_bytes(v, m.target)]

    def make() -> tuple[WeightMatrix | Decomposed, int]:
        bases = m.par[v["basis"] : v["basis"] + v["v"] * v["r"] * v["s"]].view(np.int8).reshape(v["v"], -1)
        t = unpack_coefficients(coef, v["kn"], v["v"], v["ic"], m.chunk)
        weights = fold(t, bases, v["ic_shift"], m.target.array.ic_bits, v["signed"])
        return weights, (weights.matrix if isinstance(weights, WeightMatrix) else weights.t).nbytes

    weights = m.derived(make)
    if isinstance(weights, WeightMatrix):
        convolve(tile, window_of(v), v["signed"], [(0, v["ic"], weights)], m.psum_tile(v), False)
    else:
        convolve_decomposed(tile, window_of(v), v["signed"], weights, m.psum_tile(v))
    return Operands(m.act_bitmaps(v), coef)


def record(entry: Entry, v: Values, operands: Operands) -> None:
    """Cycles and waiting times of the slices follow the bitmaps."""
    a = entry.target.array
    records = RecordLayout(v["ic"], a.chunk)
    streams = Streams(
        groups=v["groups"],
        blocks=a.blocks,
        slices=a.slices,
        macs=a.macs,
        lanes=a.ca_lanes,
        fifo_depth=a.fifo_depth,
        ic_depth=a.ic_fifo_depth,
        broadcast=ceil_div(records.chunks, a.broadcast_chunks),
    )
    masks = coefficient_bitmaps(operands.coef, v["kn"], v["v"], v["ic"], a.chunk)
    counts = np.zeros(len(Streamed), np.int64)
    cycles = stream(operands.bits, masks, window_of(v), streams, counts)
    seen = {which: int(counts[which]) for which in Streamed}
    entry.takes(a.issue_cycles + cycles)
    waits = {
        Count.CA_WORK: seen[Streamed.WORK],
        Count.CA_BROADCAST: seen[Streamed.BROADCAST],
        Count.CA_FIFO: seen[Streamed.FIFO],
        Count.CA_MAC: seen[Streamed.MAC],
        Count.CA_ADDER_TREE: seen[Streamed.ADDER_TREE],
    }
    waits[Count.CA_IMBALANCE] = a.blocks * a.slices * cycles - sum(waits.values())
    for count, number in waits.items():
        entry.add(count, number)
    entry.add(Count.MATCHES, seen[Streamed.MATCHES])
    entry.add(Count.CA_ADD_INT8, seen[Streamed.MATCHES])
    entry.add(Count.CA_ADD_INT32, seen[Streamed.WORK])
    entry.add(Count.ACT_READ, seen[Streamed.POSITIONS] * v["ic"])
    often = v["groups"] if stationary(v, entry.target) else seen[Streamed.POSITIONS]
    entry.add(Count.COEF_READ, operands.coef.size * often)


UNIT = Unit(SPEC, execute, record, accumulates=True)
