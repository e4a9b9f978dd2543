"""`conv.esc`: a decomposed convolution into partial sums."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emulator.arithmetic import ActTile, Decomposed, TileConvolution, WeightMatrix, convolve, convolve_decomposed, fold
from emulator.geometry import Longs, packed, window_of
from emulator.kernels import mark
from emulator.memories import Memories
from emulator.recording import Entry, InputTile, columns
from emulator.streaming import Coefficients, Streamed, Streams, stream
from emulator.unit import Accumulating, Unit
from isa.blocks import coefficient_bitmaps
from isa.coefficients import unpack_streams
from isa.costs import output_values
from isa.counts import Count
from isa.field_groups import stream_code_of
from isa.instructions.conv_esc import (
    ADDER_TREE,
    BROADCAST,
    EXPANDED,
    EXPANDING,
    EXPANSION,
    FIFO,
    IMBALANCE,
    ISSUE,
    MAC,
    SPEC,
    WORK,
    greatest_magnitude,
    register_bits,
    working_slices,
)
from isa.integers import Values, ceil_div
from isa.layout import RecordLayout
from isa.target import Target

_WAITS = {
    WORK: Streamed.WORK,
    BROADCAST: Streamed.BROADCAST,
    FIFO: Streamed.FIFO,
    EXPANSION: Streamed.EXPANSION,
    MAC: Streamed.MAC,
    ADDER_TREE: Streamed.ADDER_TREE,
}
_EVENTS = (
    EXPANDING,
    EXPANDED,
    Count.WEIGHT_NONZEROS,
    Count.MATCHES,
    Count.CA_ADD_INT8,
    Count.CA_ADD_INT32,
    Count.MULTIPLICATIONS,
    Count.MAC_MUL_INT8,
    Count.MAC_ADD_INT32,
    Count.PSUM_WRITE,
    Count.PSUM_READ,
    Count.ACT_READ,
    Count.FIFO_WRITE,
    Count.FIFO_READ,
    Count.REGISTERS_WRITE,
    Count.REGISTERS_READ,
)
_COUNTED = columns(*_WAITS, IMBALANCE, *_EVENTS)


class Derived(NamedTuple):
    """What an instruction derives from constants: the convolution, and what the cycle model asks of it, packed."""

    convolution: TileConvolution
    decomposed: Decomposed | None
    coefficients: Coefficients
    nonzeros: int
    expanding: int
    """Cycles in which blocks expand the coefficients once."""
    numbers: Longs

    @property
    def nbytes(self) -> int:
        """Bytes that it holds."""
        stages = 0 if self.decomposed is None else self.decomposed.t.nbytes
        return self.convolution.nbytes + stages + sum(array.nbytes for array in self.coefficients)


class Operands(NamedTuple):
    """The input tile, its bitmaps in image 0, and what does not depend on it."""

    tile: InputTile
    bits: NDArray[np.uint64]
    constant: Derived


def _constant(m: Memories, v: Values) -> Derived:
    shape = (v["v"], v["r"], v["s"])
    bases = m.par[v["basis"] : v["basis"] + v["v"] * v["r"] * v["s"]].view(np.int8).reshape(shape)
    data = m.coef[v["coef"] : v["coef"] + v["size"]].tobytes()
    t, sizes = unpack_streams(data, v["bit"], stream_code_of(v), (v["kn"], v["v"], v["ic"]))
    weights = fold(t, bases.reshape(v["v"], -1), v["ic_shift"], m.target.array.ic_bits, v["signed"])
    groups = [(0, v["ic"], weights)] if isinstance(weights, WeightMatrix) else []
    coefficients = Coefficients(coefficient_bitmaps(t, m.chunk), sizes, bases != 0)
    of_chunks, rate = np.bitwise_count(coefficients.bits).astype(np.int64), m.target.array.expand_rate
    window = window_of(v)
    return Derived(
        TileConvolution.of(m.act_place(v), window, v["signed"], groups),
        weights if isinstance(weights, Decomposed) else None,
        coefficients,
        int(of_chunks.sum()),
        int(((of_chunks + rate - 1) // rate).sum()),
        packed(window, streams(v, m.target)),
    )


def execute(m: Memories, v: Values) -> Operands:
    """One convolution if the intermediate values are exact, else both stages."""

    def make() -> tuple[Derived, int]:
        made = _constant(m, v)
        return made, made.nbytes

    constant, act = m.derived(make), m.act_source(v)
    c = constant.convolution
    if constant.decomposed is None:
        convolve(c, act, m.psum_tile(v), False, m.last_patches)
    else:
        convolve_decomposed(ActTile(act, c.place), c.window, v["signed"], constant.decomposed, m.psum_tile(v))
    chunks = RecordLayout(v["ic"], m.chunk).chunks
    bits = np.empty((v["ih"] * v["iw"], chunks), np.uint64)
    mark(act, c.numbers, m.chunk, bits)
    return Operands(InputTile(act, c.numbers), bits, constant)


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
    a, constant = entry.target.array, operands.constant
    counts = np.zeros(len(Streamed), np.int64)
    found = stream(operands.bits, *constant.coefficients, constant.numbers, counts)
    seen = counts.tolist()
    entry.takes(a.issue_cycles + found.cycles, found.expansion, found.released)
    entry.reads_inputs(operands.tile)
    waits = [seen[number] for number in _WAITS.values()]
    imbalance = a.blocks * a.slices * found.cycles - sum(waits)
    entry.add_all(_COUNTED, [*waits, imbalance, *_events(v, constant, seen, entry.target)])


def _events(v: Values, constant: Derived, seen: list[int], target: Target) -> tuple[int, ...]:
    """`_EVENTS`: operations, and bytes of memories. A partial sum is only written where it is met first."""
    a = target.array
    clusters = ceil_div(a.blocks // v["groups"], a.fifo_blocks)
    chunk_bytes = register_bits(greatest_magnitude(v)) * RecordLayout(v["ic"], a.chunk).bitmap_bytes
    sums, outputs = max(seen[Streamed.SUMS], output_values(v)), output_values(v)
    return (
        constant.expanding * v["groups"],
        constant.nonzeros * v["groups"],
        constant.nonzeros * v["groups"],
        seen[Streamed.MATCHES],
        seen[Streamed.MATCHES],
        seen[Streamed.WORK],
        seen[Streamed.PRODUCTS],
        seen[Streamed.PRODUCTS] * ceil_div(a.ic_bits, 8),
        seen[Streamed.PRODUCTS],
        4 * sums,
        4 * (sums - outputs),
        seen[Streamed.POSITIONS] * v["ic"],
        seen[Streamed.BROADCAST_BYTES] * clusters,
        seen[Streamed.TAKEN_BYTES],
        seen[Streamed.WORDS_WRITTEN] * chunk_bytes,
        seen[Streamed.WORDS_READ] * chunk_bytes,
    )


UNIT = Unit(SPEC, execute, record, accumulating=Accumulating(ISSUE, EXPANSION))
