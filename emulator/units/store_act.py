"""`store.act`: a tile of ACT to DRAM."""

from __future__ import annotations

from typing import NamedTuple

from emulator import kernels
from emulator.geometry import Region, region_of, tile_of
from emulator.kernels import Longs
from emulator.memories import Memories
from emulator.recording import Entry
from emulator.transfers import record_region, room_for_lines
from emulator.unit import Unit
from isa.counts import Count
from isa.field_groups import bitmap_layout
from isa.formats import TensorFormat
from isa.instructions.store_act import SPEC, cycles
from isa.integers import Values


class Stored(NamedTuple):
    """The region; bytes of each of its BITMAP lines of image 0 (None for a RAW tensor), and of their slots."""

    region: Region
    moved: Longs | None
    line_bytes: int


def execute(m: Memories, v: Values) -> Stored:
    """Copy to a RAW region, or compress into the lines of a BITMAP region."""
    region, tile = region_of(v, m.arena_base), tile_of(v, "act", "h", "w", "cn")
    if v["format"] == TensorFormat.RAW:
        kernels.store_raw(m.act, tile, m.arena, region)
        return Stored(region, None, 0)
    moved, line_bytes = room_for_lines(region, m.chunk), bitmap_layout(v, m.chunk).line_bytes
    kernels.store_bitmap(m.act, tile, m.arena, region, m.chunk, line_bytes, moved)
    return Stored(region, moved, line_bytes)


def record(entry: Entry, v: Values, seen: Stored) -> None:
    """Bytes of image 0."""
    written = record_region(entry, seen.region, v["dram"], seen.moved, seen.line_bytes, Count.DRAM_ACTIVATIONS_OUT)
    entry.takes(cycles(v, written, entry.target))


UNIT = Unit(SPEC, execute, record)
