"""`post.add`: the sum of two activation tiles."""

from __future__ import annotations

from collections.abc import Sequence

from isa.costs import Counted, output_values, post_cycles, post_operations
from isa.counts import Count
from isa.declaration import InstructionSpec, Rule, extent, flag
from isa.extents import Extent
from isa.field_groups import ADDITION, OUT_TILE, addition, apart, clear, place, tile
from isa.formats import Queue
from isa.integers import Number, Values
from isa.target import Target


def rules(v: Values, _: Target) -> Sequence[Rule]:
    """The three tiles."""
    out = tile(v, "out", True)
    overlaps = (clear(v, tile(v, name, False), out, same=name) for name in ("act", "res"))
    return (*(apart(v, name) for name in ("act", "res", "out")), *overlaps)


def extents(v: Values, _: Target) -> Sequence[Extent]:
    """Both tiles, the parameters, the output tile."""
    return tile(v, "act", False), tile(v, "res", False), addition(v), tile(v, "out", True)


def cycles(v: Values, target: Target) -> Number:
    """A lane-cycle a value."""
    return post_cycles(output_values(v), target)


def counts(v: Values, _: Target) -> Counted:
    """Two values read and one written for each addition."""
    values = output_values(v)
    return {Count.ACT_WRITE: values, Count.ACT_READ: 2 * values, **post_operations("add", values)}


SPEC = InstructionSpec(
    "post.add",
    0x21,
    Queue.POST,
    "Add two activation tiles: out = clamp((a*ma + b*mb + 2^(as-1)) >> as, alo, ahi).",
    (
        *place("act", "tile a"),
        flag("signed", "a is int8"),
        *place("res", "tile b"),
        flag("res_signed", "b is int8"),
        extent("oh", "rows"),
        extent("ow", "columns"),
        extent("kn", "channels"),
        *OUT_TILE,
        ADDITION,
    ),
    rules=rules,
    extents=extents,
    cycles=cycles,
    counts=counts,
)
