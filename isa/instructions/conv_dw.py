"""`conv.dw`: a depthwise convolution on the MAC rows."""

from __future__ import annotations

from collections.abc import Sequence

from isa.costs import Counted, multiplications, output_values, window_taps
from isa.counts import Count
from isa.declaration import Field, InstructionSpec, Rule, address, extent
from isa.extents import Extent, reads
from isa.field_groups import (
    ACCUMULATE,
    ACT_RING,
    ACT_TILE,
    PSUM_TILE,
    WINDOW,
    act_rules,
    act_tile,
    exceeds,
    psum_rules,
    psum_tile,
)
from isa.formats import Queue, Space
from isa.integers import Number, Values, ceil_div, least
from isa.target import Target


def rules(v: Values, _: Target) -> Sequence[Rule]:
    """Partial sums and the input channels."""
    return (*act_rules(v), *psum_rules(v), exceeds(v["cs"], ceil_div(v["kn"], v["kpg"]), "ic", v))


def extents(v: Values, target: Target) -> Sequence[Extent]:
    """Input tile and weights; partial sums are read if they are added to."""
    return (
        *act_tile(v),
        reads(Space.COEF, v["coef"], v["kn"] * v["r"] * v["s"]),
        psum_tile(v, write=False, when=v["accumulate"]),
        psum_tile(v, write=True),
    )


def _slices(target: Target) -> int:
    return target.array.blocks * target.array.slices


def cycles(v: Values, target: Target) -> Number:
    """Every slice takes an output value, and in its last cycle begins with the next one."""
    products = ceil_div(output_values(v), _slices(target)) * v["r"] * v["s"]
    return target.array.issue_cycles + ceil_div(products, target.array.macs)


def counts(v: Values, target: Target) -> Counted:
    """Positions outside the tile are not multiplied; every slice keeps the weights of its channel."""
    values, products = output_values(v), window_taps(v) * v["kn"]
    return {
        Count.INPUT_VALUES: v["ih"] * v["iw"] * v["ic"],
        Count.ACT_READ: products,
        Count.COEF_READ: v["r"] * v["s"] * v["kn"] * ceil_div(least(_slices(target), values), v["kn"]),
        Count.PSUM_WRITE: 4 * values,
        Count.PSUM_READ: 4 * values * v["accumulate"],
        **multiplications(products),
    }


SPEC = InstructionSpec(
    "conv.dw",
    0x11,
    Queue.COMPUTE,
    "Depthwise convolution: as conv.dense with cpg = 1; every PE slice takes an output channel of its own.",
    (
        *ACT_TILE,
        *WINDOW,
        *PSUM_TILE,
        address("coef", "of the weights int8 [kn][r][s] in COEF"),
        Field("cs", 16, "first channel of the input tile that is read"),
        extent("kpg", "output channels per input channel (depth multiplier)"),
        ACCUMULATE,
        *ACT_RING,
    ),
    rules=rules,
    extents=extents,
    cycles=cycles,
    counts=counts,
)
