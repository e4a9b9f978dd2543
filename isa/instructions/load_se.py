"""`load.se`: streams of coefficients from DRAM, times vectors in PAR, to weights in COEF."""

from __future__ import annotations

from collections.abc import Sequence

from isa.coefficients import COUNT_BITS, MAX_COEFFICIENTS
from isa.costs import Counted, decoded_cycles
from isa.counts import Count
from isa.declaration import Field, InstructionSpec, Rule, address, extent, flag
from isa.extents import Extent, reads, writes
from isa.field_groups import STREAM_CODE, common_rule
from isa.formats import Queue, Space
from isa.integers import Number, Values
from isa.levels import LEVELS
from isa.smartexchange import MOST_SHIFT, MOST_TERMS
from isa.target import Target
from isa.weight_decoder import EVENTS, WEIGHTS


def patches(v: Values) -> Number:
    """Patches of weights that are written."""
    return v["kn"] * v["rows"] * v["run"]


def weights(v: Values) -> Number:
    """Weights that are written."""
    return patches(v) * v["span"] * v["depth"]


def vector_bytes(v: Values) -> Number:
    """Bytes of the vectors that the output channels use: those of each, or those that all share."""
    sets = v["own"] * v["kn"] + (1 - v["own"])
    return sets * v["terms"] * v["span"] * v["depth"]


def extents(v: Values, _: Target) -> Sequence[Extent]:
    """The streams, the vectors, and the weights."""
    return (
        reads(Space.CONSTANTS, v["dram"], v["size"]),
        reads(Space.PAR, v["vectors"], vector_bytes(v)),
        writes(Space.COEF, v["dst"], weights(v)),
    )


def rules(v: Values, _: Target) -> Sequence[Rule]:
    """A code that is defined, for no more coefficients than streams may hold."""
    count = patches(v) * v["terms"]
    return (
        Rule(v["level"] >= len(LEVELS), f"level={{level}} exceeds {len(LEVELS) - 1}"),
        common_rule(v),
        Rule(v["count_bits"] > COUNT_BITS[-1], f"count_bits={{count_bits}} exceeds {COUNT_BITS[-1]}"),
        Rule(count > MAX_COEFFICIENTS, f"{{count}} coefficients exceed {MAX_COEFFICIENTS}", {"count": count}),
    )


def cycles(v: Values, target: Target, nonzeros: Number) -> Number:
    """The longest of transfer, writing, and decoding: of the marks, and of `nonzeros` coefficients, each of which adds
    a vector.
    """
    return decoded_cycles(v["size"], weights(v), patches(v) * v["terms"], nonzeros, target)


def counts(v: Values, _: Target) -> Counted:
    """Weights, and the vectors, which a register holds as long as an output channel lasts."""
    return {
        Count.COEF_WRITE: weights(v),
        Count.WEIGHT_VALUES: weights(v),
        Count.PAR_READ: vector_bytes(v),
        WEIGHTS: patches(v) * v["terms"],
    }


SPEC = InstructionSpec(
    "load.se",
    0x07,
    Queue.LOAD,
    "Fetch the streams of coefficients of `kn` output channels, and write the weights that they stand for to COEF: "
    "each patch, `span` columns of `depth` channels, is the sum of `terms` vectors in PAR, each times 0 or a power of "
    f"two of either sign, shifted right and limited to int8. At most {MOST_TERMS} vectors and a shift of {MOST_SHIFT}.",
    (
        address("dram", "of the streams", 40),
        extent("size", "bytes of the streams", 24),
        address("dst", "of the destination in COEF"),
        address("vectors", "in PAR of the vectors: int8[terms][span][depth], of the first output channel or of all"),
        flag("own", "each output channel has vectors of its own"),
        extent("kn", "output channels"),
        extent("terms", "vectors of an output channel", 8),
        extent("rows", "rows of the window times patches side by side in one", 16),
        extent("run", "patches side by side in the order of the input channels", 16),
        extent("span", "columns of the window that a patch covers", 8),
        extent("depth", "input channels that a patch covers", 8),
        Field("shift", 4, "right shift of the sums, round half up"),
        *STREAM_CODE,
    ),
    rules=rules,
    extents=extents,
    counts=counts,
    events=EVENTS,
)
