"""`post.requant`: partial sums to 8 bits, with an optional table and residual addition."""

from __future__ import annotations

from collections.abc import Sequence

from isa.costs import Counted, output_values, post_cycles, post_operations, summed
from isa.counts import Count
from isa.declaration import Field, InstructionSpec, Rule, address, flag
from isa.extents import Extent, reads
from isa.field_groups import (
    ADDITION,
    CLAMP,
    OUT_TILE,
    PSUM_TILE,
    addition,
    apart,
    clamp_rule,
    clear,
    psum_rules,
    psum_tile,
    table,
    tile,
)
from isa.formats import Queue, Space
from isa.integers import Number, Values
from isa.layout import requant_block_bytes
from isa.target import Target


def rules(v: Values, _: Target) -> Sequence[Rule]:
    """Tiles, the residual among them if there is one, and the clamp."""
    residual, out = tile(v, "res", False), tile(v, "out", True)
    return (
        *psum_rules(v),
        apart(v, "out"),
        clamp_rule(v),
        apart(v, "res", when=v["add"]),
        clear(v, residual, out, same="res", when=v["add"]),
    )


def extents(v: Values, _: Target) -> Sequence[Extent]:
    """Partial sums and their parameters, the table, the residual and its parameters, the output tile."""
    return (
        psum_tile(v, write=False),
        reads(Space.PAR, v["par"], requant_block_bytes(v["kn"])),
        table(v),
        tile(v, "res", False, when=v["add"]),
        addition(v, v["add"]),
        tile(v, "out", True),
    )


def cycles(v: Values, target: Target) -> Number:
    """A lane-cycle a value."""
    return post_cycles(output_values(v), target)


def counts(v: Values, target: Target) -> Counted:
    """Parameters are held if the lanes hold all channels."""
    positions, values = v["oh"] * v["ow"], output_values(v)
    held = v["kn"] <= target.post.lanes
    blocks = requant_block_bytes(v["kn"])
    return summed(
        {
            Count.ACT_WRITE: values,
            Count.PSUM_READ: 4 * values,
            Count.PAR_READ: blocks * (held + positions * (1 - held)) + v["lut"] * values,
            Count.ACT_READ: v["add"] * values,
        },
        post_operations("requant", values),
        post_operations("add", v["add"] * values),
    )


SPEC = InstructionSpec(
    "post.requant",
    0x20,
    Queue.POST,
    "Requantise partial sums: q = clamp(((psum + bias)*mult + 2^(shift-1)) >> shift, lo, hi) with per-channel "
    "bias/mult/shift; then q = table[q & 255] if `lut`; then, if `add`, "
    "q = clamp((q*ma + res*mb + 2^(as-1)) >> as, alo, ahi). `res` has the geometry of the output tile.",
    (
        *PSUM_TILE,
        *OUT_TILE,
        address("par", "in PAR of int32 bias[kn], int32 mult[kn], uint8 shift[kn]"),
        *CLAMP,
        flag("lut", "apply the 256-byte table"),
        address("table", "of the table in PAR"),
        flag("add", "add the residual"),
        address("res", "in ACT of element (0,0,0) of the residual tile"),
        Field("res_w", 16, "row stride of the residual tile, positions"),
        Field("res_c", 16, "position stride of the residual tile, bytes"),
        flag("res_signed", "the residual is int8"),
        flag("q_signed", "q before the addition is int8"),
        ADDITION,
    ),
    rules=rules,
    extents=extents,
    cycles=cycles,
    counts=counts,
)
