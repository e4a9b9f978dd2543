"""`load.weights`: packed dense weights to bytes in COEF."""

from __future__ import annotations

import numpy as np

from emulator.kernels import Bytes
from emulator.memories import Memories
from emulator.recording import Entry
from emulator.unit import Unit
from isa.counts import Count
from isa.instructions.load_weights import SPEC, cycles
from isa.integers import Values
from isa.layout import WEIGHT_TABLE_BYTES
from isa.weights import unpack_weights


def execute(m: Memories, v: Values) -> int:
    """Returns the weights that are not zero."""
    m.check_staged(v)

    def make() -> tuple[tuple[Bytes, int], int]:
        table = m.constant(v["table"], WEIGHT_TABLE_BYTES)
        data = unpack_weights(m.constant(v["dram"], v["size"]), table, v["count"]).view(np.uint8)
        return (data, int(np.count_nonzero(data))), data.nbytes

    data, nonzeros = m.shared((SPEC.mnemonic, v["table"], v["dram"], v["size"], v["count"]), make)
    m.coef[v["dst"] : v["dst"] + len(data)] = data
    return nonzeros


def record(entry: Entry, v: Values, nonzeros: int) -> None:
    """The transfers from DRAM; non-zero weights take a code each."""
    entry.takes(cycles(v, entry.target, nonzeros))
    packed = () if v["staged"] else ((v["dram"], v["size"]),)
    entry.request(Count.DRAM_WEIGHTS, (v["table"], WEIGHT_TABLE_BYTES), *packed)
    entry.add(Count.WEIGHT_NONZEROS, nonzeros)


UNIT = Unit(SPEC, execute, record)
