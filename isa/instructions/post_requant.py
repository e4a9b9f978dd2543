"""`post.requant`: partial sums to 8 bits, with an optional table and residual addition."""

from __future__ import annotations

from collections.abc import Sequence

from isa.costs import Counted, bitmap_bytes, output_values, post_cycles, post_operations, summed
from isa.counts import Count
from isa.declaration import Field, InstructionSpec, Rule, address, flag
from isa.extents import Extent, reads
from isa.field_groups import (
    ADDITION,
    CLAMP,
    OUT_TILE,
    PSUM_TILE,
    addition,
    clamp_rule,
    exceeds,
    out_rule,
    out_tile,
    psum_rules,
    psum_tile,
    record_bytes,
    table,
)
from isa.formats import Queue, Space
from isa.integers import Number, Values
from isa.layout import requant_block_bytes
from isa.target import Target


def rules(v: Values, _: Target) -> Sequence[Rule]:
    """Tiles, clamp, and the channels of the residual if there is one."""
    residual = exceeds(v["res_k"], v["kn"], "res_c", v)
    residual = residual._replace(broken=residual.broken & (v["add"] != 0))
    return (*psum_rules(v), out_rule(v), clamp_rule(v), residual)


def extents(v: Values, target: Target) -> Sequence[Extent]:
    """Partial sums and their parameters, the table, the residual and its parameters, the OUT tile."""
    return (
        psum_tile(v, write=False),
        reads(Space.PAR, v["par"], requant_block_bytes(v["kn"])),
        table(v),
        reads(Space.ACT, v["res"], record_bytes(v["oh"], v["ow"], v["res_c"], target), v["add"]),
        addition(v, v["add"]),
        out_tile(v, write=True),
    )


def cycles(v: Values, target: Target) -> Number:
    """A lane-cycle a value."""
    return post_cycles(output_values(v), target)


def counts(v: Values, target: Target) -> Counted:
    """Parameters are held if the lanes hold all channels; of the residual, the bitmaps alone are sure to be read."""
    positions, values = v["oh"] * v["ow"], output_values(v)
    held = v["kn"] <= target.post.lanes
    blocks = requant_block_bytes(v["kn"])
    return summed(
        {
            Count.OUT_WRITE: values,
            Count.PSUM_READ: 4 * values,
            Count.PAR_READ: blocks * (held + positions * (1 - held)) + v["lut"] * values,
            Count.ACT_READ: v["add"] * bitmap_bytes(positions, v["res_c"], target),
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
        address("res", "of the residual tile (records, oh x ow) in ACT"),
        Field("res_c", 16, "channels of the residual tile"),
        Field("res_k", 16, "channel of the residual tile that meets output channel 0"),
        flag("res_signed", "the residual is int8"),
        flag("q_signed", "q before the addition is int8"),
        ADDITION,
    ),
    rules=rules,
    extents=extents,
    cycles=cycles,
    counts=counts,
)
