"""`store.act`: a tile of plain bytes from OUT to a region of a tensor in DRAM."""

from __future__ import annotations

from collections.abc import Sequence

from isa.costs import Counted, transfer_cycles
from isa.counts import Count
from isa.declaration import InstructionSpec, Rule, address, extent
from isa.extents import Extent
from isa.field_groups import DRAM_TENSOR, bitmap_layout, out_rule, out_tile, region_extents, region_rules
from isa.formats import Queue, TensorFormat
from isa.integers import Number, Values, most
from isa.target import Target


def rules(v: Values, target: Target) -> Sequence[Rule]:
    """The region, which covers whole lines of a BITMAP tensor, and the OUT tile."""
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
        out_rule(v, "w", "cn"),
    )


def extents(v: Values, target: Target) -> Sequence[Extent]:
    """The OUT tile, and the region."""
    return (out_tile(v, False, "h", "w", "cn"), *region_extents(v, target, write=True))


def cycles(v: Values, written: Number, target: Target) -> Number:
    """Cycles of the scratchpad side for bytes written to DRAM."""
    return transfer_cycles(most(v["h"] * v["w"] * v["cn"], written), target)


def counts(v: Values, _: Target) -> Counted:
    """Bytes of the tile."""
    return {Count.OUT_READ: v["h"] * v["w"] * v["cn"]}


SPEC = InstructionSpec(
    "store.act",
    0x30,
    Queue.STORE,
    "Write a tile of plain bytes [h][w][out_c] from OUT to a region of a DRAM tensor; BITMAP tensors are "
    "compressed on the way, and the region then covers whole segments and whole chunks.",
    (
        *DRAM_TENSOR,
        address("out", "of the tile in OUT"),
        extent("out_w", "row stride of the tile, positions"),
        extent("out_c", "position stride of the tile, bytes"),
    ),
    rules=rules,
    extents=extents,
    counts=counts,
)
