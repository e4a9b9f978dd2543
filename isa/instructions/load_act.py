"""`load.act`: a region of an activation tensor from DRAM to ACT."""

from __future__ import annotations

from collections.abc import Sequence

from isa.costs import Counted, transfer_cycles
from isa.counts import Count
from isa.declaration import InstructionSpec, address
from isa.extents import Extent, writes
from isa.field_groups import DRAM_TENSOR, record_bytes, region_extents, region_rules
from isa.formats import Queue, Space
from isa.integers import Number, Values, most
from isa.target import Target


def extents(v: Values, target: Target) -> Sequence[Extent]:
    """The region, and the tile of records."""
    tile = record_bytes(v["h"], v["w"], v["cn"], target)
    return (*region_extents(v, target, write=False), writes(Space.ACT, v["act"], tile))


def cycles(fetched: Number, written: Number, target: Target) -> Number:
    """Cycles of the scratchpad side for bytes fetched from DRAM and written to ACT (bitmaps and values)."""
    return transfer_cycles(most(fetched, written), target)


def counts(v: Values, _: Target) -> Counted:
    """Values loaded; what is written depends on how many are zero."""
    return {Count.INPUT_VALUES: v["h"] * v["w"] * v["cn"]}


SPEC = InstructionSpec(
    "load.act",
    0x01,
    Queue.LOAD,
    "Fetch a region of an activation tensor from DRAM and lay it down in ACT as records (bitmap + packed non-zeros "
    "per position and channel chunk). RAW tensors are compressed on the way, BITMAP lines are redistributed.",
    (*DRAM_TENSOR, address("act", "of the destination tile in ACT")),
    rules=region_rules,
    extents=extents,
    counts=counts,
)
