"""`load.act`: DRAM to a tile of ACT."""

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
from isa.errors import UserError
from isa.field_groups import bitmap_layout
from isa.formats import TensorFormat
from isa.instructions.load_act import SPEC, cycles
from isa.integers import Values


class Loaded(NamedTuple):
    """The region; of image 0, bytes of its BITMAP lines (None for a RAW tensor), and their slots."""

    region: Region
    moved: Longs | None
    line_bytes: int


def execute(m: Memories, v: Values) -> Loaded:
    """Copy a RAW region, or expand the lines of a BITMAP region."""
    region, tile = region_of(v, m.arena_base), tile_of(v, "act", "h", "w", "cn")
    if v["format"] == TensorFormat.RAW:
        kernels.load_raw(m.arena, region, m.act, tile)
        return Loaded(region, None, 0)
    moved = room_for_lines(region, m.chunk)
    line_bytes = bitmap_layout(v, m.chunk).line_bytes
    if not kernels.load_bitmap(m.arena, region, m.act, tile, m.chunk, line_bytes, moved):
        raise UserError("a bitmap of the tensor has bits beyond its channels")
    return Loaded(region, moved, line_bytes)


def record(entry: Entry, v: Values, seen: Loaded) -> None:
    """Bytes of image 0."""
    fetched = record_region(entry, seen.region, v["dram"], seen.moved, seen.line_bytes, Count.DRAM_ACTIVATIONS_IN)
    entry.takes(cycles(v, fetched, entry.target))


UNIT = Unit(SPEC, execute, record)
