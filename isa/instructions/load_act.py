"""`load.act`: a region of an activation tensor from DRAM to ACT."""

from __future__ import annotations

from collections.abc import Sequence

from isa.costs import Counted, transfer_cycles
from isa.counts import Count
from isa.declaration import InstructionSpec, Rule
from isa.extents import Extent
from isa.field_groups import DRAM_TENSOR, apart, place, region_extents, region_rules, tile
from isa.formats import Queue
from isa.integers import Number, Values, most
from isa.target import Target


def rules(v: Values, target: Target) -> Sequence[Rule]:
    """The region, and the tile."""
    return (*region_rules(v, target), apart(v, "act", "w", "cn"))


def extents(v: Values, target: Target) -> Sequence[Extent]:
    """The region, and the tile."""
    return (*region_extents(v, target, write=False), tile(v, "act", True, "h", "w", "cn"))


def values(v: Values) -> Number:
    """Values of the region, a byte each in ACT."""
    return v["h"] * v["w"] * v["cn"]


def cycles(v: Values, fetched: Number, target: Target) -> Number:
    """Cycles of the scratchpad side for bytes fetched from DRAM."""
    return transfer_cycles(most(fetched, values(v)), target)


def counts(v: Values, _: Target) -> Counted:
    """Values loaded, zeros among them."""
    return {Count.ACT_WRITE: values(v)}


SPEC = InstructionSpec(
    "load.act",
    0x01,
    Queue.LOAD,
    "Fetch a region of an activation tensor from DRAM and lay it down in ACT as plain bytes. BITMAP lines are expanded "
    "on the way.",
    (*DRAM_TENSOR, *place("act", "the destination tile")),
    rules=rules,
    extents=extents,
    counts=counts,
)
