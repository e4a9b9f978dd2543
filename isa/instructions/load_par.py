"""`load.par`: packed requantisation parameters from DRAM, expanded in PAR."""

from __future__ import annotations

from collections.abc import Sequence

from isa.costs import Counted, transfer_cycles
from isa.counts import Count
from isa.declaration import InstructionSpec, address, extent
from isa.extents import Extent, reads, writes
from isa.formats import Queue, Space
from isa.integers import Number, Values, most
from isa.layout import requant_block_bytes
from isa.target import Target


def extents(v: Values, _: Target) -> Sequence[Extent]:
    """The packed bytes, and the blocks."""
    blocks = requant_block_bytes(v["kn"])
    return reads(Space.CONSTANTS, v["dram"], v["size"]), writes(Space.PAR, v["dst"], blocks)


def cycles(v: Values, target: Target) -> Number:
    """Cycles of the scratchpad side."""
    return transfer_cycles(most(v["size"], requant_block_bytes(v["kn"])), target)


def counts(v: Values, _: Target) -> Counted:
    """Bytes of the blocks."""
    return {Count.PAR_WRITE: requant_block_bytes(v["kn"])}


SPEC = InstructionSpec(
    "load.par",
    0x04,
    Queue.LOAD,
    "Fetch packed requantisation parameters of kn channels and expand them in PAR to requantisation blocks of "
    "`block` channels, the last one of those that are left.",
    (
        address("dram", "of the packed parameters", 40),
        extent("size", "packed bytes", 24),
        extent("kn", "output channels"),
        extent("block", "output channels of a block"),
        address("dst", "of the destination in PAR"),
    ),
    extents=extents,
    cycles=cycles,
    counts=counts,
)
