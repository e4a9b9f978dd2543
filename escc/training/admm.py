"""Training with real numbers that are pulled to points of weight forms: ADMM."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import compress
from typing import Any

import torch
from torch import Tensor

from escc.training.sparsity import Sparsity
from escc.training.straight_through import CELL, DecomposedConv, Projected

_PULL = (1e-4, 1e-2)
"""Share of the way to Z that ADMM's penalty draws a number in a step, at the start and at the end."""


class Admm:
    """Alternating direction method of multipliers: real numbers A that are pulled to points Z of weight forms.

    The network computes with A. `project` sets Z to the point next to A + U, for coefficients the point that also fits
    the bytes, and adds A - Z to U; in between, A goes down the loss plus rho/2 * |A - Z + U|^2, where rho is diagonal,
    such that in a step the penalty takes each number the same share of its way. Coefficients start from A = Z; the
    numbers of other forms start where they are, which is as near to the real weights as Z allows. rho grows until in
    the end A is Z. `settle` ends it.
    """

    def __init__(self, modules: Sequence[Projected], sparsity: Sparsity):
        self._modules, self._sparsity = list(modules), sparsity
        self._decomposed = [isinstance(m, DecomposedConv) for m in self._modules]
        with torch.no_grad():
            for module in self._modules:
                if isinstance(module, DecomposedConv):
                    module.latent.copy_(module.coefficients())
            self._target = [m.projected(m.latent).clone() for m in self._modules]
        self._dual = [torch.zeros_like(m.latent) for m in self._modules]
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
        """Z := the point next to A + U, where coefficients fit `most` bytes; U := U + A - Z.

        The pull follows `progress`, from 0 to 1.
        """
        moved = [m.latent + u for m, u in zip(self._modules, self._dual, strict=True)]
        if math.isfinite(most) and any(self._decomposed):
            self._sparsity.tighten(most, list(compress(moved, self._decomposed)))
        least, largest = _PULL
        before, self._pull = self._pull, least * (largest / least) ** progress
        for module, u, z, a in zip(self._modules, self._dual, self._target, moved, strict=True):
            module.adapt(a)
            z.copy_(module.projected(a))
            u.copy_((a - z).clamp_(-CELL, CELL) * (before / self._pull))  # rho * U stays

    @torch.no_grad()
    def settle(self) -> None:
        """The weights of every module become Z."""
        for module, z in zip(self._modules, self._target, strict=True):
            module.settle(z)

    def pulls(self) -> list[Tensor]:
        """What the penalty takes off each coefficient in a step."""
        return [self._taken(i) for i, decomposed in enumerate(self._decomposed) if decomposed]

    @torch.no_grad()
    def draw(self) -> None:
        """Take off the numbers of the other forms what the penalty takes in a step."""
        for i, (module, decomposed) in enumerate(zip(self._modules, self._decomposed, strict=True)):
            if not decomposed:
                module.latent.sub_(self._taken(i))

    def _taken(self, i: int) -> Tensor:
        return (self._modules[i].latent.detach() - self._target[i] + self._dual[i]) * self._pull
