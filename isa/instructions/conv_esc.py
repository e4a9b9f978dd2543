"""`conv.esc`: a decomposed convolution, coefficients first, bases second."""

from __future__ import annotations

from collections.abc import Sequence

from isa.costs import Counted, multiplications, output_values, window_taps
from isa.counts import Count
from isa.declaration import Field, InstructionSpec, Rule, address, extent
from isa.extents import Extent, reads
from isa.field_groups import ACT_TILE, PSUM_TILE, ROW_GROUPS, WINDOW, act_tile, groups_rule, psum_rules, psum_tile
from isa.formats import Queue, Space
from isa.integers import Number, Values, ceil_div, most
from isa.layout import coefficient_bytes
from isa.target import Target


def rules(v: Values, target: Target) -> Sequence[Rule]:
    """Partial sums and row groups."""
    return (*psum_rules(v), groups_rule(v, target))


def expanded_bytes(v: Values, target: Target) -> Number:
    """Bytes of the expanded coefficients."""
    return coefficient_bytes(v["kn"], v["v"], v["ic"], target.array.chunk)


def extents(v: Values, target: Target) -> Sequence[Extent]:
    """Input tile, coefficients, bases and partial sums."""
    return (
        act_tile(v, target),
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
