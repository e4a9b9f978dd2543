"""The decoder of packed weights, which several loads share: its pieces, and the energy of what passes through it.

A lane of magnitudes has a window of its own. Signs come as bitmaps or as gaps, at most one gap for two weights, with a
product by the divisor; then each weight takes its magnitude from those of the cycle.
"""

from __future__ import annotations

from collections.abc import Sequence

from isa.cells import MUL_INT8, MULTIPLEXER, Cells, logic_picojoule
from isa.decoders import (
    DECODERS,
    bits_of,
    canonical_table_um2,
    canonical_um2,
    compare_um2,
    gap_um2,
    ones_um2,
    window_um2,
)
from isa.events import Event
from isa.integers import ceil_div
from isa.layout import LONGEST_WEIGHT_CODE, WEIGHT_LANES, WEIGHT_MAGNITUDES
from isa.target import Target

_GAP_BITS = 8
"""Bits of a prefix of a gap that the decoder takes in a cycle."""
_SYMBOL_UM2 = canonical_um2(LONGEST_WEIGHT_CODE, WEIGHT_MAGNITUDES)
_SIGNS_UM2 = window_um2(4) + ones_um2()


def _gap_um2(target: Target) -> float:
    return gap_um2(_GAP_BITS, target.dma.decode_weights) + MUL_INT8


def _place_um2(target: Target) -> float:
    chosen = (target.dma.decode_magnitudes - 1) * bits_of(WEIGHT_MAGNITUDES) * MULTIPLEXER
    return bits_of(target.dma.decode_weights) * compare_um2(1) + chosen


def arithmetic(target: Target) -> Sequence[Cells]:
    """The pieces of the decoder."""
    signs, magnitudes = target.dma.decode_weights, target.dma.decode_magnitudes
    return (
        Cells("table of the weight decoder", 1, canonical_table_um2(LONGEST_WEIGHT_CODE, WEIGHT_MAGNITUDES)),
        Cells("lane of the weight decoder", WEIGHT_LANES, window_um2(1)),
        Cells("magnitude of a cycle in the weight decoder", magnitudes, _SYMBOL_UM2),
        Cells("signs of the weight decoder", 1, _SIGNS_UM2),
        Cells("gap of a cycle in the weight decoder", ceil_div(signs, 2), _gap_um2(target)),
        Cells("weight of a cycle in the weight decoder", signs, _place_um2(target)),
    )


def magnitude_picojoule(target: Target) -> float:
    """What cuts out a symbol and looks it up, and its share of the window of the lane."""
    window = WEIGHT_LANES * window_um2(1) / target.dma.decode_magnitudes
    return logic_picojoule(_SYMBOL_UM2 + window, target)


def weight_picojoule(target: Target) -> float:
    """The share of a weight in the windows and gaps of the signs, all of which work in every cycle, and its place."""
    signs = target.dma.decode_weights
    shared = _SIGNS_UM2 + ceil_div(signs, 2) * _gap_um2(target)
    return logic_picojoule(shared / signs + _place_um2(target), target)


MAGNITUDES = Event(
    "magnitudes",
    "a magnitude in the weight decoder: a weight, code or value that is not zero",
    component=DECODERS,
    picojoule=magnitude_picojoule,
)
WEIGHTS = Event(
    "weights",
    "the sign and the place of a weight, code or value in the weight decoder",
    component=DECODERS,
    picojoule=weight_picojoule,
)
EVENTS = (MAGNITUDES, WEIGHTS)
