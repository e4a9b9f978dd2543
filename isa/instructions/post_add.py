"""`post.add`: the sum of two activation tiles."""

from __future__ import annotations

from collections.abc import Sequence

from isa.costs import Counted, bitmap_bytes, output_values, post_cycles, post_operations
from isa.counts import Count
from isa.declaration import InstructionSpec, Rule, address, extent, flag
from isa.extents import Extent, reads
from isa.field_groups import ADDITION, OUT_TILE, addition, out_rule, out_tile, record_bytes
from isa.formats import Queue, Space
from isa.integers import Number, Values
from isa.target import Target


def rules(v: Values, _: Target) -> Sequence[Rule]:
    """The OUT tile."""
    return (out_rule(v),)


def extents(v: Values, target: Target) -> Sequence[Extent]:
    """Both tiles, the parameters, the OUT tile."""
    tile = record_bytes(v["oh"], v["ow"], v["kn"], target)
    return (
        reads(Space.ACT, v["act"], tile),
        reads(Space.ACT, v["res"], tile),
        addition(v),
        out_tile(v, write=True),
    )


def cycles(v: Values, target: Target) -> Number:
    """A lane-cycle a value."""
    return post_cycles(output_values(v), target)


def counts(v: Values, target: Target) -> Counted:
    """Of the tiles, the bitmaps alone are sure to be read."""
    values = output_values(v)
    return {
        Count.OUT_WRITE: values,
        Count.ACT_READ: bitmap_bytes(2 * v["oh"] * v["ow"], v["kn"], target),
        **post_operations("add", values),
    }


SPEC = InstructionSpec(
    "post.add",
    0x21,
    Queue.POST,
    "Add two activation tiles: out = clamp((a*ma + b*mb + 2^(as-1)) >> as, alo, ahi).",
    (
        address("act", "of tile a (records) in ACT"),
        flag("signed", "a is int8"),
        address("res", "of tile b (records) in ACT"),
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
