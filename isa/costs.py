"""Closed forms that several instructions share: window taps, multiplications, the post unit, scratchpad transfers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from isa.counts import Count
from isa.events import Countable
from isa.field_groups import inside
from isa.integers import Number, Values, ceil_div, most, most_of
from isa.target import Target

Counted: TypeAlias = dict[Countable, Number]

POST_OPERATIONS: Mapping[str, tuple[int, int, int]] = {
    # per value: (int8 additions or comparisons, int32 additions, int32 multiplications)
    "requant": (2, 2, 1),
    "add": (2, 2, 2),
    "multiply": (2, 1, 2),
    "average": (2, 1, 1),
}


def window_taps(v: Values) -> Number:
    """Pairs (output position, window tap) that read a position inside the tile."""
    rows = _taps(v["oh"], v["sy"], v["r"], v["pt"], v["ih"])
    return rows * _taps(v["ow"], v["sx"], v["s"], v["pl"], v["iw"])


def _taps(outputs: Number, stride: Number, kernel: Number, pad: Number, size: Number) -> Number:
    total = 0
    for i in range(most_of(kernel)):
        total = total + inside(outputs, stride, i - pad, size) * (i < kernel)
    return total


def multiplications(products: Number, factor_bytes: int = 1) -> Counted:
    """Products of an int8 weight with a factor of some bytes, each added to a partial sum."""
    return {
        Count.MULTIPLICATIONS: products,
        Count.MAC_MUL_INT8: products * factor_bytes,
        Count.MAC_ADD_INT32: products,
    }


def output_values(v: Values) -> Number:
    """Values of the output tile."""
    return v["oh"] * v["ow"] * v["kn"]


def post_cycles(values: Number, target: Target) -> Number:
    """Cycles of the post unit for values that take a lane-cycle each."""
    return target.post.issue_cycles + ceil_div(values, target.post.lanes)


def post_operations(what: str, values: Number) -> Counted:
    """Operations of the post unit for an entry of `POST_OPERATIONS`."""
    compare, add, multiply = POST_OPERATIONS[what]
    return {
        Count.POST_ADD_INT8: compare * values,
        Count.POST_ADD_INT32: add * values,
        Count.POST_MUL_INT32: multiply * values,
    }


def summed(*parts: Mapping[Countable, Number]) -> Counted:
    """The sum of counts."""
    found: Counted = {}
    for part in parts:
        for count, number in part.items():
            found[count] = found[count] + number if count in found else number
    return found


def transfer_cycles(nbytes: Number, target: Target) -> Number:
    """Cycles of the scratchpad side of a DMA engine."""
    return ceil_div(nbytes, target.dma.bytes_per_cycle)


def decoded_cycles(read: Number, written: Number, values: Number, nonzeros: Number, target: Target) -> Number:
    """Cycles of a load that decodes: the longest of reading and writing so many bytes, of decoding the signs or marks
    of so many values, and of decoding the magnitudes of the non-zeros among them.
    """
    transfer, signs = transfer_cycles(most(read, written), target), ceil_div(values, target.dma.decode_weights)
    return most(most(transfer, signs), ceil_div(nonzeros, target.dma.decode_magnitudes))
