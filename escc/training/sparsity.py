"""Sparsity of a network in training: what coefficients are worth, and thresholds that keep the budget."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from escc.training.coefficient_budget import PARAMETER_BYTES, Candidates, CoefficientBudget, Occupancy
from escc.training.network import Network
from escc.training.straight_through import CELL, DecomposedConv, DenseConv

_DECAY = 0.98
"""Of the running means of squared probes and of squared gradients, for each of them."""
_FASTEST = 0.02
"""Largest share of the way to where it is drawn that a latent coefficient goes in a step."""
_FASTEST_TOGETHER = 0.002
"""The same where the network computes with the latent coefficients: there all of them move its output at once, and the
curvature along such a direction is far above that of each alone.
"""
_CAUTION = 0.04
"""The largest share of coefficients whose gradients are mostly noise: this times the square of their curvature over the
mean square of their gradient. The noise of the latent coefficient is then about 0.15.
"""
_NOISE = 0.05
"""Loss that the noise of real coefficients may add: at most, where the network computes with them."""
_FARTHEST = 0.1
"""Most that a latent coefficient moves in a step, in steps of the ternary grid: several times its noise. Where the
curvature is next to nothing, a gradient over it says nothing.
"""
_CROWD = 1.0
"""Curvature of coefficients that change together, over that of one alone: larger values change fewer of them."""
_FAR = 1e12
_TINY = 1e-30
_ATTEMPTS = 8
"""Times that a selection is made anew because it packs into more than its estimate."""


class Sparsity:
    """Latent coefficients of all decomposed layers of a network: how they move, and which of them are not 0.

    What a coefficient is worth, and how far its best value is, follows from the curvature of the loss with respect to
    it: the diagonal of the Gauss-Newton matrix, estimated by probes. A probe is the gradient of the scores with random
    weights whose covariance is the curvature of the loss with respect to the scores; its mean square is the curvature
    of the coefficient over the number of samples.
    """

    def __init__(self, network: Network):
        self._modules = [cast(DecomposedConv, layer.module) for layer in network.decomposed]
        self._curvatures = [torch.zeros_like(m.latent) for m in self._modules]
        self._damped: list[Tensor] | None = None
        """What follows from the curvatures, until the next probe."""
        self._seen = 0
        self._squares = [torch.zeros_like(m.latent) for m in self._modules]
        """Running means of squared gradients."""
        self._steps = 0
        self._budget = CoefficientBudget(len(self._modules))
        self.fixed = sum(
            layer.module.weight.numel() + PARAMETER_BYTES * len(layer.module.base)
            for layer in network.layers
            if isinstance(layer.module, DenseConv)
        )
        """Bytes of the dense layers: a byte for each weight, and parameters."""
        self.offset = 0.0
        """Bytes of the real constants beyond the estimate."""

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold."""
        return {
            "curvatures": self._curvatures,
            "seen": self._seen,
            "squares": self._squares,
            "steps": self._steps,
            "excess": self._budget.excess.tolist(),
            "offset": self.offset,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        for kept, name in ((self._curvatures, "curvatures"), (self._squares, "squares")):
            for mine, saved in zip(kept, state[name], strict=True):
                mine.copy_(saved)
        self._damped = None
        self._seen, self._steps = state["seen"], state["steps"]
        self._budget.excess = np.array(state["excess"])
        self.offset = state["offset"]

    @property
    def ready(self) -> bool:
        """Whether any probe was seen."""
        return self._seen > 0

    @property
    def latents(self) -> list[Tensor]:
        """The latent coefficients of all layers."""
        return [m.latent for m in self._modules]

    @property
    def worth(self) -> list[Tensor]:
        """The loss that a coefficient saves over the square of its latent value, for all of each layer [K, C, V]."""
        return [_smoothed(curvature) + _TINY for curvature in self._curvatures]

    @torch.no_grad()
    def observe(self, probe: Sequence[Tensor], samples: int) -> None:
        """Take in a probe of a batch of `samples`."""
        self._seen += 1
        weight = max(1 - _DECAY, 1 / self._seen)
        for curvature, gradient in zip(self._curvatures, probe, strict=True):
            curvature.lerp_(gradient.square() * samples, weight)
        self._damped = None

    @torch.no_grad()
    def move(self, rate: float) -> None:
        """One step of the latent coefficients of a ternary network, down the gradients over the curvatures.

        `rate` is 1 or less. Those whose gradients are mostly noise move slowly, and none far in one step. A pull
        towards the present ternary value together with the gradient draws a latent coefficient to its best real value
        as the gradient of the ternary value tells it: it changes its ternary value only if another one is better.
        Without it, one whose best value lies between two would switch to and fro for ever.
        """
        for h, square, module in zip(self._damping(), self._noise(), self._modules, strict=True):
            if module.latent.grad is not None:
                share = _believed(h, square, _CAUTION).clamp_(max=_FASTEST).mul_(rate)
                pull = (module.latent - module.coefficients()).mul_(_CROWD)
                _take(module.latent, pull.add_(_distance(module.latent.grad, h)).mul_(share))

    @torch.no_grad()
    def move_relaxed(self, rate: float, pulls: Sequence[Tensor]) -> None:
        """The same where the network computes with the latent coefficients, their noise included; the `pulls` are
        subtracted as they are.
        """
        curvatures = self._damping()
        if not curvatures:
            return
        # The variance of a coefficient is share * square / (2 h^2), what it adds to the loss h / 2 times that.
        total = torch.stack([h.sum() for h in curvatures]).sum()
        caution = torch.clamp(4 * _NOISE / total, max=_CAUTION)
        for h, square, module, pull in zip(curvatures, self._noise(), self._modules, pulls, strict=True):
            if module.latent.grad is not None:
                share = _believed(h, square, caution).clamp_(max=_FASTEST_TOGETHER).mul_(rate)
                _take(module.latent, _distance(module.latent.grad, h).mul_(share).add_(pull))

    def _noise(self) -> list[Tensor]:
        """Mean squares of the gradients, with those of this step, as smooth as the curvatures.

        Where the network answers as its teacher does, they are the curvature over the samples of a batch. Far from the
        teacher they are a multiple of that, by which steps that trust the curvature alone would be too long.
        """
        self._steps += 1
        weight = max(1 - _DECAY, 1 / self._steps)
        for square, module in zip(self._squares, self._modules, strict=True):
            if module.latent.grad is not None:
                square.lerp_(module.latent.grad.square(), weight)
        return [_steadied(square) for square in self._squares]

    def _damping(self) -> list[Tensor]:
        """Curvatures that are sure to be above 0; of single coefficients they are mostly noise."""
        if self._damped is None:
            self._damped = [_steadied(curvature) for curvature in self._curvatures]
        return self._damped

    @torch.no_grad()
    def bytes(self) -> float:
        """Estimate of the constants as they are; measures how the layers pack."""
        return self._estimate(self.latents)

    @torch.no_grad()
    def tighten(self, most: float, values: Sequence[Tensor] | None = None, remove_only: bool = False) -> None:
        """Set thresholds such that the estimate is at most `most` bytes.

        `values` [K, C, V] are thresholded in place of the latent coefficients. All coefficients are judged anew, unless
        `remove_only`: then thresholds only rise, and no more than it takes.
        """
        latents = [m.latent for m in self._modules] if values is None else list(values)
        worth = self.worth
        aim = most - self.offset - self.fixed
        for attempt in range(_ATTEMPTS):
            extents = [
                Occupancy.of(latent.abs() > m.threshold) for m, latent in zip(self._modules, latents, strict=True)
            ]
            layers: list[Candidates] = []
            for module, latent, w in zip(self._modules, latents, worth, strict=True):
                usable = latent.abs() > (module.threshold if remove_only else CELL)
                layers.append(Candidates(latent.detach().square() * w * usable, module.taps))
            chosen = self._budget.select(layers, aim, extents)
            for module, w, selection in zip(self._modules, worth, chosen, strict=True):
                threshold = torch.sqrt(selection.least / w).clamp_min(CELL)
                threshold.masked_fill_(~selection.channels[:, None, None], math.inf)
                module.threshold.copy_(torch.maximum(threshold, module.threshold) if remove_only else threshold)
            excess = self._estimate(latents) - most
            if excess <= 0:
                return
            aim -= excess + attempt

    def _estimate(self, latents: Sequence[Tensor]) -> float:
        """Bytes with the ternary values of `latents` beyond the thresholds; measures how the layers pack."""
        total = self.offset + self.fixed
        for i, (module, latent) in enumerate(zip(self._modules, latents, strict=True)):
            total += self._budget.measure(i, module.projected(latent), module.taps)
        return total


def _smoothed(x: Tensor) -> Tensor:
    """Best product of a function of the row of x [K, C, V] and one of the rest: single entries are mostly noise, and
    thresholds that follow noise switch coefficients on and off for nothing.
    """
    rows, rest = x.mean(dim=(1, 2), keepdim=True), x.mean(dim=0, keepdim=True)
    return rows * rest / x.mean().clamp_min(_TINY)


def _steadied(x: Tensor) -> Tensor:
    """Positive means [K, C, V], half of each from itself and half from its neighbours."""
    return _smoothed(x).add_(x).mul_(0.5).add_(_TINY)


def _believed(curvature: Tensor, square: Tensor, caution: Tensor | float) -> Tensor:
    """Share of the way to where a latent coefficient is drawn that leaves it with the noise that `caution` allows."""
    return (curvature / square.sqrt()).square_().mul_(caution)


def _distance(gradient: Tensor, curvature: Tensor) -> Tensor:
    """How far from its best value a coefficient is, as its gradient tells; finite, so that no share of it is NaN."""
    return (gradient / curvature).clamp_(-_FAR, _FAR)


def _take(latent: Tensor, change: Tensor) -> None:
    latent.sub_(change.clamp_(-_FARTHEST, _FARTHEST))
