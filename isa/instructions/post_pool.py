"""`post.pool`: maximum or average over windows."""

from __future__ import annotations

from collections.abc import Sequence

from isa.cells import ADD_INT32, Cells
from isa.costs import Counted, output_values, post_cycles, post_operations, summed, window_taps
from isa.counts import Count
from isa.declaration import Field, InstructionSpec, Rule, address, extent
from isa.extents import Extent, reads
from isa.field_groups import (
    ACT_RING,
    ACT_TILE,
    CLAMP,
    OUT_TILE,
    WINDOW,
    act_rules,
    act_tile,
    apart,
    clamp_rule,
    clear,
    exceeds,
    tile,
)
from isa.formats import PoolKind, Queue, Space
from isa.integers import Number, Values, ceil_div, least, most
from isa.target import Target


def window_counts(v: Values) -> tuple[Number, Number]:
    """Smallest and largest number of counted positions of any window."""
    rows = _counts(v["oh"], v["sy"], v["r"], -v["pt"], -v["bt"], v["ih"] + v["bb"])
    columns = _counts(v["ow"], v["sx"], v["s"], -v["pl"], -v["bl"], v["iw"] + v["br"])
    return rows[0] * columns[0], rows[1] * columns[1]


def _counts(
    outputs: Number, stride: Number, kernel: Number, start: Number, low: Number, high: Number
) -> tuple[Number, Number]:
    # A window that slides over an interval overlaps it first more, then less: the smallest count is at an end.
    def overlap(i: Number) -> Number:
        a = start + i * stride
        return most(0, least(a + kernel, high) - most(a, low))

    first, last = overlap(0), overlap(outputs - 1)
    inner = least(most((low - start + stride - 1) // stride, 0), outputs - 1)
    largest = most(most(first, last), most(overlap(inner), overlap(most(inner - 1, 0))))
    return least(first, last), largest


def multipliers(v: Values) -> Number:
    """Entries of the table of multipliers that an average can reach."""
    return most(0, window_counts(v)[1] - v["count0"] + 1)


def rules(v: Values, _: Target) -> Sequence[Rule]:
    """A maximum needs a position of the tile in every window; an average needs numbers to divide by."""
    average = v["kind"] == PoolKind.AVERAGE
    fewest, needed = window_counts(v)[0], most(1, v["count0"])
    unpadded = window_counts({**v, "bt": 0, "bl": 0, "bb": 0, "br": 0})[0]
    return (
        *act_rules(v),
        apart(v, "out"),
        *(clear(v, part, tile(v, "out", True)) for part in act_tile(v)),
        exceeds(v["cs"], v["kn"], "ic", v),
        Rule((v["kind"] == PoolKind.MAX) & (unpadded == 0), "a window holds no position of the tile"),
        clamp_rule(v, average),
        Rule(average & ((v["shift"] < 1) | (v["shift"] > 62)), "shift={shift} is not in [1, 62]"),
        Rule(
            average & (fewest < needed),
            "a window counts {fewest} positions, fewer than {needed}",
            {"fewest": fewest, "needed": needed},
        ),
    )


def extents(v: Values, _: Target) -> Sequence[Extent]:
    """Input tile, the multipliers of an average, output tile."""
    return (
        *act_tile(v),
        reads(Space.PAR, v["par"], 4 * multipliers(v), v["kind"] == PoolKind.AVERAGE),
        tile(v, "out", True),
    )


def cycles(v: Values, target: Target) -> Number:
    """Lane-cycles of each value: a lane takes some places of its window at a time, outside the tile too."""
    return post_cycles(output_values(v) * ceil_div(v["r"] * v["s"], target.post.pool_places), target)


def counts(v: Values, _: Target) -> Counted:
    """An average adds, looks a multiplier up and multiplies; a maximum compares."""
    taps, average = window_taps(v) * v["kn"], v["kind"] == PoolKind.AVERAGE
    return summed(
        {
            Count.ACT_WRITE: output_values(v),
            Count.ACT_READ: taps,
            Count.PAR_READ: average * (4 * v["oh"] * v["ow"]),
            Count.POST_ADD_INT32: average * taps,
            Count.POST_ADD_INT8: (v["kind"] == PoolKind.MAX) * taps,
        },
        post_operations("average", average * output_values(v)),
    )


def arithmetic(target: Target) -> Sequence[Cells]:
    """What joins the places of a window that a lane takes in a cycle to one value."""
    joins = target.post.lanes * (target.post.pool_places - 1)
    return (Cells("adder or comparator of 32 bits for pooling", joins, ADD_INT32),)


SPEC = InstructionSpec(
    "post.pool",
    0x23,
    Queue.POST,
    "Pooling over valid positions of each window. MAX: the maximum. AVERAGE: "
    "clamp((sum*mult[n-count0] + 2^(shift-1)) >> shift, lo, hi), n = number of counted positions: those of the "
    "window inside rows [-bt, ih+bb) and columns [-bl, iw+br) of the tile.",
    (
        *ACT_TILE,
        *WINDOW,
        Field("kind", 2, "reduction", enum=PoolKind),
        extent("oh", "rows of the output"),
        extent("ow", "columns of the output"),
        Field("cs", 16, "first channel of the input tile that is read"),
        extent("kn", "channels of the output"),
        *OUT_TILE,
        Field("bt", 8, "counted padding above the tile"),
        Field("bl", 8, "counted padding left of the tile"),
        Field("bb", 8, "counted padding below the tile"),
        Field("br", 8, "counted padding right of the tile"),
        address("par", "in PAR of int32 mult[]"),
        Field("count0", 16, "window count of mult[0]"),
        Field("shift", 6, "right shift"),
        *CLAMP,
        *ACT_RING,
    ),
    rules=rules,
    extents=extents,
    cycles=cycles,
    counts=counts,
    arithmetic=arithmetic,
)
