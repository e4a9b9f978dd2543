"""`store.act`: a tile of OUT to DRAM."""

from __future__ import annotations

from emulator import kernels
from emulator.geometry import out_tile_of, region_of
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


def execute(m: Memories, v: Values) -> Longs | None:
    """Returns the bytes of each BITMAP line of image 0, None for a RAW tensor."""
    region, tile = region_of(v, m.arena_base), out_tile_of(v, "h", "w", "cn")
    if v["format"] == TensorFormat.RAW:
        kernels.store_raw(m.out, tile, m.arena, region)
        return None
    moved = room_for_lines(region, m.chunk)
    kernels.store_bitmap(m.out, tile, m.arena, region, m.chunk, bitmap_layout(v, m.chunk).line_bytes, moved)
    return moved


def record(entry: Entry, v: Values, moved: Longs | None) -> None:
    """Bytes of image 0."""
    written = record_region(entry, v, moved, Count.DRAM_ACTIVATIONS_OUT)
    entry.takes(cycles(v, written, entry.target))


UNIT = Unit(SPEC, execute, record)
