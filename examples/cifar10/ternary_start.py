"""A decomposition to start training from: for each kernel the best of all ternary combinations of a few bases."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

LIMIT = 127
_ROUNDS = 12
_CHUNK = 1 << 14
"""Kernels that are tried against all combinations at a time."""


def decompose(weight: Tensor, bases: int) -> tuple[Tensor, Tensor, Tensor]:
    """Coefficients int8 [K, C, V], bases [V, T] of integers, and scales [K] for weights [K, C, T].

    Their product approximates the weights in the mean square; no data are looked at. Three steps alternate: the best of
    all 3^V combinations for every kernel, the bases that suit the coefficients best, the scales likewise.
    """
    k, c, taps = weight.shape
    choices = torch.tensor(list(product((-1.0, 0.0, 1.0), repeat=bases)), device=weight.device)
    scale = weight.square().mean((1, 2)).sqrt().clamp_min(1e-12)
    basis = _directions(weight / scale[:, None, None], bases)
    t = torch.zeros(k * c, bases, device=weight.device)
    for step in range(_ROUNDS):
        if step == _ROUNDS - 1:
            peak = basis.abs().max().clamp_min(1e-12)
            basis, scale = torch.round(basis * (LIMIT / peak)), scale * (peak / LIMIT)
        kernels = (weight / scale[:, None, None]).reshape(k * c, taps)
        t = _nearest(kernels, basis, choices)
        if step < _ROUNDS - 1:
            ridge = 1e-6 * len(t) * torch.eye(bases, device=weight.device)
            basis = torch.linalg.solve(t.T @ t + ridge, t.T @ kernels)
        made = (t @ basis).reshape(k, c, taps)
        energy = made.square().sum((1, 2))
        fitted = (made * weight).sum((1, 2)) / energy.clamp_min(1e-30)
        scale = torch.where(energy > 0, fitted, scale).clamp_min(1e-30)
    return t.reshape(k, c, bases).to(torch.int8), basis, scale


def _directions(kernels: Tensor, bases: int) -> Tensor:
    """Principal axes of kernels [K, C, T], as long as the kernels spread along them; more bases are finer copies."""
    flat = kernels.reshape(-1, kernels.shape[-1])
    values, axes = torch.linalg.eigh(flat.T @ flat / len(flat))
    scaled = (axes * values.clamp_min(0).sqrt()).T.flip(0)
    copies = [scaled * 0.4**i for i in range(-(-bases // len(scaled)))]
    return torch.cat(copies)[:bases].contiguous()


def _nearest(kernels: Tensor, basis: Tensor, choices: Tensor) -> Tensor:
    """The rows of `choices` whose combination of bases is nearest to each of the kernels [N, T]."""
    points = choices @ basis
    length = points.square().sum(1)
    parts = [(length - 2 * part @ points.T).argmin(1) for part in kernels.split(_CHUNK)]
    return choices[torch.cat(parts)]
