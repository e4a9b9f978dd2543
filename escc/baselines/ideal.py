"""Machines without any overhead: every multiplier works in every cycle."""

from __future__ import annotations

from dataclasses import dataclass

from escc.baselines.machine import BaselineMachine, Result, dense_bytes, load, sparse_bytes
from escc.baselines.work import LayerWork


@dataclass(frozen=True)
class Ideal(BaselineMachine):
    """`units` multipliers that are always busy: with all products, or with those of two values other than zero."""

    units: int

    @property
    def multipliers(self) -> int:
        return self.units

    def run(self, work: LayerWork, batch: int = 1) -> Result:
        sparse = self.weights == "sparse"
        products = float(work.matches.mean()) if sparse else float(work.geometry.macs)
        return Result(
            cycles=products / self.units,
            dram=(sparse_bytes if sparse else dense_bytes)(work, batch),
            multiplications=products,
            additions=products,
        )


def ideal_dense() -> Ideal:
    """All products."""
    return load(Ideal, "ideal-dense")


def ideal_sparse() -> Ideal:
    """Products of two values other than zero."""
    return load(Ideal, "ideal-sparse")


BASELINES = {"ideal-dense": ideal_dense, "ideal-sparse": ideal_sparse}
"""What this file has for `escc.baselines.registry`, by name."""
