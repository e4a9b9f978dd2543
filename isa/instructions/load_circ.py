"""`load.circ`: packed values of circulant blocks from DRAM, spread to weights in COEF."""

from __future__ import annotations

from collections.abc import Sequence

from isa.circulant import BLOCKS
from isa.costs import Counted, decoded_cycles
from isa.counts import Count
from isa.declaration import Field, InstructionSpec, Rule, address, extent
from isa.extents import Extent, reads, writes
from isa.formats import Queue, Space
from isa.integers import Number, Values, ceil_div, most
from isa.layout import WEIGHT_TABLE_BYTES
from isa.target import Target
from isa.weight_decoder import EVENTS, WEIGHTS


def weights(v: Values) -> Number:
    """Weights that are written."""
    return v["kn"] * v["taps"] * v["run"]


def values(v: Values) -> Number:
    """Values of the blocks that the output channels touch."""
    rows = ceil_div(v["first"] + v["kn"], most(v["block"], 1))
    return rows * v["taps"] * ceil_div(v["run"], most(v["block"], 1)) * v["block"]


def extents(v: Values, _: Target) -> Sequence[Extent]:
    """The packed values and their table, and the weights."""
    return (
        reads(Space.CONSTANTS, v["dram"], v["size"]),
        reads(Space.CONSTANTS, v["table"], WEIGHT_TABLE_BYTES),
        writes(Space.COEF, v["dst"], weights(v)),
    )


def rules(v: Values, _: Target) -> Sequence[Rule]:
    """A block of channels that is one, and a first output channel that lies in it."""
    least, greatest = BLOCKS[0], BLOCKS[-1]
    wrong = (v["block"] < least) | (v["block"] > greatest)
    return (
        Rule(wrong, f"block={{block}} is not from {least} to {greatest}"),
        Rule(v["first"] >= most(v["block"], 1), "first={first} lies beyond a block of {block} channels"),
    )


def cycles(v: Values, target: Target, nonzeros: Number) -> Number:
    """The longest of transfer, writing, decoding of the signs, and of the magnitudes of `nonzeros` values."""
    return decoded_cycles(v["size"] + WEIGHT_TABLE_BYTES, weights(v), values(v), nonzeros, target)


def counts(v: Values, _: Target) -> Counted:
    """Weights; how many values are zero is in the data."""
    return {Count.COEF_WRITE: weights(v), Count.WEIGHT_VALUES: weights(v), WEIGHTS: values(v)}


SPEC = InstructionSpec(
    "load.circ",
    0x08,
    Queue.LOAD,
    "Fetch the packed values of circulant blocks and the table of their code, and write the weights of `kn` output "
    "channels to COEF: weight [i][j] of a block is its value [(i - j) mod block]. Channels beyond the last output "
    "and input channel are left away.",
    (
        address("dram", "of the packed values", 40),
        extent("size", "packed bytes", 24),
        address("table", "of the table", 40),
        address("dst", "of the destination in COEF"),
        Field("first", 8, "first output channel, counted from the beginning of its block"),
        extent("kn", "output channels"),
        extent("taps", "taps of the window"),
        extent("run", "input channels"),
        extent("block", "channels of a block", 8),
    ),
    rules=rules,
    extents=extents,
    counts=counts,
    events=EVENTS,
)
