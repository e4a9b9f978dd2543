"""Starting bases for the alternation, from the weights alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

F = NDArray[np.float64]

# The best ternary quantiser of a unit normal has levels 0 and +-1.224 and leaves this share of the standard deviation.
_LEVEL = 1.224
_LEFT = 0.436
_CANDIDATES = 256
_KERNELS = 8192


def initial_bases(w: F, bases: int, start: int, rng: np.random.Generator) -> tuple[F, F]:
    """Bases float64 [V, RS] and scales [K] for weights w float64 [K, C, RS].

    Three kinds of starts take turns: principal kernels, turned by random rotations that grow with the number of the
    start; kernels of the layer itself, greedily, from random candidates; the directions that most kernels share, which
    finds the bases of weights that are a sparse decomposition already.
    """
    s: F = np.sqrt(np.mean(w * w, axis=(1, 2)))
    s = np.where(s > 0, s, 1.0)
    unit: F = (w / s[:, None, None]).reshape(-1, w.shape[2])
    kind, turn = start % 3, start // 3
    if kind == 0:
        b = _principal(unit, bases, turn, rng)
    else:
        b = _greedy(unit, bases, rng) if kind == 1 else _shared(unit, bases, rng)
    floor = 1e-6 * max(float(np.abs(b).max()), 1e-30)
    return np.where(np.abs(b) < floor, 0.0, b), s


def _principal(unit: F, bases: int, turn: int, rng: np.random.Generator) -> F:
    """Principal axes; further bases are planes over what a ternary quantiser leaves of the strongest."""
    _, sigma, axes = np.linalg.svd(unit, full_matrices=False)
    left = sigma / np.sqrt(len(unit))
    rank = left.size
    if turn:
        mix = rng.standard_normal((rank, rank)) * (0.35 * turn)
        axes = np.linalg.qr(np.eye(rank) + mix)[0].T @ axes
    chosen: list[F] = []
    for _ in range(bases):
        i = int(np.argmax(left))
        chosen.append(_LEVEL * left[i] * axes[i])
        left[i] *= _LEFT
    return np.stack(chosen)


def _greedy(unit: F, bases: int, rng: np.random.Generator) -> F:
    """Kernels one after the other, each the candidate that lowers the error of the residuals most as a ternary term."""
    left = unit[rng.permutation(len(unit))[:_KERNELS]].copy()
    chosen: list[F] = []
    for _ in range(bases):
        candidates = left[rng.permutation(len(left))[:_CANDIDATES]]
        size = np.einsum("nr,nr->n", candidates, candidates)
        gain = np.maximum(2.0 * np.abs(left @ candidates.T) - size, 0.0).sum(axis=0)
        b = candidates[int(np.argmax(gain))]
        dot = left @ b
        taken = np.where(2.0 * np.abs(dot) > b @ b, np.sign(dot), 0.0)
        if (weight := float(taken @ taken)) > 0:
            b = taken @ left / weight  # the mean of the kernels that take it
        left -= taken[:, None] * b
        chosen.append(b)
    return np.stack(chosen)


def _shared(unit: F, bases: int, rng: np.random.Generator) -> F:
    """Directions in which most kernels lie, each with their median length; among equals the short ones come first."""
    sizes = np.linalg.norm(unit, axis=1)
    kernels = unit[sizes > 1e-9 * max(float(sizes.max()), 1e-30)]
    kernels = kernels[rng.permutation(len(kernels))[: 4 * _CANDIDATES]]
    sizes = np.linalg.norm(kernels, axis=1)
    same = np.abs(kernels @ kernels.T) > 0.9999 * np.outer(sizes, sizes)
    free = np.ones(len(kernels), np.bool_)
    chosen: list[F] = []
    for _ in range(bases):
        if not free.any():
            return np.concatenate([np.stack(chosen), _greedy(unit, bases - len(chosen), rng)])
        score = np.where(free, same[:, free].sum(axis=1) - 1e-3 * sizes / sizes.max(), -1.0)
        i = int(np.argmax(score))
        members = same[i] & free
        chosen.append(kernels[i] * (float(np.median(sizes[members])) / sizes[i]))
        free &= ~members
    return np.stack(chosen)
