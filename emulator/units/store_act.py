"""`store.act`: a tile of ACT to DRAM."""

from __future__ import annotations

from emulator import kernels
from emulator.memories import Memories
from emulator.recording import Entry
from emulator.transfers import Moved, record_transfer, transfer_of
from emulator.unit import Unit
from isa.counts import Count
from isa.instructions.store_act import SPEC, cycles
from isa.integers import Values


def execute(m: Memories, v: Values) -> Moved:
    """Copy to a RAW region, or compress into the lines of a BITMAP region."""
    transfer = transfer_of(m, v)
    if transfer.raw:
        kernels.store_raw(m.act, m.arena, transfer.numbers)
        return Moved(transfer)
    lines = transfer.room()
    kernels.store_bitmap(m.act, m.arena, transfer.numbers, lines)
    return Moved(transfer, lines)


def record(entry: Entry, v: Values, moved: Moved) -> None:
    """Bytes of image 0."""
    entry.takes(cycles(v, record_transfer(entry, moved, Count.DRAM_ACTIVATIONS_OUT), entry.target))


UNIT = Unit(SPEC, execute, record)
