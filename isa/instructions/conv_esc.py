"""`conv.esc`: a decomposed convolution, coefficients first, bases second."""

from __future__ import annotations

from collections.abc import Sequence

from isa.costs import Counted
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
from isa.integers import Number, Values, ceil_div, least, most
from isa.target import Target


def registers(c: Number, target: Target) -> Number:
    """Coefficient registers that an (output channel, basis) with `c` input channels takes: whole chunks."""
    return ceil_div(c, target.array.chunk) * target.array.chunk


def working_slices(c: Number, target: Target) -> Number:
    """Slices of a block that work at a time: those whose coefficients of `c` input channels its registers hold."""
    return least(target.array.slices, target.array.coefficient_registers // registers(c, target))


def rules(v: Values, target: Target) -> Sequence[Rule]:
    """Partial sums, row groups and coefficient registers."""
    need, have = registers(v["ic"], target), target.array.coefficient_registers
    return (
        act_rule(v),
        *psum_rules(v),
        groups_rule(v, target),
        Rule(
            need > have,
            "ic={ic} takes {need} coefficient registers; a block has {have}",
            {"need": need, "have": have},
        ),
    )


def extents(v: Values, target: Target) -> Sequence[Extent]:
    """Input tile, streams of coefficients, bases and partial sums."""
    return (
        act_tile(v),
        reads(Space.COEF, v["coef"], v["size"]),
        reads(Space.PAR, v["basis"], v["v"] * v["r"] * v["s"]),
        psum_tile(v, write=True),
    )


def counts(v: Values, target: Target) -> Counted:
    """What the data do not decide.

    Every row group expands every coefficient once. Slices keep their bases if one round takes all, else they fetch
    them for every output channel.
    """
    a = target.array
    working = most(1, working_slices(v["ic"], target))
    rounds = ceil_div(v["v"], working)
    passes = ceil_div(v["kn"], a.blocks // v["groups"] * most(1, working // v["v"]))
    return {
        Count.CA_ISSUE: a.blocks * a.slices * a.issue_cycles,
        Count.COEF_READ: v["size"] * v["groups"],
        Count.WEIGHT_VALUES: v["kn"] * v["v"] * v["ic"] * v["groups"],
        Count.PAR_READ: v["v"] * v["r"] * v["s"] * v["groups"] * (1 + (rounds > 1) * (passes - 1)),
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
        address("coef", "of the streams of coefficients in COEF"),
        extent("size", "bytes of the streams of the kn output channels", 24),
        extent("v", "virtual bases"),
        address("basis", "of the bases int8 [v][r][s] in PAR"),
        Field("ic_shift", 5, "right shift of the intermediate channel, round half up"),
        ROW_GROUPS,
    ),
    rules=rules,
    extents=extents,
    counts=counts,
)
