"""Training with real coefficients that are pulled to those of the grid: ADMM."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from escc.training.sparsity import Sparsity
from escc.training.straight_through import CELL, DecomposedConv

_PULL = (1e-4, 1e-2)
"""Share of the way to Z that ADMM's penalty draws a coefficient in a step, at the start and at the end."""
_NEAR = 0.45
"""Farthest that a latent coefficient lies from its ternary value when ADMM is over; less than half a step."""


class Admm:
    """Alternating direction method of multipliers: real coefficients A that are pulled to a ternary sparse Z.

    The network computes with A. `project` sets Z to the ternary sparse point next to A + U and adds A - Z to U; in
    between, A goes down the loss plus rho/2 * |A - Z + U|^2, where rho is diagonal, such that in a step the penalty
    takes each coefficient the same share of its way. It starts from A = Z, the ternary coefficients as they are; rho
    grows until in the end A is Z. `settle` ends it.
    """

    def __init__(self, modules: list[DecomposedConv], sparsity: Sparsity):
        self._modules, self._sparsity = modules, sparsity
        with torch.no_grad():
            for module in modules:
                module.latent.copy_(module.coefficients())
        self._target = [m.latent.detach().clone() for m in modules]
        self._dual = [torch.zeros_like(m.latent) for m in modules]
        self._pull = _PULL[0]

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold."""
        return {"target": self._target, "dual": self._dual, "pull": self._pull}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        for mine, saved in zip((*self._target, *self._dual), (*state["target"], *state["dual"]), strict=True):
            mine.copy_(saved)
        self._pull = state["pull"]

    @torch.no_grad()
    def project(self, most: float, progress: float) -> None:
        """Z := the ternary point next to A + U that fits `most` bytes; U := U + A - Z.

        The pull follows `progress`, from 0 to 1.
        """
        moved = [m.latent + u for m, u in zip(self._modules, self._dual, strict=True)]
        if math.isfinite(most):
            self._sparsity.tighten(most, moved)
        least, largest = _PULL
        before, self._pull = self._pull, least * (largest / least) ** progress
        for module, u, z, a in zip(self._modules, self._dual, self._target, moved, strict=True):
            z.copy_(module.projected(a))
            u.copy_((a - z).clamp_(-CELL, CELL) * (before / self._pull))  # rho * U stays

    @torch.no_grad()
    def settle(self) -> None:
        """Latent coefficients and thresholds whose ternary values are Z."""
        for module, z in zip(self._modules, self._target, strict=True):
            module.latent.copy_(z + (module.latent - z).clamp_(-_NEAR, _NEAR))
            module.threshold.masked_fill_(torch.isfinite(module.threshold), CELL)

    def pulls(self) -> list[Tensor]:
        """What the penalty takes off each coefficient in a step."""
        triples = zip(self._modules, self._dual, self._target, strict=True)
        return [(m.latent.detach() - z + u) * self._pull for m, u, z in triples]
