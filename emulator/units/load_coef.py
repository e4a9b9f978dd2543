"""`load.coef`: streams of coefficients to COEF as they are."""

from __future__ import annotations

from emulator.memories import Memories
from emulator.recording import Entry
from emulator.unit import Unit
from isa.counts import Count
from isa.instructions.load_coef import SPEC
from isa.integers import Values


def execute(m: Memories, v: Values) -> None:
    """Copy the bytes."""
    m.check_staged(v)
    m.coef[v["coef"] : v["coef"] + v["size"]] = m.rodata[v["dram"] : v["dram"] + v["size"]]


def record(entry: Entry, v: Values, _: None) -> None:
    """The transfer, if it is one from DRAM."""
    if not v["staged"]:
        entry.request(Count.DRAM_WEIGHTS, (v["dram"], v["size"]))


UNIT = Unit(SPEC, execute, record)
