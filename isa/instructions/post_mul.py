"""`post.mul`: the product of two activation tiles."""

from __future__ import annotations

from collections.abc import Sequence

from isa.costs import Counted, output_values, post_cycles, post_operations
from isa.counts import Count
from isa.declaration import InstructionSpec, Rule, extent, flag
from isa.extents import Extent
from isa.field_groups import ADDITION, OUT_TILE, addition, apart, clear, place, tile
from isa.formats import Queue, Space
from isa.integers import Number, Values
from isa.target import Target

SPREAD = ("one_row", "one_column", "one_channel")
"""Flags of the axes along which tile b has one index for all."""


def factor_extents(v: Values) -> tuple[Number, Number, Number]:
    """Rows, columns and channels of tile b."""
    rows, columns, channels = (
        1 + (v[name] - 1) * (1 - v[one]) for name, one in zip(("oh", "ow", "kn"), SPREAD, strict=True)
    )
    return rows, columns, channels


def factor(v: Values) -> Extent:
    """Tile b, which is read."""
    rows, columns, channels = factor_extents(v)
    stride = v["res_c"]
    return Extent(Space.ACT, False, v["res"], rows, v["res_w"] * stride, columns, stride, channels)


def rules(v: Values, _: Target) -> Sequence[Rule]:
    """The three tiles. Tile b may be the output tile only where it has every index."""
    out, b = tile(v, "out", True), factor(v)
    _, columns, channels = factor_extents(v)
    crowded = (columns > v["res_w"]) | (channels > v["res_c"])
    spread = (v["one_row"] | v["one_column"] | v["one_channel"]) != 0
    return (
        *(apart(v, name) for name in ("act", "out")),
        Rule(crowded, "rows or positions of the tile at res overlap"),
        clear(v, tile(v, "act", False), out, same="act"),
        clear(v, b, out, same="res"),
        clear(v, b, out, when=spread),
    )


def extents(v: Values, _: Target) -> Sequence[Extent]:
    """Both tiles, the parameters, the output tile."""
    return tile(v, "act", False), factor(v), addition(v), tile(v, "out", True)


def cycles(v: Values, target: Target) -> Number:
    """A lane-cycle a value."""
    return post_cycles(output_values(v), target)


def counts(v: Values, _: Target) -> Counted:
    """Two values read and one written for each product."""
    values = output_values(v)
    return {Count.ACT_WRITE: values, Count.ACT_READ: 2 * values, **post_operations("multiply", values)}


SPEC = InstructionSpec(
    "post.mul",
    0x24,
    Queue.POST,
    "Multiply two activation tiles: out = clamp((a*b*ma + 2^(as-1)) >> as, alo, ahi); mb is not read. Along each axis, "
    "b may have one index for all.",
    (
        *place("act", "tile a"),
        flag("signed", "a is int8"),
        *place("res", "tile b"),
        flag("res_signed", "b is int8"),
        flag("one_row", "b has one row for all rows"),
        flag("one_column", "b has one column for all columns"),
        flag("one_channel", "b has one channel for all channels"),
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
