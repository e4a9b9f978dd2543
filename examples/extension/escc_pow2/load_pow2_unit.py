"""The unit of `load.pow2`."""

from __future__ import annotations

import numpy as np

from emulator.kernels import Bytes
from emulator.memories import Memories
from emulator.recording import Entry
from emulator.unit import Unit
from escc_pow2.codes import packed_bytes, unpack
from escc_pow2.load_pow2 import SHIFTED, SKIPPED, SPEC
from isa.counts import Count
from isa.errors import UserError
from isa.integers import Values


def execute(m: Memories, v: Values) -> int:
    """Returns the weights that are not zero."""

    def make() -> tuple[tuple[Bytes, int], int]:
        try:
            data = unpack(m.constant(v["dram"], packed_bytes(v["count"])), v["count"]).view(np.uint8)
        except ValueError as error:
            raise UserError(f"load.pow2: {error}") from error
        return (data, int(np.count_nonzero(data))), data.nbytes

    data, nonzeros = m.derived(make)
    m.coef[v["dst"] : v["dst"] + v["count"]] = data
    return nonzeros


def record(entry: Entry, v: Values, nonzeros: int) -> None:
    """The transfer from DRAM, and what becomes of the codes; cycles are in the closed form."""
    entry.request(Count.DRAM_WEIGHTS, (v["dram"], packed_bytes(v["count"])))
    entry.add(Count.WEIGHT_NONZEROS, nonzeros)
    entry.add(SHIFTED, nonzeros)
    entry.add(SKIPPED, v["count"] - nonzeros)


UNIT = Unit(SPEC, execute, record)
