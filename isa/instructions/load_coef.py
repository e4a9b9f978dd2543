"""`load.coef`: packed coefficients from DRAM or ACT to COEF as they are."""

from __future__ import annotations

from collections.abc import Sequence

from isa.costs import Counted, transfer_cycles
from isa.counts import Count
from isa.declaration import InstructionSpec, address, extent
from isa.extents import Extent, writes
from isa.field_groups import STAGED, weight_source
from isa.formats import Queue, Space
from isa.integers import Number, Values
from isa.target import Target


def extents(v: Values, _: Target) -> Sequence[Extent]:
    """The same bytes in DRAM, or in ACT, and in COEF."""
    return *weight_source(v), writes(Space.COEF, v["coef"], v["size"])


def cycles(v: Values, target: Target) -> Number:
    """Cycles of the scratchpad side."""
    return transfer_cycles(v["size"], target)


def counts(v: Values, _: Target) -> Counted:
    """The bytes; the coefficients are counted where they are expanded."""
    return {Count.COEF_WRITE: v["size"], Count.ACT_READ: v["size"] * v["staged"]}


SPEC = InstructionSpec(
    "load.coef",
    0x02,
    Queue.LOAD,
    "Copy the streams of coefficients of some output channels to COEF unchanged; the blocks expand them.",
    (
        address("dram", "of the streams", 40),
        extent("size", "bytes", 24),
        address("coef", "of the destination in COEF"),
        *STAGED,
    ),
    extents=extents,
    cycles=cycles,
    counts=counts,
)
