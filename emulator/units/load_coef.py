"""`load.coef`: packed ternary coefficients to bitmaps in COEF."""

from __future__ import annotations

import numpy as np

from emulator.kernels import Bytes
from emulator.memories import Memories
from emulator.recording import Entry
from emulator.unit import Unit
from isa.blocks import pack_coefficients
from isa.counts import Count
from isa.formats import CoefficientFormat
from isa.instructions.load_coef import SPEC
from isa.integers import Values
from isa.packing import unpack


def execute(m: Memories, v: Values) -> int:
    """Returns the coefficients that are not zero."""

    def make() -> tuple[tuple[Bytes, int], int]:
        t = unpack(m.constant(v["dram"], v["size"]), CoefficientFormat(v["coding"]), v["kn"], v["v"], v["c"])
        data = pack_coefficients(t, m.chunk)
        return (data, int(np.count_nonzero(t))), data.nbytes

    data, nonzeros = m.derived(make)
    m.coef[v["coef"] : v["coef"] + len(data)] = data
    return nonzeros


def record(entry: Entry, v: Values, nonzeros: int) -> None:
    """The transfer and the non-zeros."""
    entry.request(Count.DRAM_WEIGHTS, (v["dram"], v["size"]))
    entry.add(Count.WEIGHT_NONZEROS, nonzeros)


UNIT = Unit(SPEC, execute, record)
