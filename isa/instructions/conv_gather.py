"""`conv.gather`: a convolution with sparse weights, whose activations are gathered from banks."""

from __future__ import annotations

from collections.abc import Sequence

from isa.cells import ADD_INT8, FLIP_FLOP, MULTIPLEXER, Cells, logic_picojoule
from isa.costs import Counted, output_values, window_taps
from isa.counts import Count
from isa.declaration import Field, InstructionSpec, Rule, address, extent
from isa.decoders import DECODERS, WINDOW_BITS, bits_of, gap_um2, ones_um2, shifter_um2, window_um2
from isa.events import EnergyComponent, Event, EventTable
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

_GAP_BITS, _MAGNITUDE_BITS = 15, 7
"""Most low bits of the Rice codes of a stream (`isa.gather`)."""


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


def sorter_stages(target: Target) -> int:
    """Stages of the bitonic network that sorts the entries of a group: with 2^k inputs, k (k + 1) / 2."""
    depth = bits_of(lanes(target))
    return depth * (depth + 1) // 2


def entry_bits(target: Target) -> int:
    """Bits of an entry in the sorter: weight, output channel of the bundle, and byte of the window."""
    return 8 + bits_of(lanes(target)) + bits_of(window_room(target))


def _exchange_um2(target: Target) -> float:
    """A comparator of output channels, and two multiplexers a bit that exchange two entries."""
    return ADD_INT8 * bits_of(lanes(target)) / 8 + 2 * entry_bits(target) * MULTIPLEXER


def _crossbar_um2(target: Target) -> float:
    """What brings the byte of any bank to one multiplier: a tree of multiplexers a bit."""
    return 8 * (lanes(target) - 1) * MULTIPLEXER


def _segment_um2(target: Target) -> float:
    """What a multiplier has for the sums of a group by output channel: a multiplexer that lets the adder of the tree
    begin anew, and one in each stage of the network that brings the sum to the register of its channel.
    """
    depth = bits_of(lanes(target))
    bits = 16 + depth  # of a sum of as many products as there are multipliers
    return bits * (1 + depth) * MULTIPLEXER


def _entry_um2(target: Target) -> float:
    """The decoder of an entry: a gap between keys, a sign and a magnitude, one after the other in the same stream."""
    found = window_um2(1) + ones_um2() + shifter_um2(1, WINDOW_BITS)
    return found + gap_um2(_GAP_BITS, window_room(target)) + gap_um2(_MAGNITUDE_BITS, 128)


def arithmetic(target: Target) -> Sequence[Cells]:
    """The decoder of entries and the sorter, which the machine has once because all blocks take the same entries; in
    each block the crossbar and the segments of the adder tree.
    """
    inputs, stages = 1 << bits_of(lanes(target)), sorter_stages(target)
    each = target.array.blocks * lanes(target)
    return (
        Cells("entry of a cycle in the gather decoder", lanes(target), _entry_um2(target)),
        Cells("exchange of the gather sorter", stages * inputs // 2, _exchange_um2(target)),
        Cells("register of an entry in the gather sorter", stages * inputs, entry_bits(target) * FLIP_FLOP),
        Cells("output of the gather crossbar", each, _crossbar_um2(target)),
        Cells("segment of the gather tree", each, _segment_um2(target)),
    )


def group_picojoule(target: Target) -> float:
    """The whole sorter works for each group."""
    inputs, stages = 1 << bits_of(lanes(target)), sorter_stages(target)
    return logic_picojoule(stages * inputs * (_exchange_um2(target) / 2 + entry_bits(target) * FLIP_FLOP), target)


def product_picojoule(target: Target) -> float:
    """One output of the crossbar and one segment of the tree work for each product."""
    return logic_picojoule(_crossbar_um2(target) + _segment_um2(target), target)


_TABLE = EventTable(
    "gather_cycles",
    "gather",
    "cycles",
    "It splits the `slices * macs` multipliers of a block times the groups that all blocks take: cycles of one "
    "multiplier in which it does this. A layer whose weights were pruned for their banks has no `conflict`. The cycles "
    "that conv.gather takes beyond its groups, for its issue, for the windows of its first positions, or where "
    "expansion, windows or PSUM are slower, are not in it.",
    parts=True,
)
WORK = Event("work", "it takes an entry, which is a weight that is not zero", _TABLE)
CONFLICT = Event(
    "conflict",
    "it waits because the entries of a bundle do not lie in its banks in equal numbers: the fullest bank decides",
    _TABLE,
)
IMBALANCE = Event(
    "imbalance",
    "it would have no entry even if they did: there are fewer banks than multipliers, or the last group is not full",
    _TABLE,
)
ENTRIES = Event(
    "entries",
    "an entry in the decoder of conv.gather, once for each set of positions",
    component=DECODERS,
    picojoule=lambda target: logic_picojoule(_entry_um2(target), target),
)
_LOGIC = EnergyComponent("gather", "sorter and crossbar of conv.gather")
GROUPS = Event("groups", "a group in the sorter of conv.gather", component=_LOGIC, picojoule=group_picojoule)
PRODUCTS = Event(
    "products", "a product of conv.gather in crossbar and tree", component=_LOGIC, picojoule=product_picojoule
)


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
    arithmetic=arithmetic,
    events=(WORK, CONFLICT, IMBALANCE, ENTRIES, GROUPS, PRODUCTS),
)
