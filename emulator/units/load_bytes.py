"""`load.bytes`: constants to COEF or PAR."""

from __future__ import annotations

import numpy as np

from emulator.kernels import Bytes
from emulator.memories import Memories
from emulator.recording import Entry
from emulator.unit import Unit
from isa.counts import Count
from isa.formats import Scratchpad
from isa.instructions.load_bytes import SPEC
from isa.integers import Values


def execute(m: Memories, v: Values) -> Bytes:
    """Returns the bytes."""
    pad = m.coef if v["pad"] == Scratchpad.COEF else m.par
    data = m.rodata[v["dram"] : v["dram"] + v["size"]]
    pad[v["dst"] : v["dst"] + v["size"]] = data
    return data


def record(entry: Entry, v: Values, data: Bytes) -> None:
    """What goes to COEF are weights, of which the non-zeros count."""
    weights = v["pad"] == Scratchpad.COEF
    entry.request(Count.DRAM_WEIGHTS if weights else Count.DRAM_PARAMETERS, (v["dram"], v["size"]))
    if weights:
        entry.add(Count.WEIGHT_NONZEROS, int(np.count_nonzero(data)))


UNIT = Unit(SPEC, execute, record)
