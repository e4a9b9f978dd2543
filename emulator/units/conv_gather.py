"""`conv.gather`: a convolution with sparse weights into partial sums."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from emulator.arithmetic import TileConvolution, WeightMatrix, convolve
from emulator.geometry import window_of
from emulator.memories import Memories
from emulator.recording import Entry, InputTile
from emulator.unit import Unit
from isa.costs import multiplications, window_taps
from isa.counts import Count
from isa.gather import Unpacked, unpack_gather
from isa.instructions.conv_gather import (
    CONFLICT,
    ENTRIES,
    GROUPS,
    IMBALANCE,
    PRODUCTS,
    SPEC,
    WORK,
    cycles,
    filling,
    gathering,
    lanes,
    position_sets,
    set_cycles,
)
from isa.integers import Values, ceil_div


class GatherInputs(NamedTuple):
    """The input tile, and the stream."""

    tile: InputTile
    stream: Unpacked


def execute(m: Memories, v: Values) -> GatherInputs:
    """One matrix product. Raises UserError if the stream is malformed, or a sum leaves int32."""

    def make() -> tuple[tuple[TileConvolution, Unpacked], int]:
        data = m.coef[v["coef"] : v["coef"] + v["size"]].tobytes()
        stream = unpack_gather(data, gathering(v), (v["kn"], v["r"] * v["s"], v["c"]))
        matrix = WeightMatrix.of(stream.weights.reshape(v["kn"], -1), v["signed"])
        made = TileConvolution.of(m.act_place(v), window_of(v), v["signed"], [(v["cs"], v["c"], matrix)])
        return (made, stream), made.nbytes + stream.weights.nbytes

    (made, stream), act = m.derived(make), m.act_source(v)
    convolve(made, act, m.psum_tile(v), bool(v["accumulate"]), m.last_patches)
    return GatherInputs(InputTile(act, made.numbers), stream)


def record(entry: Entry, v: Values, inputs: GatherInputs) -> None:
    """Cycles, and what becomes of the multipliers in them, follow the entries of the banks.

    `WORK` counts the multipliers of a block that take an entry. Those of `CONFLICT` wait because the entries of a
    bundle do not lie in its banks in equal numbers; those of `IMBALANCE` would have no entry even if they did.
    """
    target, stream = entry.target, inputs.stream
    sets, width = position_sets(v, target), lanes(target)
    groups, entries = int(stream.groups.sum()), int(stream.entries.sum())
    least = sum(ceil_div(n, v["banks"]) for n in stream.entries.tolist())
    entry.takes(cycles(v, target, groups), filling(v, target), set_cycles(v, target, groups))
    entry.reads_inputs(inputs.tile)
    products = _products(v, stream)
    events = {
        **multiplications(products),
        Count.WEIGHT_NONZEROS: entries,
        Count.REGISTERS_READ: products,
        PRODUCTS: products,
        GROUPS: groups * sets,
        WORK: entries * sets,
        ENTRIES: entries * sets,
        CONFLICT: (groups - least) * width * sets,
        IMBALANCE: (least * width - entries) * sets,
    }
    for count, number in events.items():
        entry.add(count, int(number))


def _products(v: Values, stream: Unpacked) -> int:
    """Products of entries with positions inside the tile."""
    each = np.count_nonzero(stream.weights, axis=(0, 2)).reshape(v["r"], v["s"])
    one = {**v, "r": 1, "s": 1}
    return sum(
        int(each[i, j]) * int(window_taps({**one, "pt": v["pt"] - i, "pl": v["pl"] - j}))
        for i in range(v["r"])
        for j in range(v["s"])
    )


UNIT = Unit(SPEC, execute, record)
