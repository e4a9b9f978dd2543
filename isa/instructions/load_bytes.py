"""`load.bytes`: constants from DRAM to COEF, PAR or ACT as they are."""

from __future__ import annotations

from collections.abc import Sequence

from isa.costs import Counted, transfer_cycles
from isa.counts import Count
from isa.declaration import Field, InstructionSpec, address, extent
from isa.extents import Extent, reads, writes
from isa.formats import Queue, Scratchpad, Space
from isa.integers import Number, Values
from isa.target import Target


def extents(v: Values, _: Target) -> Sequence[Extent]:
    """The same bytes in DRAM and in the scratchpad."""
    return (
        reads(Space.CONSTANTS, v["dram"], v["size"]),
        writes(Space.COEF, v["dst"], v["size"], v["pad"] == Scratchpad.COEF),
        writes(Space.PAR, v["dst"], v["size"], v["pad"] == Scratchpad.PAR),
        writes(Space.ACT, v["dst"], v["size"], v["pad"] == Scratchpad.ACT),
    )


def cycles(v: Values, target: Target) -> Number:
    """Cycles of the scratchpad side."""
    return transfer_cycles(v["size"], target)


def counts(v: Values, _: Target) -> Counted:
    """Bytes in COEF are weights, one each; bytes in PAR are parameters. Bytes in ACT are counted as weights where they
    come to COEF.
    """
    weights, parameters = v["pad"] == Scratchpad.COEF, v["pad"] == Scratchpad.PAR
    return {
        Count.COEF_WRITE: v["size"] * weights,
        Count.PAR_WRITE: v["size"] * parameters,
        Count.ACT_WRITE: v["size"] * (v["pad"] == Scratchpad.ACT),
        Count.WEIGHT_VALUES: v["size"] * weights,
    }


SPEC = InstructionSpec(
    "load.bytes",
    0x03,
    Queue.LOAD,
    "Copy bytes unchanged: dense weights int8 [kn][r][s][cpg] to COEF; bases, requantisation blocks, other "
    "parameters and tables to PAR; weights of any form to ACT, from where a `staged` load takes them to COEF.",
    (
        address("dram", "of the source", 40),
        extent("size", "bytes", 24),
        Field("pad", 2, "destination scratchpad", enum=Scratchpad),
        address("dst", "of the destination"),
    ),
    extents=extents,
    cycles=cycles,
    counts=counts,
)
