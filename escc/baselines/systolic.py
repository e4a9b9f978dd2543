"""Weight-stationary systolic array, by the analytic rule of SCALE-Sim."""

from __future__ import annotations

from dataclasses import dataclass

from escc.baselines.machine import BaselineMachine, BufferAccess, Result, dense_bytes, load
from escc.baselines.work import LayerWork
from isa.layout import ceil_div

_SUM_BYTES = 4


@dataclass(frozen=True)
class Systolic(BaselineMachine):
    """`rows` x `columns` multipliers: rows hold window values, columns filters; output positions stream through."""

    rows: int
    columns: int

    @property
    def multipliers(self) -> int:
        return self.rows * self.columns

    def run(self, work: LayerWork, batch: int = 1) -> Result:
        g = work.geometry
        filters = g.filters // g.groups
        deep, wide = ceil_div(g.window, self.rows), ceil_div(filters, self.columns)
        streamed = g.positions * batch
        fold = 2 * self.rows + self.columns + streamed - 2
        macs = float(g.macs)
        sums = float(g.outputs) * _SUM_BYTES
        return Result(
            cycles=g.groups * deep * wide * fold / batch,
            dram=dense_bytes(work, batch),
            multiplications=macs,
            additions=macs,
            accesses={
                "inputs": BufferAccess(float(g.positions * g.window * g.groups * wide), float(g.inputs)),
                "weights": BufferAccess(g.weights / batch, g.weights / batch),
                "sums": BufferAccess(sums * deep, sums * deep),
            },
        )


def systolic() -> Systolic:
    """32 x 32 multipliers."""
    return load(Systolic, "systolic")


BASELINES = {"systolic": systolic}
"""What this file has for `escc.baselines.registry`, by name."""
