"""Which weights of a convolution to keep, and what the kept ones become, in the metric of second moments.

A deviation d from the best weights of an output channel costs d' H d of squared output error, H [D, D] being the metric
that all channels share (`passes.math.moments.Moments.regression`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from passes.math import linear

F = NDArray[np.float64]
Bits = NDArray[np.bool_]

_ROUNDS = 8
_SHARE = 0.3
"""Of the weights of a channel, what may go in one round before the last."""
_WORK = 3e10
"""Multiply-adds that the rounds of one layer may take together; the first round is always made."""


def saliency(weights: F, metric: F) -> F:
    """Output error of removing each weight alone while all others make up for it: w^2 / [H^-1]_jj, float64 [K, D].

    The rule of the optimal brain surgeon. Raises ValueError if the metric is not positive definite.
    """
    u, _ = linear.inverse_factors(metric)
    return weights * weights / (u * u).sum(axis=0)


def refit(wanted: F, metric: F, kept: Bits) -> tuple[F, F]:
    """The weights [K, D] nearest to `wanted` in the metric that are zero outside `kept` [K, D], by least squares.

    Second come their saliencies [K, D] when only the kept weights of a channel make up for one another; 0 outside.
    Raises ValueError if the metric is not positive definite.
    """
    target = linear.product(wanted, metric)
    fitted, costs = np.zeros_like(wanted), np.zeros_like(wanted)
    for k, row in enumerate(kept):
        support = np.flatnonzero(row)
        if not support.size:
            continue
        inverse = linear.inverse_lower(linear.cholesky(metric[np.ix_(support, support)]))
        half = linear.product(inverse, target[k, support][:, None])
        fitted[k, support] = linear.product(inverse.T, half)[:, 0]
        costs[k, support] = fitted[k, support] ** 2 / (inverse * inverse).sum(axis=0)
    return fitted, costs


def prune(wanted: F, metric: F, price: float, rounds: int | None = None) -> tuple[F, Bits]:
    """Weights [K, D] and where they are kept, after removing those whose removal costs less than `price`.

    The price rises to its full height in `rounds` steps (default: as many as a layer of this size has time for), in
    each of which the cheapest weights go, before the last one at most a share of each channel. After each the kept
    weights are fitted anew and the costs worked out again, so that one stays of two that replace each other. Raises
    ValueError if the metric is not positive definite.
    """
    steps = _affordable_rounds(*wanted.shape) if rounds is None else rounds
    costs, kept, weights = saliency(wanted, metric), np.ones(wanted.shape, bool), wanted
    for step in range(1, steps + 1):
        going = kept & (costs < price * step / steps)
        if step < steps:
            going = _cheapest(going, costs, np.ceil(_SHARE * kept.sum(axis=1)))
        kept = kept & ~going
        weights, costs = refit(wanted, metric, kept)
    return weights, kept


def _cheapest(going: Bits, costs: F, most: F) -> Bits:
    """Of the weights that go [K, D], the cheapest ones of each channel, at most `most` [K]; of equals the first."""
    order = np.argsort(np.where(going, costs, np.inf), axis=1, kind="stable")
    rank = np.argsort(order, axis=1, kind="stable")
    return going & (rank < most[:, None])


def _affordable_rounds(k: int, d: int) -> int:
    """Rounds within the work of a layer, were half of its weights kept: a factor, its inverse and a product each."""
    return int(np.clip(_WORK / (k * (d / 2) ** 3), 1, _ROUNDS))


def refit_by_gradients(wanted: F, metric: F, kept: Bits, rounds: int) -> tuple[F, F]:
    """As `refit` by `rounds` of conjugate gradients on all channels at once, for supports that are too large to factor.

    Saliencies are those of weights of which the others do not make up for one another: w^2 H_jj.
    """
    diagonal: F = np.diag(metric).copy()
    target = linear.product(wanted, metric)
    fitted = wanted * kept
    left = (target - linear.product(fitted, metric)) * kept
    scaled = left / diagonal
    direction, size = scaled, (left * scaled).sum(axis=1)
    for _ in range(rounds):
        pushed = linear.product(direction, metric) * kept
        curvature = (direction * pushed).sum(axis=1)
        step = np.where(curvature > 0, size / np.where(curvature > 0, curvature, 1.0), 0.0)[:, None]
        fitted, left = fitted + step * direction, left - step * pushed
        scaled = left / diagonal
        before, size = size, (left * scaled).sum(axis=1)
        direction = scaled + np.where(before > 0, size / np.where(before > 0, before, 1.0), 0.0)[:, None] * direction
    return fitted, fitted * fitted * diagonal
