"""`conv.circ`: a convolution with circulant blocks by fewer products than they have weights."""

from __future__ import annotations

from collections.abc import Sequence

from isa.cells import ADD_INT8, ADD_INT32, FLIP_FLOP, Cells
from isa.circulant import BACK_BITS, FAST_BLOCKS, fast_products, return_additions, transform_additions
from isa.costs import Counted, output_values, window_taps
from isa.counts import Count
from isa.declaration import Field, InstructionSpec, Rule, address, extent
from isa.extents import Extent, reads
from isa.field_groups import (
    ACCUMULATE,
    ACT_RING,
    ACT_TILE,
    PSUM_TILE,
    ROW_GROUPS,
    WINDOW,
    act_rules,
    act_tile,
    exceeds,
    groups_rule,
    psum_rules,
    psum_tile,
)
from isa.formats import Queue, Space
from isa.integers import Number, Values, ceil_div, most
from isa.target import Target

FACTOR_BYTES = 2
"""Bytes of a factor of a product, which is a sum of up to 16 values. A multiplier takes one such factor and a byte."""
BACK_ADDERS = 8
"""Adders of a block that make results out of sums of products."""
_FACTOR_BITS = 12


def blocks_across(v: Values) -> Number:
    """Blocks side by side in the input channels."""
    return ceil_div(v["c"], most(v["block"], 1))


def block_rows(v: Values) -> Number:
    """Rows of blocks that the output channels touch."""
    return ceil_div(v["first"] + v["kn"], most(v["block"], 1))


def values(v: Values) -> Number:
    """Values of the blocks that the output channels touch."""
    return block_rows(v) * v["r"] * v["s"] * blocks_across(v) * v["block"]


def rules(v: Values, target: Target) -> Sequence[Rule]:
    """Partial sums, row groups, input channels, and a block that has a fast product and holds the first channel."""
    known = sum(v["block"] == size for size in FAST_BLOCKS)
    return (
        *act_rules(v),
        *psum_rules(v),
        groups_rule(v, target),
        exceeds(v["cs"], v["c"], "ic", v),
        Rule(known == 0, f"block={{block}} is none of {', '.join(map(str, FAST_BLOCKS))}"),
        Rule(v["first"] >= most(v["block"], 1), "first={first} lies beyond a block of {block} channels"),
    )


def extents(v: Values, target: Target) -> Sequence[Extent]:
    """Input tile and values; partial sums are read if they are added to."""
    return (
        *act_tile(v),
        reads(Space.COEF, v["coef"], values(v)),
        psum_tile(v, write=False, when=v["accumulate"]),
        psum_tile(v, write=True),
    )


def _products(v: Values) -> Number:
    """Products of an output position and a row of blocks."""
    return v["r"] * v["s"] * blocks_across(v) * fast_products(v["block"])


def _passes(v: Values, target: Target) -> Number:
    """How often the PE blocks of a row group take rows of blocks."""
    return ceil_div(block_rows(v), target.array.blocks // v["groups"])


def cycles(v: Values, target: Target) -> Number:
    """A PE block takes a row of blocks at an output position: as long as its multipliers take, and as its results take
    to be made, and to be written one a cycle. The row groups work side by side.
    """
    multipliers = target.array.slices * target.array.macs
    each = ceil_div(FACTOR_BYTES * _products(v), multipliers)
    each = most(most(each, ceil_div(return_additions(v["block"]), BACK_ADDERS)), v["block"])
    return target.array.issue_cycles + _passes(v, target) * ceil_div(v["oh"], v["groups"]) * v["ow"] * each


def counts(v: Values, target: Target) -> Counted:
    """Positions outside the tile count as any; values are read once a row group. Inputs are transformed as they are
    broadcast, values as they are read, sums once for each row of blocks.
    """
    positions, rows, across = v["oh"] * v["ow"], block_rows(v), blocks_across(v)
    products, taps, outputs = positions * rows * _products(v), v["r"] * v["s"], output_values(v)
    transforms = positions * taps * across * _passes(v, target) + rows * taps * across * v["groups"]
    return {
        Count.INPUT_VALUES: v["ih"] * v["iw"] * v["ic"],
        Count.ACT_READ: window_taps(v) * v["c"] * _passes(v, target),
        Count.COEF_READ: values(v) * v["groups"],
        Count.PSUM_WRITE: 4 * outputs,
        Count.PSUM_READ: 4 * outputs * v["accumulate"],
        Count.MULTIPLICATIONS: products * FACTOR_BYTES,
        Count.MAC_MUL_INT8: products * FACTOR_BYTES * FACTOR_BYTES,
        Count.MAC_ADD_INT32: products * FACTOR_BYTES,
        Count.CA_ADD_INT32: transforms * transform_additions(v["block"])
        + positions * rows * return_additions(v["block"]),
    }


def arithmetic(target: Target) -> Sequence[Cells]:
    """The transform of the inputs, once; in each PE block that of the values, the sums of products of the largest
    block, and the adders that make results of them.
    """
    blocks, largest = target.array.blocks, FAST_BLOCKS[-1]
    return (
        Cells(
            "adder of a circulant transform",
            (1 + blocks) * int(transform_additions(largest)),
            ADD_INT8 * _FACTOR_BITS / 8,
        ),
        Cells("sum of circulant products", blocks * int(fast_products(largest)), BACK_BITS * FLIP_FLOP),
        Cells("adder of circulant results", blocks * BACK_ADDERS, ADD_INT32 * BACK_BITS / 32),
    )


SPEC = InstructionSpec(
    "conv.circ",
    0x14,
    Queue.COMPUTE,
    "Convolution with circulant blocks whose values lie in COEF: psum[y,x,k+i] (+)= sum over window and channels of "
    "weight[first+i,r,s,j] * act[y*sy-pt+r, x*sx-pl+s, cs+j], where weight [i][j] of a block is its value "
    "[(i - j) mod block]. Positions outside the tile count as 0. Blocks of 2, 4, 8 and 16 channels take 2, 5, 14 and "
    "41 products in place of 4, 16, 64 and 256: sums of the inputs of a block times sums of its values, whose sums "
    "over the window become results by additions and halves that leave no rest. A sum of values takes two multipliers.",
    (
        *ACT_TILE,
        *WINDOW,
        *PSUM_TILE,
        address("coef", "of the values in COEF"),
        Field("cs", 16, "first channel of the input tile that is read"),
        extent("c", "input channels that are read"),
        Field("first", 8, "first output channel, counted from the beginning of its block"),
        extent("block", "channels of a block", 8),
        ACCUMULATE,
        ROW_GROUPS,
        *ACT_RING,
    ),
    rules=rules,
    extents=extents,
    cycles=cycles,
    counts=counts,
    arithmetic=arithmetic,
)
