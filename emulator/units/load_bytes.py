"""`load.bytes`: constants to COEF, PAR or ACT."""

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
    pad = {Scratchpad.COEF: m.coef, Scratchpad.PAR: m.par, Scratchpad.ACT: m.act}[Scratchpad(v["pad"])]
    data = m.rodata[v["dram"] : v["dram"] + v["size"]]
    pad[..., v["dst"] : v["dst"] + v["size"]] = data
    return data


def record(entry: Entry, v: Values, data: Bytes) -> None:
    """What goes to COEF or ACT are weights; those in COEF are plain, and their non-zeros count."""
    parameters = v["pad"] == Scratchpad.PAR
    entry.request(Count.DRAM_PARAMETERS if parameters else Count.DRAM_WEIGHTS, (v["dram"], v["size"]))
    if v["pad"] == Scratchpad.COEF:
        entry.add(Count.WEIGHT_NONZEROS, int(np.count_nonzero(data)))


UNIT = Unit(SPEC, execute, record)
