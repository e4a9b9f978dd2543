"""`load.par`: packed requantisation parameters to blocks in PAR."""

from __future__ import annotations

import numpy as np

from emulator.kernels import Bytes
from emulator.memories import Memories
from emulator.recording import Entry
from emulator.unit import Unit
from isa.counts import Count
from isa.instructions.load_par import SPEC
from isa.integers import Values
from isa.parameters import plain_blocks, unpack_parameters


def execute(m: Memories, v: Values) -> None:
    """Expand the parameters."""

    def make() -> tuple[Bytes, int]:
        parameters = unpack_parameters(m.constant(v["dram"], v["size"]), v["kn"])
        data = np.frombuffer(plain_blocks(*parameters, v["block"]), np.uint8)
        return data, data.nbytes

    data = m.derived(make)
    m.par[v["dst"] : v["dst"] + len(data)] = data


def record(entry: Entry, v: Values, _: None) -> None:
    """The transfer."""
    entry.request(Count.DRAM_PARAMETERS, (v["dram"], v["size"]))


UNIT = Unit(SPEC, execute, record)
