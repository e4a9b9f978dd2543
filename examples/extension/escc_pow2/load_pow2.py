"""`load.pow2`: the codes of powers of two from DRAM, expanded into int8 weights in COEF."""

from __future__ import annotations

from collections.abc import Sequence

from isa.cells import MULTIPLEXER, logic_picojoule
from isa.costs import Counted, transfer_cycles
from isa.counts import Count
from isa.declaration import InstructionSpec, address, extent
from isa.events import EnergyComponent, Event, EventTable
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


def shift_picojoule(target: Target) -> float:
    """A barrel shifter of a byte: three multiplexers a bit."""
    return logic_picojoule(3 * 8 * MULTIPLEXER, target)


TABLE = EventTable("load_pow2_codes", "pow2", "codes", "Codes by what becomes of them, among the codes of the layer.")
SHIFTER = EnergyComponent("load_pow2", "shifters of load.pow2")
SHIFTED = Event("shifted", "a code that is shifted into a weight", TABLE, SHIFTER, shift_picojoule)
SKIPPED = Event("skipped", "a code that is 0, which no shifter takes", TABLE)

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
    events=(SHIFTED, SKIPPED),
)
