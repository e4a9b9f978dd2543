"""`conv.esc`: a decomposed convolution into partial sums."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emulator.arithmetic import Decomposed, WeightMatrix, convolve, convolve_decomposed, fold
from emulator.geometry import window_of
from emulator.memories import Memories
from emulator.recording import Entry
from emulator.streaming import Coefficients, Streamed, Streams, stream
from emulator.unit import Unit
from isa.blocks import coefficient_bitmaps
from isa.coefficients import Channels, unpack_streams
from isa.costs import output_values
from isa.counts import Count
from isa.instructions.conv_esc import SPEC, greatest_magnitude, register_bits, stream_code, working_slices
from isa.integers import Values, ceil_div
from isa.layout import RecordLayout
from isa.target import Target


class Operands(NamedTuple):
    """The tile of image 0 and its bitmaps, the coefficients, and the bases int8 [v, r, s]."""

    tile: NDArray[np.uint8]
    bits: NDArray[np.uint64]
    coefficients: Channels
    bases: NDArray[np.int8]


def execute(m: Memories, v: Values) -> Operands:
    """One convolution if the intermediate values are exact, else both stages."""
    tile = m.act_tile(v)
    bases = m.par[v["basis"] : v["basis"] + v["v"] * v["r"] * v["s"]].view(np.int8).reshape(v["v"], v["r"], v["s"])

    def make() -> tuple[tuple[WeightMatrix | Decomposed, Channels], int]:
        data = m.coef[v["coef"] : v["coef"] + v["size"]].tobytes()
        channels = unpack_streams(data, v["bit"], stream_code(v), (v["kn"], v["v"], v["ic"]))
        weights = fold(channels.t, bases.reshape(v["v"], -1), v["ic_shift"], m.target.array.ic_bits, v["signed"])
        nbytes = (weights.matrix if isinstance(weights, WeightMatrix) else weights.t).nbytes
        return (weights, channels), nbytes + channels.t.nbytes

    weights, channels = m.derived(make)
    if isinstance(weights, WeightMatrix):
        convolve(tile, window_of(v), v["signed"], [(0, v["ic"], weights)], m.psum_tile(v), False, m.last_patches)
    else:
        convolve_decomposed(tile, window_of(v), v["signed"], weights, m.psum_tile(v))
    return Operands(m.act_values(v), m.act_bitmaps(v), channels, bases)


def streams(v: Values, target: Target) -> Streams:
    """The array as the instruction divides it."""
    a = target.array
    records = RecordLayout(v["ic"], a.chunk)
    return Streams(
        groups=v["groups"],
        blocks=a.blocks,
        slices=working_slices(v["ic"], greatest_magnitude(v), target),
        macs=a.macs,
        lanes=a.ca_lanes,
        fifo_depth=max(1, a.fifo_chunks // records.chunks),
        ic_depth=a.ic_fifo_depth,
        broadcast=ceil_div(records.chunks, a.broadcast_chunks),
        expand_rate=a.expand_rate,
        expand_bytes=a.expand_bytes,
        bitmap_bytes=records.bitmap_bytes,
    )


def record(entry: Entry, v: Values, operands: Operands) -> None:
    """Cycles and waiting times of the slices follow the bitmaps."""
    a = entry.target.array
    coefficients = Coefficients(
        coefficient_bitmaps(operands.coefficients.t, a.chunk), operands.coefficients.sizes, operands.bases != 0
    )
    divided = streams(v, entry.target)
    counts = np.zeros(len(Streamed), np.int64)
    found = stream(operands.bits, coefficients, window_of(v), divided, counts)
    seen = {which: int(counts[which]) for which in Streamed}
    entry.takes(a.issue_cycles + found.cycles, found.expansion, found.released)
    entry.reads_inputs(operands.tile)
    waits = {
        Count.CA_WORK: seen[Streamed.WORK],
        Count.CA_BROADCAST: seen[Streamed.BROADCAST],
        Count.CA_FIFO: seen[Streamed.FIFO],
        Count.CA_EXPANSION: seen[Streamed.EXPANSION],
        Count.CA_MAC: seen[Streamed.MAC],
        Count.CA_ADDER_TREE: seen[Streamed.ADDER_TREE],
    }
    waits[Count.CA_IMBALANCE] = a.blocks * a.slices * found.cycles - sum(waits.values())
    for count, number in (*waits.items(), *_events(v, operands, divided, seen, entry.target).items()):
        entry.add(count, number)


def _events(
    v: Values, operands: Operands, divided: Streams, seen: dict[Streamed, int], target: Target
) -> dict[Count, int]:
    """Operations, and bytes of memories. A partial sum is only written where it is met first."""
    a = target.array
    clusters = ceil_div(a.blocks // v["groups"], a.fifo_blocks)
    word = register_bits(greatest_magnitude(v)) * divided.bitmap_bytes  # coefficients of a chunk
    sums = max(seen[Streamed.SUMS], output_values(v))
    return {
        Count.WEIGHT_NONZEROS: int(np.count_nonzero(operands.coefficients.t)) * v["groups"],
        Count.MATCHES: seen[Streamed.MATCHES],
        Count.CA_ADD_INT8: seen[Streamed.MATCHES],
        Count.CA_ADD_INT32: seen[Streamed.WORK],
        Count.MULTIPLICATIONS: seen[Streamed.PRODUCTS],
        Count.MAC_MUL_INT8: seen[Streamed.PRODUCTS] * ceil_div(a.ic_bits, 8),
        Count.MAC_ADD_INT32: seen[Streamed.PRODUCTS],
        Count.PSUM_WRITE: 4 * sums,
        Count.PSUM_READ: 4 * (sums - output_values(v)),
        Count.ACT_READ: seen[Streamed.POSITIONS] * v["ic"],
        Count.FIFO_WRITE: seen[Streamed.BROADCAST_BYTES] * clusters,
        Count.FIFO_READ: seen[Streamed.TAKEN_BYTES],
        Count.REGISTERS_WRITE: seen[Streamed.WORDS_WRITTEN] * word,
        Count.REGISTERS_READ: seen[Streamed.WORDS_READ] * word,
    }


UNIT = Unit(SPEC, execute, record, accumulates=True)
