"""`load.weights`: packed dense weights to bytes in COEF."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from emulator.kernels import Bytes
from emulator.memories import Memories
from emulator.recording import Entry
from emulator.unit import Unit
from isa.counts import Count
from isa.instructions.load_weights import SPEC, cycles
from isa.integers import Values
from isa.layout import WEIGHT_TABLE_BYTES
from isa.weight_decoder import MAGNITUDES
from isa.weights import unpack_weights


class Expanded(NamedTuple):
    """Weights, how many of them are not zero, and the cycles that their expansion takes."""

    data: Bytes
    nonzeros: int
    cycles: int


def execute(m: Memories, v: Values) -> Expanded:
    """Expand the weights."""
    m.check_staged(v)

    def make() -> tuple[Expanded, int]:
        table = m.constant(v["table"], WEIGHT_TABLE_BYTES)
        data = unpack_weights(m.constant(v["dram"], v["size"]), table, v["count"]).view(np.uint8)
        nonzeros = int(np.count_nonzero(data))
        return Expanded(data, nonzeros, int(cycles(v, m.target, nonzeros))), data.nbytes

    found = m.shared((SPEC.mnemonic, v["table"], v["dram"], v["size"], v["count"]), make)
    m.coef[v["dst"] : v["dst"] + len(found.data)] = found.data
    return found


def record(entry: Entry, v: Values, found: Expanded) -> None:
    """The transfers from DRAM; non-zero weights take a code each."""
    entry.takes(found.cycles)
    packed = () if v["staged"] else ((v["dram"], v["size"]),)
    entry.request(Count.DRAM_WEIGHTS, (v["table"], WEIGHT_TABLE_BYTES), *packed)
    entry.add(Count.WEIGHT_NONZEROS, found.nonzeros)
    entry.add(MAGNITUDES, found.nonzeros)


UNIT = Unit(SPEC, execute, record)
