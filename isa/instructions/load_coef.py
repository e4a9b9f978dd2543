"""`load.coef`: packed coefficients from DRAM to COEF as they are."""

from __future__ import annotations

from collections.abc import Sequence

from isa.costs import Counted, transfer_cycles
from isa.counts import Count
from isa.declaration import InstructionSpec, address, extent
from isa.extents import Extent, reads, writes
from isa.formats import Queue, Space
from isa.integers import Number, Values
from isa.target import Target


def extents(v: Values, _: Target) -> Sequence[Extent]:
    """The same bytes in DRAM and in COEF."""
    return reads(Space.CONSTANTS, v["dram"], v["size"]), writes(Space.COEF, v["coef"], v["size"])


def cycles(v: Values, target: Target) -> Number:
    """Cycles of the scratchpad side."""
    return transfer_cycles(v["size"], target)


def counts(v: Values, _: Target) -> Counted:
    """The bytes; the coefficients are counted where they are expanded."""
    return {Count.COEF_WRITE: v["size"]}


SPEC = InstructionSpec(
    "load.coef",
    0x02,
    Queue.LOAD,
    "Copy the streams of coefficients of some output channels to COEF unchanged; `conv.esc` expands them.",
    (
        address("dram", "of the streams", 40),
        extent("size", "bytes", 24),
        address("coef", "of the destination in COEF"),
    ),
    extents=extents,
    cycles=cycles,
    counts=counts,
)
