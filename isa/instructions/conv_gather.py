"""`conv.gather`: a convolution with sparse weights, whose activations are gathered from banks."""

from __future__ import annotations

from collections.abc import Sequence

from isa.costs import Counted, output_values, window_taps
from isa.counts import Count
from isa.declaration import Field, InstructionSpec, Rule, address, extent
from isa.extents import Extent, reads
from isa.field_groups import (
    ACCUMULATE,
    ACT_RING,
    ACT_TILE,
    PSUM_TILE,
    WINDOW,
    act_rules,
    act_tile,
    exceeds,
    psum_rules,
    psum_tile,
)
from isa.formats import Queue, Space
from isa.gather import Gathering
from isa.integers import Number, Values, ceil_div, most
from isa.target import Target


def lanes(target: Target) -> int:
    """Multipliers of a block, each of which takes an entry of a group; and so the most banks of a window, and the most
    output channels whose sums a block holds.
    """
    return target.array.slices * target.array.macs


def window_room(target: Target) -> int:
    """Bytes of the window that a block gathers from: one of its two sets of coefficient registers, two bits each. The
    other set takes the next window meanwhile.
    """
    return target.array.coefficient_registers * 2 // 8


def gathering(v: Values) -> Gathering:
    """How the window lies in banks."""
    return Gathering(v["banks"], v["rows"], v["bank"], v["step"])


def position_sets(v: Values, target: Target) -> Number:
    """How often the blocks take an output position each."""
    return ceil_div(v["oh"] * v["ow"], target.array.blocks)


def rules(v: Values, target: Target) -> Sequence[Rule]:
    """Partial sums, the window in the registers of a block, banks and output channels of a bundle, input channels."""
    most_lanes, room = lanes(target), window_room(target)
    return (
        *act_rules(v),
        *psum_rules(v),
        exceeds(v["cs"], v["c"], "ic", v),
        Rule(
            v["r"] * v["s"] * v["c"] > room,
            "a window of {bytes} bytes exceeds the {room} bytes of registers of a block",
            {"bytes": v["r"] * v["s"] * v["c"], "room": room},
        ),
        *(
            Rule(v[what] > most_lanes, f"{what}={{{what}}} exceed the {most_lanes} multipliers of a block")
            for what in ("banks", "rows")
        ),
        *(Rule(v[what] >= v["banks"], f"{what}={{{what}}} is not below banks={{banks}}") for what in ("bank", "step")),
    )


def extents(v: Values, target: Target) -> Sequence[Extent]:
    """Input tile and stream; partial sums are read if they are added to."""
    return (
        *act_tile(v),
        reads(Space.COEF, v["coef"], v["size"]),
        psum_tile(v, write=False, when=v["accumulate"]),
        psum_tile(v, write=True),
    )


def filling(v: Values, target: Target) -> Number:
    """Cycles in which the windows of all blocks come from ACT, over the broadcast of activations. Those of the first
    positions come before the instruction begins, if the one before does not need both sets of registers any more.
    """
    a = target.array
    return ceil_div(v["r"] * v["s"] * v["c"] * a.blocks, a.broadcast_chunks * a.chunk)


def set_cycles(v: Values, target: Target, groups: Number) -> Number:
    """Cycles of a set of positions whose bundles take `groups` groups in all: the longest of gathering, of expanding
    the stream, of filling the windows of the next set, and of writing a sum a cycle and block to PSUM.
    """
    expansion = ceil_div(v["size"], target.array.expand_bytes)
    return most(most(groups, expansion), most(filling(v, target), v["kn"]))


def cycles(v: Values, target: Target, groups: Number) -> Number:
    """All blocks take the same groups, each for another output position; without those before the first set."""
    return target.array.issue_cycles + position_sets(v, target) * set_cycles(v, target, groups)


def counts(v: Values, target: Target) -> Counted:
    """Each window is filled once, by positions inside the tile; the stream is expanded for each set of positions."""
    window = window_taps(v) * v["c"]
    return {
        Count.INPUT_VALUES: v["ih"] * v["iw"] * v["ic"],
        Count.WEIGHT_VALUES: v["kn"] * v["r"] * v["s"] * v["c"],
        Count.ACT_READ: window,
        Count.REGISTERS_WRITE: window,
        Count.COEF_READ: v["size"] * position_sets(v, target),
        Count.PSUM_WRITE: 4 * output_values(v),
        Count.PSUM_READ: 4 * output_values(v) * v["accumulate"],
    }


SPEC = InstructionSpec(
    "conv.gather",
    0x13,
    Queue.COMPUTE,
    "Convolution with the non-zero weights of a stream in COEF: psum[y,x,k+i] (+)= sum over window and channels of "
    "weight[i,r,s,j] * act[y*sy-pt+r, x*sx-pl+s, cs+j]. The windows of as many positions as there are blocks lie in "
    "the blocks' registers, in `banks` banks of a byte a cycle: value (r,s,j) is in bank "
    "(bank + (r*S+s)*step + j) mod banks. In a cycle all blocks take the same group of entries, one of each bank at "
    "most, and a tree adds the products of an output channel to its sum. A bundle of `rows` output channels takes as "
    "many cycles as its fullest bank has entries.",
    (
        *ACT_TILE,
        *WINDOW,
        *PSUM_TILE,
        address("coef", "of the stream in COEF"),
        extent("size", "bytes of the stream", 24),
        Field("cs", 16, "first channel of the input tile that is read"),
        extent("c", "input channels that are read"),
        extent("banks", "banks of the window", 8),
        Field("bank", 8, "bank of the first value of the window"),
        Field("step", 8, "banks from a value of the window to the same channel at the next tap"),
        extent("rows", "output channels of a bundle", 8),
        ACCUMULATE,
        *ACT_RING,
    ),
    rules=rules,
    extents=extents,
    counts=counts,
)
