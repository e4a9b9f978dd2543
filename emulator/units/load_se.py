"""`load.se`: streams of coefficients to weights in COEF, through vectors in PAR."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emulator.memories import Memories
from emulator.recording import Entry
from emulator.unit import Unit
from isa.coefficients import unpack_streams
from isa.counts import Count
from isa.field_groups import stream_code_of
from isa.instructions.load_se import SPEC, cycles, vector_bytes
from isa.integers import Values
from isa.smartexchange import weights
from isa.weight_decoder import MAGNITUDES


class Rebuilt(NamedTuple):
    """Coefficients and weights that are not zero."""

    coefficients: int
    weights: int


def execute(m: Memories, v: Values) -> Rebuilt:
    """Returns what is not zero. Raises `PackingError` if the streams are not exactly those of the fields."""

    def make() -> tuple[NDArray[np.int8], int]:
        shape = v["kn"], v["terms"] * v["rows"], v["run"]
        t = unpack_streams(m.constant(v["dram"], v["size"]), 0, stream_code_of(v), shape).t
        return t, t.nbytes

    t = m.derived(make).reshape(v["kn"], v["terms"], v["rows"], 1, v["run"])
    vectors = m.par[v["vectors"] : v["vectors"] + vector_bytes(v)].view(np.int8)
    # A row of the window with several patches side by side lies in memory like several rows with one.
    found = weights(t, vectors.reshape(-1, v["terms"], v["span"], v["depth"]), v["shift"])
    m.coef[v["dst"] : v["dst"] + found.size] = found.reshape(-1).view(np.uint8)
    return Rebuilt(int(np.count_nonzero(t)), int(np.count_nonzero(found)))


def record(entry: Entry, v: Values, rebuilt: Rebuilt) -> None:
    """The transfer; a coefficient that is not zero takes a decoder, and an addition for each value of its vector."""
    entry.takes(cycles(v, entry.target, rebuilt.coefficients))
    entry.request(Count.DRAM_WEIGHTS, (v["dram"], v["size"]))
    entry.add(Count.CA_ADD_INT32, rebuilt.coefficients * v["span"] * v["depth"])
    entry.add(Count.WEIGHT_NONZEROS, rebuilt.weights)
    entry.add(MAGNITUDES, rebuilt.coefficients)


UNIT = Unit(SPEC, execute, record)
