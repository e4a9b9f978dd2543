"""Designs that multiply inside resistive memory: what they convert and move, counted from layer shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from escc.baselines.machine import BaselineCosts, load
from escc.baselines.work import LayerWork
from isa.layout import ceil_div


@dataclass(frozen=True)
class Crossbars(BaselineCosts):
    """Crossbars of `rows` x `columns` cells, `cells_per_weight` of them for a weight.

    `stacked` crossbars add their sums before these become digital; `abreast` crossbars share a converted input. With
    `reads_inputs_once`, an input is read and converted once for all windows that it is in, otherwise for each of them.
    """

    rows: int
    columns: int
    cells_per_weight: int
    stacked: int
    abreast: int
    reads_inputs_once: bool

    def count(self, work: LayerWork) -> Mapping[str, int]:
        g = work.geometry
        deep = ceil_div(ceil_div(g.window, self.rows), self.stacked)
        wide = ceil_div(ceil_div(g.filters // g.groups * self.cells_per_weight, self.columns), self.abreast)
        reads = g.inputs if self.reads_inputs_once else g.positions * g.window * g.groups
        sums = g.outputs * self.cells_per_weight * deep
        return {
            "input reads": reads,
            "D/A conversions": reads * wide,
            "A/D conversions": sums,
            "partial sums moved": sums,
        }


def timely() -> Crossbars:
    """Inputs read once, sums of a whole sub-chip added while they are analog."""
    return load(Crossbars, "timely")


def prime_like() -> Crossbars:
    """Every crossbar converts its own inputs and sums."""
    return load(Crossbars, "prime-like")


BASELINES = {"timely": timely, "prime-like": prime_like}
"""What this file has for `escc.baselines.registry`, by name."""
