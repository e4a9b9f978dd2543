"""`conv.esc`: a decomposed convolution, coefficients first, bases second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from isa.cells import Cells, logic_picojoule
from isa.costs import Counted
from isa.counts import Count
from isa.declaration import Field, InstructionSpec, Rule, address, extent
from isa.decoders import DECODERS, bits_of, compare_um2, gap_um2, ones_um2, shifter_um2, window_um2
from isa.events import Event, EventTable
from isa.extents import Extent, reads
from isa.field_groups import (
    ACT_RING,
    ACT_TILE,
    PSUM_TILE,
    ROW_GROUPS,
    STREAM_CODE,
    WINDOW,
    act_rules,
    act_tile,
    common_rule,
    groups_rule,
    psum_rules,
    psum_tile,
)
from isa.formats import Queue, Space
from isa.integers import Number, Values, ceil_div, least, most
from isa.target import Target

_REGISTER_SETS = 2
"""Sets of coefficient registers of a block: one in use, one being filled."""


def registers(c: Number, target: Target) -> Number:
    """Coefficient registers that an (output channel, basis) with `c` input channels takes: whole chunks."""
    return ceil_div(c, target.array.chunk) * target.array.chunk


def register_bits(level: Number) -> Number:
    """Bits in which a register holds a coefficient of magnitude up to `level`: non-zero or not, sign, and one more for
    the magnitudes beyond 1, of which a layer has at most three.
    """
    return 2 + (level > 1)


def register_room(level: Number, target: Target) -> Number:
    """Coefficients of magnitude up to `level` that a register set of a block holds."""
    return target.array.coefficient_registers * register_bits(1) // register_bits(level)


def working_slices(c: Number, level: Number, target: Target) -> Number:
    """Slices of a block that work at a time: those whose coefficients of `c` input channels and of magnitude up to
    `level` its registers hold.
    """
    return least(target.array.slices, register_room(level, target) // registers(c, target))


def greatest_magnitude(v: Values) -> Number:
    """What the field `level` stands for."""
    return 1 << v["level"]


def rules(v: Values, target: Target) -> Sequence[Rule]:
    """Partial sums, row groups, magnitudes of coefficients and their registers."""
    level, most_level = greatest_magnitude(v), target.array.coefficient_level
    need, have = registers(v["ic"], target), register_room(level, target)
    return (
        *act_rules(v),
        *psum_rules(v),
        groups_rule(v, target),
        Rule(
            need > have,
            "ic={ic} takes {need} coefficient registers; a block has {have} at level={level}",
            {"need": need, "have": have},
        ),
        Rule(
            level > most_level,
            "level={level} stands for magnitudes up to {level_magnitude}; the array computes those up to {most}",
            {"level_magnitude": level, "most": most_level},
        ),
        common_rule(v),
    )


def extents(v: Values, target: Target) -> Sequence[Extent]:
    """Input tile, streams of coefficients, bases and partial sums."""
    return (
        *act_tile(v),
        reads(Space.COEF, v["coef"], v["size"]),
        reads(Space.PAR, v["basis"], v["v"] * v["r"] * v["s"]),
        psum_tile(v, write=True),
    )


def counts(v: Values, target: Target) -> Counted:
    """What the data do not decide.

    Every row group expands every coefficient once. Slices keep their bases if one round takes all, else they fetch
    them for every output channel.
    """
    a = target.array
    working = most(1, working_slices(v["ic"], greatest_magnitude(v), target))
    rounds = ceil_div(v["v"], working)
    passes = ceil_div(v["kn"], a.blocks // v["groups"] * most(1, working // v["v"]))
    return {
        Count.INPUT_VALUES: v["ih"] * v["iw"] * v["ic"],
        Count.COEF_READ: v["size"] * v["groups"],
        FED: v["size"] * v["groups"],
        Count.WEIGHT_VALUES: v["kn"] * v["v"] * v["ic"] * v["groups"],
        Count.PAR_READ: v["v"] * v["r"] * v["s"] * v["groups"] * (1 + (rounds > 1) * (passes - 1)),
    }


def least_cycles(v: Values, target: Target) -> Number:
    """Cycles if no slice ever adds for more than one cycle, every tap of every basis counts, and all coefficients are
    there in time or follow one another without a gap.
    """
    a = target.array
    working = most(1, working_slices(v["ic"], greatest_magnitude(v), target))
    steps = ceil_div(v["v"], working) * ceil_div(v["kn"], a.blocks // v["groups"] * most(1, working // v["v"]))
    positions = ceil_div(v["ih"], v["groups"]) * v["iw"]
    taps = ceil_div(v["oh"], v["groups"]) * v["ow"] * v["r"] * v["s"]
    bus = ceil_div(ceil_div(v["ic"], a.chunk), a.broadcast_chunks)
    fed = ceil_div(v["size"] * v["groups"], a.expand_bytes)
    return a.issue_cycles + most(fed, steps * most(positions * bus, ceil_div(taps, a.macs)))


def _magnitude_bits(target: Target) -> int:
    """Bits of the magnitude of a coefficient."""
    return target.array.coefficient_level.bit_length() - 1


def _fed_um2(target: Target) -> float:
    """What brings a bit of a stream from any place of the port of COEF, and counts ones up to it."""
    return shifter_um2(1, 8 * target.array.expand_bytes) + 2 * compare_um2(1)


def _expander_um2(target: Target) -> float:
    """The windows of low bits, signs, magnitudes and rests of gaps."""
    return window_um2(3 + bool(_magnitude_bits(target))) + ones_um2()


def _coefficient_um2(target: Target) -> float:
    """What cuts a coefficient out of the windows and brings it to its place in a chunk of the registers."""
    a, magnitude = target.array, _magnitude_bits(target)
    cut = gap_um2(bits_of(a.coefficient_registers), a.coefficient_registers) + shifter_um2(1 + magnitude, a.expand_rate)
    return cut + shifter_um2(2 + magnitude, a.chunk)  # a one, the sign and the magnitude


def arithmetic(target: Target) -> Sequence[Cells]:
    """The port of COEF, which brings a stream from any bit and counts its ones to find its end, and the expanders."""
    a = target.array
    return (
        Cells("bit of the stream port of COEF", 8 * a.expand_bytes, _fed_um2(target)),
        Cells("expander of a block", a.blocks, _expander_um2(target)),
        Cells("coefficient of a cycle in an expander", a.blocks * a.expand_rate, _coefficient_um2(target)),
    )


def memories(target: Target) -> Mapping[str, int]:
    """Coefficients and intermediate channels of the blocks."""
    a = target.array
    return {
        "coefficient registers": a.blocks * ceil_div(_REGISTER_SETS * a.coefficient_registers * register_bits(1), 8),
        "intermediate FIFOs": a.blocks * a.slices * a.ic_fifo_depth * ceil_div(a.ic_bits, 8),
    }


_TABLE = EventTable(
    "slice_cycles",
    "slices",
    "cycles",
    "It splits `blocks * slices * cycles` of every conv.esc: cycles of a slice in which its accumulator does this.",
    parts=True,
)
WORK = Event("work", "it adds", _TABLE)
BROADCAST = Event(
    "broadcast", "it waits for its next position, the bus being busy or the position not sent yet", _TABLE
)
FIFO = Event(
    "fifo", "it waits for its next position, which the bus holds back because the FIFO of some block is full", _TABLE
)
EXPANSION = Event(
    "expansion",
    "it has its position, and waits for the coefficients of the step; or it waits for the first step of the "
    "instruction in all blocks, after the instruction before has ended",
    _TABLE,
)
MAC = Event("mac", "its FIFO of intermediate values is full because the MAC rows are still multiplying", _TABLE)
ADDER_TREE = Event(
    "adder_tree", "this FIFO is full because the adder tree waits for a slower slice of the block", _TABLE
)
IMBALANCE = Event(
    "imbalance", "it has no work: no output channel or basis is assigned to it, or others finish later", _TABLE
)
FED = Event(
    "fed",
    "a byte of a stream through the port of COEF",
    component=DECODERS,
    picojoule=lambda target: logic_picojoule(8 * _fed_um2(target), target),
)
EXPANDING = Event(
    "expanding",
    "a cycle in which the expander of a block works",
    component=DECODERS,
    picojoule=lambda target: logic_picojoule(_expander_um2(target), target),
)
EXPANDED = Event(
    "expanded",
    "a coefficient in an expander, which is not zero",
    component=DECODERS,
    picojoule=lambda target: logic_picojoule(_coefficient_um2(target), target),
)
ISSUE = Event("issue", "it waits for the unit to read the instruction, after the instruction before has ended", _TABLE)

SPEC = InstructionSpec(
    "conv.esc",
    0x12,
    Queue.COMPUTE,
    "Decomposed convolution, Basis-First: ic[i,b,p] = saturate((sum_c T[i,b,c] * act[p,c] + round) >> ic_shift) "
    "and psum[y,x,k+i] = sum over b and window of basis[b,r,s] * ic[i,b,(y*sy-pt+r, x*sx-pl+s)]. "
    "A coefficient T is 0 or +-1, +-2 or +-4, up to 2^level in magnitude: accumulators shift activations before they "
    "add them, in the same cycle. A block's registers hold 2 bits a coefficient if level = 0, else 3.",
    (
        *ACT_TILE,
        *WINDOW,
        *PSUM_TILE,
        address("coef", "of the first byte of the streams of coefficients in COEF"),
        Field("bit", 3, "bit of this byte at which the stream of the first output channel begins"),
        extent("size", "bytes in which the streams of the kn output channels lie", 24),
        extent("v", "virtual bases"),
        address("basis", "of the bases int8 [v][r][s] in PAR"),
        Field("ic_shift", 5, "right shift of the intermediate channel, round half up"),
        ROW_GROUPS,
        *STREAM_CODE,
        *ACT_RING,
    ),
    rules=rules,
    extents=extents,
    least_cycles=least_cycles,
    counts=counts,
    memories=memories,
    arithmetic=arithmetic,
    events=(WORK, BROADCAST, FIFO, EXPANSION, MAC, ADDER_TREE, IMBALANCE, ISSUE, FED, EXPANDING, EXPANDED),
)
