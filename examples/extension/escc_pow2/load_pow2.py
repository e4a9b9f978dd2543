"""`load.pow2`: the codes of powers of two from DRAM, expanded into int8 weights in COEF."""

from __future__ import annotations

from collections.abc import Sequence

from isa.costs import Counted, transfer_cycles
from isa.counts import Count
from isa.declaration import InstructionSpec, address, extent
from isa.extents import Extent, reads, writes
from isa.formats import Queue, Space
from isa.integers import Number, Values, ceil_div, most
from isa.target import Target

CODES_PER_CYCLE = 32
"""Codes that the unit expands in a cycle."""


def extents(v: Values, _: Target) -> Sequence[Extent]:
    """Half a byte for each weight in DRAM, and a byte in COEF."""
    return reads(Space.CONSTANTS, v["dram"], ceil_div(v["count"], 2)), writes(Space.COEF, v["dst"], v["count"])


def cycles(v: Values, target: Target) -> Number:
    """The longer one of writing the weights and expanding the codes."""
    return most(transfer_cycles(v["count"], target), ceil_div(v["count"], CODES_PER_CYCLE))


def counts(v: Values, _: Target) -> Counted:
    """Weights; how many of them are zero is in the data."""
    return {Count.COEF_WRITE: v["count"], Count.WEIGHT_VALUES: v["count"]}


SPEC = InstructionSpec(
    "load.pow2",
    0x81,
    Queue.LOAD,
    "Fetch `count` codes of four bits and expand them into int8 weights, 0 or a power of two, in COEF.",
    (
        address("dram", "of the codes, two a byte", 40),
        extent("count", "weights", 24),
        address("dst", "of the destination in COEF"),
    ),
    extents=extents,
    cycles=cycles,
    counts=counts,
)
