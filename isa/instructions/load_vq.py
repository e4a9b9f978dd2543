"""`load.vq`: packed codes from DRAM, expanded through a book in PAR to weights in COEF."""

from __future__ import annotations

from collections.abc import Sequence

from isa.codebook import MOST_ENTRIES
from isa.costs import Counted, decoded_cycles
from isa.counts import Count
from isa.declaration import InstructionSpec, Rule, address, extent
from isa.extents import Extent, reads, writes
from isa.formats import Queue, Space
from isa.integers import Number, Values, most
from isa.layout import WEIGHT_TABLE_BYTES
from isa.target import Target
from isa.weight_decoder import EVENTS, WEIGHTS


def weights(v: Values) -> Number:
    """Weights that are written."""
    return v["count"] * v["span"] * v["depth"]


def extents(v: Values, _: Target) -> Sequence[Extent]:
    """The packed codes and their table, the book, and the weights."""
    return (
        reads(Space.CONSTANTS, v["dram"], v["size"]),
        reads(Space.CONSTANTS, v["table"], WEIGHT_TABLE_BYTES),
        reads(Space.PAR, v["book"], v["entries"] * v["span"] * v["depth"]),
        writes(Space.COEF, v["dst"], weights(v)),
    )


def rules(v: Values, _: Target) -> Sequence[Rule]:
    """Whole runs, and no more entries than codes can name."""
    return (
        Rule(v["count"] % most(v["run"], 1) != 0, "count={count} is not a multiple of run={run}"),
        Rule(v["entries"] > MOST_ENTRIES, f"entries={{entries}} exceed {MOST_ENTRIES}"),
    )


def cycles(v: Values, target: Target, nonzeros: Number) -> Number:
    """The longest of transfer, expansion, decoding of the signs, and of the magnitudes of `nonzeros` codes."""
    return decoded_cycles(v["size"] + WEIGHT_TABLE_BYTES, weights(v), v["count"], nonzeros, target)


def counts(v: Values, _: Target) -> Counted:
    """Weights; how many codes are zero, and so read no entry, is in the data."""
    return {Count.COEF_WRITE: weights(v), Count.WEIGHT_VALUES: weights(v), WEIGHTS: v["count"]}


SPEC = InstructionSpec(
    "load.vq",
    0x06,
    Queue.LOAD,
    "Fetch packed codes and the table of their code, and write the vectors that they name, entries of a book in PAR, "
    "to COEF as int8 weights: `span` columns of `depth` channels each, for a run of codes side by side.",
    (
        address("dram", "of the packed codes", 40),
        extent("size", "packed bytes", 24),
        address("table", "of the table", 40),
        extent("count", "codes", 24),
        address("dst", "of the destination in COEF"),
        address("book", "in PAR of the book: int8[entries][span][depth]"),
        extent("entries", "entries of the book", 8),
        extent("span", "columns of the window that a code covers", 8),
        extent("depth", "input channels that a code covers", 8),
        extent("run", "codes side by side in the order of the input channels", 16),
    ),
    rules=rules,
    extents=extents,
    counts=counts,
    events=EVENTS,
)
