"""`load.weights`: packed dense weights from DRAM or ACT, expanded in COEF."""

from __future__ import annotations

from collections.abc import Sequence

from isa.cells import MUL_INT8, MULTIPLEXER, Cells
from isa.costs import Counted, decoded_cycles
from isa.counts import Count
from isa.declaration import InstructionSpec, address, extent
from isa.decoders import bits_of, canonical_table_um2, canonical_um2, compare_um2, gap_um2, ones_um2, window_um2
from isa.extents import Extent, reads, writes
from isa.field_groups import STAGED, weight_source
from isa.formats import Queue, Space
from isa.integers import Number, Values, ceil_div
from isa.layout import LONGEST_WEIGHT_CODE, WEIGHT_LANES, WEIGHT_MAGNITUDES, WEIGHT_TABLE_BYTES
from isa.target import Target

_GAP_BITS = 8
"""Bits of a prefix of a gap that the decoder takes in a cycle."""


def extents(v: Values, _: Target) -> Sequence[Extent]:
    """The packed bytes and their table, and the weights."""
    return (
        *weight_source(v),
        reads(Space.CONSTANTS, v["table"], WEIGHT_TABLE_BYTES),
        writes(Space.COEF, v["dst"], v["count"]),
    )


def cycles(v: Values, target: Target, nonzeros: Number) -> Number:
    """The longest of transfer, expansion, decoding of the signs, and of the magnitudes of `nonzeros` weights."""
    return decoded_cycles(v["size"] + WEIGHT_TABLE_BYTES, v["count"], v["count"], nonzeros, target)


def counts(v: Values, _: Target) -> Counted:
    """Weights; how many of them are zero is in the data."""
    return {
        Count.COEF_WRITE: v["count"],
        Count.WEIGHT_VALUES: v["count"],
        Count.ACT_READ: v["size"] * v["staged"],
    }


def arithmetic(target: Target) -> Sequence[Cells]:
    """The decoders of magnitudes and of signs, which the loads of codes, of vectors and of circulant blocks share.

    A lane of magnitudes has a window of its own. Signs come as bitmaps or as gaps, at most one gap for two weights,
    with a product by the divisor; then each weight takes its magnitude from those of the cycle.
    """
    signs, magnitudes = target.dma.decode_weights, target.dma.decode_magnitudes
    width = bits_of(WEIGHT_MAGNITUDES)
    symbol = canonical_um2(LONGEST_WEIGHT_CODE, WEIGHT_MAGNITUDES)
    gap = gap_um2(_GAP_BITS, signs) + MUL_INT8
    place = bits_of(signs) * compare_um2(1) + (magnitudes - 1) * width * MULTIPLEXER
    return (
        Cells("table of the weight decoder", 1, canonical_table_um2(LONGEST_WEIGHT_CODE, WEIGHT_MAGNITUDES)),
        Cells("lane of the weight decoder", WEIGHT_LANES, window_um2(1)),
        Cells("magnitude of a cycle in the weight decoder", magnitudes, symbol),
        Cells("signs of the weight decoder", 1, window_um2(4) + ones_um2()),
        Cells("gap of a cycle in the weight decoder", ceil_div(signs, 2), gap),
        Cells("weight of a cycle in the weight decoder", signs, place),
    )


SPEC = InstructionSpec(
    "load.weights",
    0x05,
    Queue.LOAD,
    "Fetch packed dense weights and the table of their codes, and expand them in COEF to `count` bytes.",
    (
        address("dram", "of the packed weights", 40),
        extent("size", "packed bytes", 24),
        address("table", "of the table", 40),
        extent("count", "weights", 24),
        address("dst", "of the destination in COEF"),
        *STAGED,
    ),
    extents=extents,
    counts=counts,
    arithmetic=arithmetic,
)
