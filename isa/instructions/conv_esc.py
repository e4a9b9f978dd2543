"""`conv.esc`: a decomposed convolution, coefficients first, bases second."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from isa.costs import Counted, multiplications, output_values, window_taps
from isa.counts import Count
from isa.declaration import Field, InstructionSpec, Rule, address, extent
from isa.extents import Extent, reads
from isa.field_groups import (
    ACT_TILE,
    PSUM_TILE,
    ROW_GROUPS,
    WINDOW,
    act_rule,
    act_tile,
    groups_rule,
    psum_rules,
    psum_tile,
)
from isa.formats import Queue, Space
from isa.integers import Number, Values, ceil_div, most
from isa.layout import coefficient_bytes
from isa.target import Target


def rules(v: Values, target: Target) -> Sequence[Rule]:
    """Partial sums and row groups."""
    return (act_rule(v), *psum_rules(v), groups_rule(v, target))


def expanded_bytes(v: Values, target: Target) -> Number:
    """Bytes of the expanded coefficients."""
    return coefficient_bytes(v["kn"], v["v"], v["ic"], target.array.chunk)


def extents(v: Values, target: Target) -> Sequence[Extent]:
    """Input tile, coefficients, bases and partial sums."""
    return (
        act_tile(v),
        reads(Space.COEF, v["coef"], expanded_bytes(v, target)),
        reads(Space.PAR, v["basis"], v["v"] * v["r"] * v["s"]),
        psum_tile(v, write=True),
    )


def rounds(v: Values, target: Target) -> Number:
    """How often the slices of a block take bases."""
    return ceil_div(v["v"], target.array.slices)


def stationary(v: Values, target: Target) -> Number:
    """Whether every slice keeps its coefficients for the whole instruction."""
    slots = target.array.blocks // v["groups"] * most(1, target.array.slices // v["v"])
    return rounds(v, target) * ceil_div(v["kn"], slots) == 1


class Item(NamedTuple):
    """Expected cycles of an accumulator item: mean, standard deviation and maximum over the blocks."""

    mean: float
    spread: float
    most: float


def expected_cycles(v: Values, target: Target, item: Item, positions: Mapping[int, int]) -> float:
    """Cycles where accumulator items take as long as expected.

    `positions`: of the slowest row group, how many positions take part in so many window taps. Blocks run few positions
    ahead of one another, so the slowest of them sets the pace: of n blocks, about sqrt(2 ln n) deviations above the
    mean, less what the spread of the normal distribution takes from so few.
    """
    a = target.array
    blocks = a.blocks // v["groups"]
    together = max(1, a.slices // v["v"])
    passes = ceil_div(v["kn"], blocks * together)
    items = passes * ceil_div(v["v"], a.slices)
    active = min(blocks, ceil_div(v["kn"], together))
    slowest = max(0.0, math.sqrt(2 * math.log(active)) - 0.5) if active > 1 else 0.0
    accumulate = min(items * item.mean + slowest * item.spread * math.sqrt(items), items * item.most)
    broadcast = ceil_div(ceil_div(v["ic"], a.chunk), a.broadcast_chunks)
    cycles, last = 0.0, 0
    for taps, count in positions.items():
        last = ceil_div(taps, a.macs)
        cycles += count * max(broadcast, accumulate, items * last)
    return a.issue_cycles + cycles + broadcast + last


def counts(v: Values, target: Target) -> Counted:
    """What the data do not decide: a sum is read and written for each round, but its first one only written."""
    a, taps = target.array, window_taps(v)
    sums = 4 * taps * v["kn"] * rounds(v, target)
    return {
        Count.CA_ISSUE: a.blocks * a.slices * a.issue_cycles,
        Count.PAR_READ: v["v"] * v["r"] * v["s"] * v["groups"],
        Count.PSUM_WRITE: sums,
        Count.PSUM_READ: sums - 4 * output_values(v),
        **multiplications(taps * v["kn"] * v["v"], ceil_div(a.ic_bits, 8)),
    }


SPEC = InstructionSpec(
    "conv.esc",
    0x12,
    Queue.COMPUTE,
    "Decomposed convolution, Basis-First: ic[i,b,p] = saturate((sum_c T[i,b,c] * act[p,c] + round) >> ic_shift) "
    "and psum[y,x,k+i] = sum over b and window of basis[b,r,s] * ic[i,b,(y*sy-pt+r, x*sx-pl+s)].",
    (
        *ACT_TILE,
        *WINDOW,
        *PSUM_TILE,
        address("coef", "of the expanded coefficients in COEF"),
        extent("v", "virtual bases"),
        address("basis", "of the bases int8 [v][r][s] in PAR"),
        Field("ic_shift", 5, "right shift of the intermediate channel, round half up"),
        ROW_GROUPS,
    ),
    rules=rules,
    extents=extents,
    counts=counts,
)
