"""`load.act`: DRAM to a tile of ACT."""

from __future__ import annotations

from emulator import kernels
from emulator.memories import Memories
from emulator.recording import Entry
from emulator.transfers import Moved, record_transfer, transfer_of
from emulator.unit import Unit
from isa.counts import Count
from isa.errors import UserError
from isa.instructions.load_act import SPEC, cycles
from isa.integers import Values


def execute(m: Memories, v: Values) -> Moved:
    """Copy a RAW region, or expand the lines of a BITMAP region."""
    transfer = transfer_of(m, v)
    if transfer.raw:
        kernels.load_raw(m.arena, m.act, transfer.numbers)
        return Moved(transfer)
    lines = transfer.room()
    if not kernels.load_bitmap(m.arena, m.act, transfer.numbers, lines):
        raise UserError("a bitmap of the tensor has bits beyond its channels")
    return Moved(transfer, lines)


def record(entry: Entry, v: Values, moved: Moved) -> None:
    """Bytes of image 0."""
    entry.takes(cycles(v, record_transfer(entry, moved, Count.DRAM_ACTIVATIONS_IN), entry.target))


UNIT = Unit(SPEC, execute, record)
