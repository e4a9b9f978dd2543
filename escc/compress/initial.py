"""Starting bases for the alternation, from the weights alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from passes.math.linear import orthonormal, product, symmetric_eigen
from passes.math.noise import normal

F = NDArray[np.float64]

_QUANTISERS = {1: (1.224, 0.436), 2: (0.844, 0.287), 4: (0.52, 0.218)}
"""By greatest magnitude of a coefficient, the best quantiser of a unit normal: its step, and the share of the standard
deviation that it leaves.
"""
_CANDIDATES = 256
_KERNELS = 8192


def sizes(w: F) -> F:
    """Root of the mean square of each output channel [K] of weights [K, ...], 1 where there is nothing."""
    s: F = np.sqrt(np.mean(w * w, axis=tuple(range(1, w.ndim))))
    return np.where(s > 0, s, 1.0)


def initial_bases(w: F, bases: int, level: int, start: int, rng: np.random.Generator) -> tuple[F, F]:
    """Bases float64 [V, RS] and scales [K] for weights w float64 [K, C, RS] and coefficients of magnitudes to `level`.

    Three kinds of starts take turns: principal kernels, turned by random rotations that grow with the number of the
    start; kernels of the layer itself, greedily, from random candidates; the directions that most kernels share, which
    finds the bases of weights that are a sparse decomposition already.
    """
    s = sizes(w)
    unit: F = (w / s[:, None, None]).reshape(-1, w.shape[2])
    kind, turn = start % 3, start // 3
    if kind == 0:
        b = _principal(unit, bases, _QUANTISERS[level], turn, rng)
    else:
        b = _greedy(unit, bases, rng) if kind == 1 else _shared(unit, bases, rng)
    floor = 1e-6 * max(float(np.abs(b).max()), 1e-30)
    return np.where(np.abs(b) < floor, 0.0, b), s


def _principal(unit: F, bases: int, quantiser: tuple[float, float], turn: int, rng: np.random.Generator) -> F:
    """Principal axes; further bases are planes over what a quantiser (step, share left) leaves of the strongest."""
    step, share_left = quantiser
    squares, axes = symmetric_eigen(product(unit.T, unit) / len(unit))
    rank = min(unit.shape)
    left, axes = np.sqrt(np.maximum(squares[:rank], 0.0)), axes[:rank]
    if turn:
        mix = normal(rng, (rank, rank)) * (0.35 * turn)
        axes = product(orthonormal(np.eye(rank) + mix).T, axes)
    chosen: list[F] = []
    for _ in range(bases):
        i = int(np.argmax(left))
        chosen.append(step * left[i] * axes[i])
        left[i] *= share_left
    return np.stack(chosen)


def _greedy(unit: F, bases: int, rng: np.random.Generator) -> F:
    """Kernels one after the other, each the candidate that lowers the error of the residuals most as a ternary term."""
    left = unit[rng.permutation(len(unit))[:_KERNELS]].copy()
    chosen: list[F] = []
    for _ in range(bases):
        candidates = left[rng.permutation(len(left))[:_CANDIDATES]]
        size = (candidates * candidates).sum(axis=1)
        gain = np.maximum(2.0 * np.abs(product(left, candidates.T)) - size, 0.0).sum(axis=0)
        b = candidates[int(np.argmax(gain))]
        dot = (left * b).sum(axis=1)
        taken = np.where(2.0 * np.abs(dot) > (b * b).sum(), np.sign(dot), 0.0)
        if (weight := np.count_nonzero(taken)) > 0:
            b = (taken[:, None] * left).sum(axis=0) / weight  # the mean of the kernels that take it
        left -= taken[:, None] * b
        chosen.append(b)
    return np.stack(chosen)


def _shared(unit: F, bases: int, rng: np.random.Generator) -> F:
    """Directions in which most kernels lie, each with their median length; among equals the short ones come first."""
    sizes = np.sqrt((unit * unit).sum(axis=1))
    kernels = unit[sizes > 1e-9 * max(float(sizes.max()), 1e-30)]
    kernels = kernels[rng.permutation(len(kernels))[: 4 * _CANDIDATES]]
    sizes = np.sqrt((kernels * kernels).sum(axis=1))
    same = np.abs(product(kernels, kernels.T)) > 0.9999 * np.outer(sizes, sizes)
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
