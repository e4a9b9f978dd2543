"""`load.circ`: packed values of circulant blocks to weights in COEF."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emulator.memories import Memories
from emulator.recording import Entry
from emulator.unit import Unit
from isa.circulant import expand
from isa.counts import Count
from isa.instructions.load_circ import SPEC, cycles, values
from isa.integers import Values, ceil_div
from isa.layout import WEIGHT_TABLE_BYTES
from isa.weight_decoder import MAGNITUDES
from isa.weights import unpack_weights


class Spread(NamedTuple):
    """The weights, and the values that are not zero."""

    weights: NDArray[np.uint8]
    nonzeros: int


def execute(m: Memories, v: Values) -> Spread:
    """Returns what was written. Raises `PackingError` if the bytes are not the values of the fields."""

    def make() -> tuple[Spread, int]:
        table = m.constant(v["table"], WEIGHT_TABLE_BYTES)
        found = unpack_weights(m.constant(v["dram"], v["size"]), table, values(v))
        shape = -1, v["taps"], 1, ceil_div(v["run"], v["block"]), v["block"]
        weights = expand(found.reshape(shape), v["first"], v["kn"], v["run"]).reshape(-1).view(np.uint8)
        return Spread(weights, int(np.count_nonzero(found))), weights.nbytes

    spread = m.derived(make)
    m.coef[v["dst"] : v["dst"] + spread.weights.size] = spread.weights
    return spread


def record(entry: Entry, v: Values, spread: Spread) -> None:
    """Both transfers; a value that is not zero takes a decoder."""
    entry.takes(cycles(v, entry.target, spread.nonzeros))
    entry.request(Count.DRAM_WEIGHTS, (v["table"], WEIGHT_TABLE_BYTES), (v["dram"], v["size"]))
    entry.add(Count.WEIGHT_NONZEROS, int(np.count_nonzero(spread.weights)))
    entry.add(MAGNITUDES, spread.nonzeros)


UNIT = Unit(SPEC, execute, record)
