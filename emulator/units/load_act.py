"""`load.act`: DRAM to records in ACT."""

from __future__ import annotations

from typing import NamedTuple

from emulator import kernels
from emulator.geometry import Region, region_of
from emulator.kernels import Longs
from emulator.memories import Memories
from emulator.recording import Entry
from emulator.transfers import record_region, room_for_lines
from emulator.unit import Unit
from isa.costs import bitmap_bytes
from isa.counts import Count
from isa.errors import UserError
from isa.field_groups import bitmap_layout
from isa.formats import TensorFormat
from isa.instructions.load_act import SPEC, cycles
from isa.integers import Values
from isa.layout import RecordLayout


class Loaded(NamedTuple):
    """The region; of image 0, bytes of its BITMAP lines (None for a RAW tensor), their slots, bytes written to ACT."""

    region: Region
    moved: Longs | None
    line_bytes: int
    written: int


def execute(m: Memories, v: Values) -> Loaded:
    """Compress a RAW region, or distribute the lines of a BITMAP region."""
    region = region_of(v, m.arena_base)
    m.forget(v["act"], v["act"] + RecordLayout(v["cn"], m.chunk).tile_bytes(v["h"], v["w"]))
    if v["format"] == TensorFormat.RAW:
        return Loaded(region, None, 0, kernels.load_raw(m.arena, region, m.act, v["act"], m.chunk))
    moved = room_for_lines(region, m.chunk)
    line_bytes = bitmap_layout(v, m.chunk).line_bytes
    written = kernels.load_bitmap(m.arena, region, m.act, v["act"], m.chunk, line_bytes, moved)
    if written < 0:
        raise UserError("a bitmap of the tensor has bits beyond its channels")
    return Loaded(region, moved, line_bytes, written)


def record(entry: Entry, v: Values, seen: Loaded) -> None:
    """Bytes and non-zeros of image 0."""
    fetched = record_region(entry, seen.region, v["dram"], seen.moved, seen.line_bytes, Count.DRAM_ACTIVATIONS_IN)
    entry.takes(cycles(fetched, seen.written, entry.target))
    entry.add(Count.ACT_WRITE, seen.written)
    entry.add(Count.INPUT_NONZEROS, seen.written - bitmap_bytes(v["h"] * v["w"], v["cn"], entry.target))


UNIT = Unit(SPEC, execute, record)
