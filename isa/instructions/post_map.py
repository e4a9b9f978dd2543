"""`post.map`: a tile moved, and each value mapped by a table."""

from __future__ import annotations

from collections.abc import Sequence

from isa.costs import Counted, output_values, post_cycles
from isa.counts import Count
from isa.declaration import Field, InstructionSpec, Rule, address, extent, flag
from isa.extents import Extent
from isa.field_groups import ACT_RING, ACT_TILE, OUT_TILE, act_rules, act_tile, apart, clear, inside, table, tile
from isa.formats import Queue
from isa.integers import Number, Values
from isa.target import Target


def rules(v: Values, _: Target) -> Sequence[Rule]:
    """Both tiles."""
    return *act_rules(v), apart(v, "out"), *(clear(v, part, tile(v, "out", True)) for part in act_tile(v))


def extents(v: Values, _: Target) -> Sequence[Extent]:
    """Input tile, table, output tile."""
    return *act_tile(v), table(v), tile(v, "out", True)


def cycles(v: Values, target: Target) -> Number:
    """A lane-cycle a value."""
    return post_cycles(output_values(v), target)


def counts(v: Values, _: Target) -> Counted:
    """Values outside the input tile are not read, but mapped."""
    rows, columns = inside(v["oh"], v["sy"], v["dy"], v["ih"]), inside(v["ow"], v["sx"], v["dx"], v["iw"])
    values = output_values(v)
    return {
        Count.ACT_WRITE: values,
        Count.ACT_READ: rows * columns * inside(v["kn"], 1, v["dc"], v["ic"]),
        Count.PAR_READ: v["lut"] * values,
    }


SPEC = InstructionSpec(
    "post.map",
    0x22,
    Queue.POST,
    "Move and map: out[y,x,i] = f(act[y*sy+dy, x*sx+dx, i+dc]), 0 where that lies outside the tile; f is the "
    "identity or a 256-byte table indexed by the stored byte (the fill value 0 is mapped too).",
    (
        *ACT_TILE,
        extent("oh", "rows of the output"),
        extent("ow", "columns of the output"),
        extent("kn", "channels of the output"),
        extent("sy", "vertical stride", 8),
        extent("sx", "horizontal stride", 8),
        Field("dy", 16, "row offset", signed=True),
        Field("dx", 16, "column offset", signed=True),
        Field("dc", 17, "channel offset", signed=True),
        *OUT_TILE,
        flag("lut", "apply the table"),
        address("table", "of the table in PAR"),
        *ACT_RING,
    ),
    rules=rules,
    extents=extents,
    cycles=cycles,
    counts=counts,
)
