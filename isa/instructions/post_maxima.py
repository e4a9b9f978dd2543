"""`post.maxima`: partial sums to 8 bits, and the maximum of each window of them."""

from __future__ import annotations

from collections.abc import Sequence

from isa.cells import ADD_INT8, FLIP_FLOP, Cells
from isa.costs import Counted, output_values, post_cycles, post_operations, summed
from isa.counts import Count
from isa.declaration import InstructionSpec, Rule, address, extent, flag
from isa.extents import Extent, reads
from isa.field_groups import CLAMP, OUT_TILE, PSUM_TILE, apart, clamp_rule, psum_rules, psum_tile, table, tile
from isa.formats import Queue, Space
from isa.integers import Number, Values, choose, most
from isa.layout import requant_block_bytes
from isa.target import Target


def written(v: Values) -> Values:
    """The fields with the rows and columns of the output tile, one for each window, in the place of those of PSUM."""
    return {**v, "oh": v["oh"] // most(v["r"], 1), "ow": v["ow"] // most(v["s"], 1)}


def rules(v: Values, _: Target) -> Sequence[Rule]:
    """Whole windows, tiles and the clamp."""
    broken = (v["oh"] % most(v["r"], 1) != 0) | (v["ow"] % most(v["s"], 1) != 0)
    return (
        *psum_rules(v),
        Rule(broken, "oh={oh} and ow={ow} are not whole windows of r={r} rows and s={s} columns"),
        apart(written(v), "out"),
        clamp_rule(v),
    )


def extents(v: Values, _: Target) -> Sequence[Extent]:
    """Partial sums and their parameters, the table, the output tile."""
    return (
        psum_tile(v, write=False),
        reads(Space.PAR, v["par"], requant_block_bytes(v["kn"])),
        table(v),
        tile(written(v), "out", True),
    )


def cycles(v: Values, target: Target) -> Number:
    """A lane-cycle for each value that is requantised."""
    return post_cycles(output_values(v), target)


def counts(v: Values, target: Target) -> Counted:
    """As `post.requant` without a residual, but for what is written; every value but the first one of its window is
    compared.
    """
    positions, values, maxima = v["oh"] * v["ow"], output_values(v), output_values(written(v))
    blocks = requant_block_bytes(v["kn"])
    return summed(
        {
            Count.ACT_WRITE: maxima,
            Count.PSUM_READ: 4 * values,
            Count.PAR_READ: blocks * choose(v["kn"] <= target.post.lanes, 1, positions) + v["lut"] * values,
            Count.POST_ADD_INT8: values - maxima,
        },
        post_operations("requant", values),
    )


def arithmetic(target: Target) -> Sequence[Cells]:
    """A lane keeps the maximum of a window while the positions of that pass."""
    lanes = target.post.lanes
    return (
        Cells("comparator of 8 bits for maxima behind requantisation", lanes, ADD_INT8),
        Cells("bit of a maximum behind requantisation", 8 * lanes, FLIP_FLOP),
    )


SPEC = InstructionSpec(
    "post.maxima",
    0x25,
    Queue.POST,
    "Requantise partial sums as `post.requant` does, without a residual, and write the maximum of each window of r x s "
    "positions. Windows lie side by side: that of output position (y, x) has rows [y*r, y*r + r) and columns "
    "[x*s, x*s + s) of the tile of partial sums.",
    (
        *PSUM_TILE,
        extent("r", "rows of a window", 8),
        extent("s", "columns of a window", 8),
        *OUT_TILE,
        address("par", "in PAR of int32 bias[kn], int32 mult[kn], uint8 shift[kn]"),
        *CLAMP,
        flag("lut", "apply the 256-byte table"),
        address("table", "of the table in PAR"),
        flag("q_signed", "bytes of the table are int8"),
    ),
    rules=rules,
    extents=extents,
    cycles=cycles,
    counts=counts,
    arithmetic=arithmetic,
)
