"""`store.act`: a tile of ACT to a region of a tensor in DRAM."""

from __future__ import annotations

from collections.abc import Sequence

from isa.costs import Counted, transfer_cycles
from isa.counts import Count
from isa.declaration import InstructionSpec, Rule
from isa.extents import Extent
from isa.field_groups import DRAM_TENSOR, apart, bitmap_layout, place, region_extents, region_rules, tile
from isa.formats import Queue, TensorFormat
from isa.integers import Number, Values, most
from isa.target import Target


def rules(v: Values, target: Target) -> Sequence[Rule]:
    """The region, which covers whole lines of a BITMAP tensor, and the tile."""
    chunk = target.array.chunk
    lines = v["format"] == TensorFormat.BITMAP
    segment = bitmap_layout(v, chunk).segment
    end_x, end_c = v["x"] + v["w"], v["c"] + v["cn"]
    part_of_segment = (v["x"] % segment != 0) | ((end_x % segment != 0) & (end_x != v["tensor_w"]))
    part_of_chunk = (end_c % chunk != 0) & (end_c != v["tensor_c"])
    return (
        *region_rules(v, target),
        Rule(lines & part_of_segment, "the region must cover whole segments"),
        Rule(lines & part_of_chunk, "the region must cover whole chunks"),
        apart(v, "act", "w", "cn"),
    )


def extents(v: Values, target: Target) -> Sequence[Extent]:
    """The tile, and the region."""
    return (tile(v, "act", False, "h", "w", "cn"), *region_extents(v, target, write=True))


def cycles(v: Values, written: Number, target: Target) -> Number:
    """Cycles of the scratchpad side for bytes written to DRAM."""
    return transfer_cycles(most(v["h"] * v["w"] * v["cn"], written), target)


def counts(v: Values, _: Target) -> Counted:
    """Bytes of the tile."""
    return {Count.ACT_READ: v["h"] * v["w"] * v["cn"]}


SPEC = InstructionSpec(
    "store.act",
    0x30,
    Queue.STORE,
    "Write a tile of ACT to a region of a DRAM tensor; BITMAP tensors are compressed on the way, and the region then "
    "covers whole segments and whole chunks.",
    (*DRAM_TENSOR, *place("act", "the tile")),
    rules=rules,
    extents=extents,
    counts=counts,
)
