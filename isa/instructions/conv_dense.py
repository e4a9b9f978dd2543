"""`conv.dense`: a dense convolution on the MAC rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from isa.costs import Counted, multiplications, output_values, window_taps
from isa.counts import Count
from isa.declaration import Field, InstructionSpec, Rule, address, extent
from isa.extents import Extent, reads
from isa.field_groups import (
    ACCUMULATE,
    ACT_RING,
    ACT_TILE,
    PSUM_TILE,
    ROW_GROUPS,
    WINDOW,
    act_rules,
    act_tile,
    exceeds,
    groups_rule,
    psum_rules,
    psum_tile,
)
from isa.formats import Queue, Space
from isa.integers import Number, Values, ceil_div, most
from isa.target import Target
from isa.visits import Block, Windows, visits


def rules(v: Values, target: Target) -> Sequence[Rule]:
    """Partial sums, row groups and the input channels of all groups."""
    channels = ceil_div(v["kn"], v["kpg"]) * v["cpg"]
    return (*act_rules(v), *psum_rules(v), groups_rule(v, target), exceeds(v["cs"], channels, "ic", v))


def extents(v: Values, target: Target) -> Sequence[Extent]:
    """Input tile and weights; partial sums are read if they are added to."""
    return (
        *act_tile(v),
        reads(Space.COEF, v["coef"], v["kn"] * v["r"] * v["s"] * v["cpg"]),
        psum_tile(v, write=False, when=v["accumulate"]),
        psum_tile(v, write=True),
    )


def _passes(v: Values, target: Target) -> Number:
    """How often the blocks of a row group take output channels."""
    return ceil_div(v["kn"], target.array.blocks // v["groups"])


def _block(target: Target) -> Block:
    return Block(target.array.slices, target.array.macs)


def most_cycles(v: Values, target: Target) -> Number:
    """Cycles where all windows lie inside the tile."""
    positions = ceil_div(v["oh"], v["groups"]) * v["ow"]
    visited = _block(target).cycles(v["r"] * v["s"] * v["cpg"], positions)
    return target.array.issue_cycles + _passes(v, target) * visited


def _visits(v: Values, target: Target) -> tuple[Number, Number]:
    """`Visits` of one instruction, or of many."""
    fields, block = [v[name] for name in Windows._fields], _block(target)
    if not any(isinstance(field, np.ndarray) for field in fields):
        return visits(Windows(*fields), block)
    found = [visits(Windows(*map(int, each)), block) for each in zip(*np.broadcast_arrays(*fields), strict=True)]
    slowest, total = np.array(found, np.int64).reshape(-1, 2).T
    return slowest, total


def cycles(v: Values, target: Target) -> Number:
    """A block takes an output value at a time; the row groups work side by side."""
    slowest, _ = _visits(v, target)
    return target.array.issue_cycles + _passes(v, target) * slowest


def counts(v: Values, target: Target) -> Counted:
    """Positions outside the tile are not multiplied; weights are read once a row group."""
    values, taps, (_, sums) = output_values(v), window_taps(v), _visits(v, target)
    return {
        Count.INPUT_VALUES: v["ih"] * v["iw"] * v["ic"],
        Count.ACT_READ: taps * v["cpg"] * most(_passes(v, target), ceil_div(v["kn"], v["kpg"])),
        Count.COEF_READ: v["kn"] * v["r"] * v["s"] * v["cpg"] * v["groups"],
        Count.PSUM_WRITE: 4 * sums * v["kn"],
        Count.PSUM_READ: 4 * (sums * v["kn"] - values + values * v["accumulate"]),
        **multiplications(taps * v["cpg"] * v["kn"]),
    }


SPEC = InstructionSpec(
    "conv.dense",
    0x10,
    Queue.COMPUTE,
    "Dense convolution on the MAC rows: psum[y,x,k+i] (+)= sum over window and channels of "
    "weight[i,r,s,j] * act[y*sy-pt+r, x*sx-pl+s, cs + (i // kpg)*cpg + j]. Positions outside the tile count as 0.",
    (
        *ACT_TILE,
        *WINDOW,
        *PSUM_TILE,
        address("coef", "of the weights in COEF"),
        Field("cs", 16, "first channel of the input tile that is read"),
        extent("cpg", "input channels per group"),
        extent("kpg", "output channels per group"),
        ACCUMULATE,
        ROW_GROUPS,
        *ACT_RING,
    ),
    rules=rules,
    extents=extents,
    cycles=cycles,
    counts=counts,
)
