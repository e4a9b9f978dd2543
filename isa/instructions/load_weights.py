"""`load.weights`: packed dense weights from DRAM or ACT, expanded in COEF."""

from __future__ import annotations

from collections.abc import Sequence

from isa.costs import Counted, decoded_cycles
from isa.counts import Count
from isa.declaration import InstructionSpec, address, extent
from isa.extents import Extent, reads, writes
from isa.field_groups import STAGED, weight_source
from isa.formats import Queue, Space
from isa.integers import Number, Values
from isa.layout import WEIGHT_TABLE_BYTES
from isa.target import Target
from isa.weight_decoder import EVENTS, WEIGHTS, arithmetic


def extents(v: Values, _: Target) -> Sequence[Extent]:
    """The packed bytes and their table, and the weights."""
    return (
        *weight_source(v),
        reads(Space.CONSTANTS, v["table"], WEIGHT_TABLE_BYTES),
        writes(Space.COEF, v["dst"], v["count"]),
    )


def cycles(v: Values, target: Target, nonzeros: Number) -> Number:
    """The longest of transfer, expansion, decoding of the signs, and of the magnitudes of `nonzeros` weights."""
    return decoded_cycles(v["size"] + WEIGHT_TABLE_BYTES, v["count"], v["count"], nonzeros, target)


def counts(v: Values, _: Target) -> Counted:
    """Weights; how many of them are zero is in the data."""
    return {
        Count.COEF_WRITE: v["count"],
        Count.WEIGHT_VALUES: v["count"],
        Count.ACT_READ: v["size"] * v["staged"],
        WEIGHTS: v["count"],
    }


SPEC = InstructionSpec(
    "load.weights",
    0x05,
    Queue.LOAD,
    "Fetch packed dense weights and the table of their codes, and expand them in COEF to `count` bytes.",
    (
        address("dram", "of the packed weights", 40),
        extent("size", "packed bytes", 24),
        address("table", "of the table", 40),
        extent("count", "weights", 24),
        address("dst", "of the destination in COEF"),
        *STAGED,
    ),
    extents=extents,
    counts=counts,
    arithmetic=arithmetic,
    events=EVENTS,
)
