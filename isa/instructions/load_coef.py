"""`load.coef`: packed ternary coefficients from DRAM, expanded in COEF."""

from __future__ import annotations

from collections.abc import Sequence

from isa.costs import Counted, transfer_cycles
from isa.counts import Count
from isa.declaration import Field, InstructionSpec, address, extent
from isa.extents import Extent, reads, writes
from isa.formats import CoefficientFormat, Queue, Space
from isa.integers import Number, Values, ceil_div, most
from isa.layout import coefficient_bytes
from isa.target import Target


def _expanded(v: Values, target: Target) -> Number:
    return coefficient_bytes(v["kn"], v["v"], v["c"], target.array.chunk)


def extents(v: Values, target: Target) -> Sequence[Extent]:
    """The packed bytes, and the expanded coefficients."""
    return reads(Space.CONSTANTS, v["dram"], v["size"]), writes(Space.COEF, v["coef"], _expanded(v, target))


def cycles(v: Values, target: Target) -> Number:
    """The longest of transfer, expansion and decoding."""
    transfer = transfer_cycles(most(v["size"], _expanded(v, target)), target)
    return most(transfer, ceil_div(v["kn"] * v["v"] * v["c"], target.dma.decode_coefficients))


def counts(v: Values, target: Target) -> Counted:
    """Expanded bytes and coefficients; how many of them are zero is in the data."""
    return {Count.COEF_WRITE: _expanded(v, target), Count.WEIGHT_VALUES: v["kn"] * v["v"] * v["c"]}


SPEC = InstructionSpec(
    "load.coef",
    0x02,
    Queue.LOAD,
    "Fetch packed ternary coefficients T[kn,v,c] and expand them in COEF to one (bitmap, sign) pair per output "
    "channel, basis and chunk.",
    (
        address("dram", "of the packed coefficients", 40),
        extent("size", "packed bytes", 24),
        Field("coding", 2, "packing of the coefficients", enum=CoefficientFormat),
        extent("kn", "output channels"),
        extent("v", "virtual bases"),
        extent("c", "input channels"),
        address("coef", "of the destination in COEF"),
    ),
    extents=extents,
    cycles=cycles,
    counts=counts,
)
