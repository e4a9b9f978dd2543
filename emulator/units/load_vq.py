"""`load.vq`: packed codes to weights in COEF, through a book in PAR."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emulator.memories import Memories
from emulator.recording import Entry
from emulator.unit import Unit
from isa.codebook import expand
from isa.counts import Count
from isa.errors import UserError
from isa.instructions.load_vq import SPEC, cycles
from isa.integers import Values
from isa.layout import WEIGHT_TABLE_BYTES
from isa.weight_decoder import MAGNITUDES
from isa.weights import unpack_weights


class Looked(NamedTuple):
    """Codes and weights that are not zero."""

    codes: int
    weights: int


def execute(m: Memories, v: Values) -> Looked:
    """Returns what is not zero. Raises UserError if a code names an entry that the book lacks."""

    def make() -> tuple[NDArray[np.int8], int]:
        table = m.constant(v["table"], WEIGHT_TABLE_BYTES)
        codes = unpack_weights(m.constant(v["dram"], v["size"]), table, v["count"])
        return codes, codes.nbytes

    codes = m.derived(make)
    shape = v["entries"], v["span"], v["depth"]
    book = m.par[v["book"] : v["book"] + math.prod(shape)].view(np.int8).reshape(shape)
    try:
        weights = expand(codes, book, v["run"])
    except ValueError as error:
        raise UserError(f"load.vq: {error}") from error
    m.coef[v["dst"] : v["dst"] + weights.size] = weights.view(np.uint8)
    return Looked(int(np.count_nonzero(codes)), int(np.count_nonzero(weights)))


def record(entry: Entry, v: Values, loaded: Looked) -> None:
    """Both transfers; a code that is not zero takes a decoder, and reads an entry of the book."""
    entry.takes(cycles(v, entry.target, loaded.codes))
    entry.request(Count.DRAM_WEIGHTS, (v["table"], WEIGHT_TABLE_BYTES), (v["dram"], v["size"]))
    entry.add(Count.PAR_READ, loaded.codes * v["span"] * v["depth"])
    entry.add(Count.WEIGHT_NONZEROS, loaded.weights)
    entry.add(MAGNITUDES, loaded.codes)


UNIT = Unit(SPEC, execute, record)
