"""Sparsity of a network in training: what coefficients are worth, and thresholds that keep the budget."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from escc.compress.budget import PARAMETER_BYTES, Budget, Candidates, overhead_bytes
from escc.compress.straight_through import CELL, DecomposedConv, DenseConv
from escc.training.network import Network

_DECAY = 0.999
"""Of the running mean of squared gradients, for each step."""
_TINY = 1e-30
_ATTEMPTS = 8
"""Times that a selection is made anew because it packs into more than its estimate."""


class Sparsity:
    """Thresholds of all decomposed layers of a network.

    A coefficient is worth the squared gradient of the loss with respect to it times its squared value (the diagonal of
    the empirical Fisher information, as in optimal brain damage), smoothed over rows and columns of its layer.
    """

    def __init__(self, network: Network):
        self._modules = [cast(DecomposedConv, layer.module) for layer in network.decomposed]
        self._squares = [torch.zeros_like(m.latent) for m in self._modules]
        self._seen = 0
        self._budget = Budget(len(self._modules))
        self._fixed = sum(
            layer.module.weight.numel() + PARAMETER_BYTES * len(layer.module.base)
            for layer in network.layers
            if isinstance(layer.module, DenseConv)
        )
        self.offset = 0.0
        """Bytes of the real constants beyond the estimate."""

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold."""
        return {
            "squares": self._squares,
            "seen": self._seen,
            "excess": self._budget.excess.tolist(),
            "offset": self.offset,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        for mine, saved in zip(self._squares, state["squares"], strict=True):
            mine.copy_(saved)
        self._seen = state["seen"]
        self._budget.excess = np.array(state["excess"])
        self.offset = state["offset"]

    @property
    def ready(self) -> bool:
        """Whether any gradient was seen."""
        return self._seen > 0

    @torch.no_grad()
    def observe(self) -> None:
        """Take in the gradients of a step."""
        self._seen += 1
        weight = max(1 - _DECAY, 1 / self._seen)
        for squares, module in zip(self._squares, self._modules, strict=True):
            if module.latent.grad is not None:
                squares.lerp_(module.latent.grad.square(), weight)

    @torch.no_grad()
    def dampen(self, strength: float) -> None:
        """Add a pull of each latent coefficient towards its ternary value to the gradients.

        A coefficient whose best real value lies between two ternary ones would switch to and fro for ever, and spend
        much of its time at the worse of the two. The pull keeps it unless its gradient is consistent: at the border of
        the cell it is `strength` standard deviations of the gradient.
        """
        for squares, module in zip(self._squares, self._modules, strict=True):
            if module.latent.grad is not None:
                distance = module.latent - module.coefficients()
                module.latent.grad.add_(distance * squares.sqrt(), alpha=strength / CELL)

    @torch.no_grad()
    def bytes(self) -> float:
        """Estimate of the constants as they are; measures how the layers pack."""
        total = self.offset + self._fixed
        for i, module in enumerate(self._modules):
            t = module.coefficients().cpu().numpy()
            t = np.sign(t).astype(np.int8)
            total += self._budget.measure(i, t) + overhead_bytes(t != 0, module.basis[0].numel())
        return total

    @torch.no_grad()
    def tighten(self, most: float, values: Sequence[Tensor] | None = None, remove_only: bool = False) -> None:
        """Set thresholds such that the estimate is at most `most` bytes.

        `values` [K, C, V] are thresholded in place of the latent coefficients. All coefficients are judged anew, unless
        `remove_only`: then thresholds only rise, and no more than it takes.
        """
        latents = [m.latent for m in self._modules] if values is None else list(values)
        worth = [_smoothed(s) + _TINY for s in self._squares]
        aim = most - self.offset - self._fixed
        for attempt in range(_ATTEMPTS):
            masks = [_array(latent.abs() > m.threshold) for m, latent in zip(self._modules, latents, strict=True)]
            layers: list[Candidates] = []
            for module, latent, w in zip(self._modules, latents, worth, strict=True):
                usable = latent.abs() > (module.threshold if remove_only else CELL)
                layers.append(Candidates(_array(latent.square() * w * usable), module.basis[0].numel()))
            chosen = self._budget.select(layers, aim, masks)
            for module, w, selection in zip(self._modules, worth, chosen, strict=True):
                threshold = torch.sqrt(selection.least / w).clamp_min(CELL)
                threshold[torch.from_numpy(~selection.channels).to(threshold.device)] = math.inf
                module.set_threshold(torch.maximum(threshold, module.threshold) if remove_only else threshold)
            excess = self._estimate(latents) - most
            if excess <= 0:
                return
            aim -= excess + attempt

    def _estimate(self, latents: Sequence[Tensor]) -> float:
        """Bytes with the ternary values of `latents` beyond the thresholds; measures how the layers pack."""
        total = self.offset + self._fixed
        for i, (module, latent) in enumerate(zip(self._modules, latents, strict=True)):
            t = _array(torch.sign(latent) * (latent.abs() > module.threshold)).astype(np.int8)
            total += self._budget.measure(i, t) + overhead_bytes(t != 0, module.basis[0].numel())
        return total


def _smoothed(x: Tensor) -> Tensor:
    """Best product of a function of the row of x [K, C, V] and one of the rest: single entries are mostly noise, and
    thresholds that follow noise switch coefficients on and off for nothing.
    """
    rows, rest = x.mean(dim=(1, 2), keepdim=True), x.mean(dim=0, keepdim=True)
    return rows * rest / x.mean().clamp_min(_TINY)


def _array(x: Tensor) -> NDArray[Any]:
    return x.detach().cpu().numpy()
