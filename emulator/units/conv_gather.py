"""`conv.gather`: a convolution with sparse weights into partial sums."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emulator.arithmetic import Groups, WeightMatrix, convolve, largest_activation
from emulator.geometry import window_of
from emulator.memories import Memories
from emulator.recording import Entry
from emulator.unit import Unit
from isa.costs import multiplications, window_taps
from isa.counts import Count
from isa.gather import Unpacked, unpack_gather
from isa.instructions.conv_gather import SPEC, cycles, gathering, lanes, position_sets
from isa.integers import Values, ceil_div


class Gathered(NamedTuple):
    """The tile of image 0, and the stream."""

    tile: NDArray[np.uint8]
    stream: Unpacked


def execute(m: Memories, v: Values) -> Gathered:
    """One matrix product. Raises UserError if the stream is malformed, or a sum leaves int32."""

    def make() -> tuple[tuple[Groups, Unpacked], int]:
        data = m.coef[v["coef"] : v["coef"] + v["size"]].tobytes()
        stream = unpack_gather(data, gathering(v), (v["kn"], v["r"] * v["s"], v["c"]))
        matrix = WeightMatrix.of(stream.weights.reshape(v["kn"], -1), largest_activation(v["signed"]))
        return ([(v["cs"], v["c"], matrix)], stream), matrix.matrix.nbytes + stream.weights.nbytes

    groups, stream = m.derived(make)
    accumulate = bool(v["accumulate"])
    convolve(m.act_tile(v), window_of(v), v["signed"], groups, m.psum_tile(v), accumulate, m.last_patches)
    return Gathered(m.act_values(v), stream)


def record(entry: Entry, v: Values, gathered: Gathered) -> None:
    """Cycles, and what becomes of the multipliers in them, follow the entries of the banks.

    `GATHER_WORK` counts the multipliers of a block that take an entry. Those of `GATHER_CONFLICT` wait because the
    entries of a bundle do not lie in its banks in equal numbers; those of `GATHER_IMBALANCE` would have no entry even
    if they did.
    """
    target, stream = entry.target, gathered.stream
    sets, width = position_sets(v, target), lanes(target)
    groups, entries = int(stream.groups.sum()), int(stream.entries.sum())
    least = sum(ceil_div(n, v["banks"]) for n in stream.entries.tolist())
    entry.takes(cycles(v, target, groups))
    entry.reads_inputs(gathered.tile)
    products = _products(v, stream)
    events = {
        **multiplications(products),
        Count.WEIGHT_NONZEROS: entries,
        Count.REGISTERS_READ: products,
        Count.GATHER_WORK: entries * sets,
        Count.GATHER_CONFLICT: (groups - least) * width * sets,
        Count.GATHER_IMBALANCE: (least * width - entries) * sets,
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
