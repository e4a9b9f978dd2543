"""The metric in which errors of a layer's weights count, with what every fit in it shares."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from passes.math.linear import cholesky, product

F = NDArray[np.float64]

_BLOCK_COLUMNS = 288
"""Columns that a compiled loop updates itself; what is further away is one matrix product."""
_KEPT_BYTES = 1 << 28
"""Largest metric of which a copy in another order is kept."""
_NORMAL_BYTES = 1 << 23
"""Bound of the temporaries of normal equations."""


class Metric:
    """An error e [D] of the weights of one output channel costs e' h e; h float64 [D, D] is positive definite.

    Columns come in groups of `width` that are fitted together, such as the taps of an input channel.
    """

    def __init__(self, h: F, width: int):
        self.h = h
        self.width = width
        self.groups = len(h) // width
        self.blocks = _blocks(self.groups, width)
        """Groups [first, end) that are worked on together."""

    @cached_property
    def diagonal(self) -> F:
        """The metric within each group: float64 [groups, width, width]."""
        w = self.width
        return np.stack([self.h[i : i + w, i : i + w] for i in range(0, len(self.h), w)])

    @classmethod
    def of_channels(cls, h: F, taps: int) -> Metric:
        """That of columns in the order [C, RS], a group for each input channel, from one in the order [RS, C]."""
        order: NDArray[np.int64] = np.arange(len(h), dtype=np.int64).reshape(taps, -1).T.reshape(-1)
        return cls(np.ascontiguousarray(h[np.ix_(order, order)]), taps)

    @cached_property
    def factor(self) -> F:
        """Upper triangular v [D, D] with h = v v'.

        e' h e is the sum of the squares of v' e, and of these the first j depend on the first j errors alone.
        """
        return np.ascontiguousarray(cholesky(self.h[::-1, ::-1])[::-1, ::-1])

    @cached_property
    def conditional(self) -> F:
        """The metric of each group if later groups make up for its errors: float64 [groups, width, width]."""
        w = self.width
        blocks = (self.factor[i : i + w, i : i + w] for i in range(0, len(self.h), w))
        return np.stack([product(block, block.T) for block in blocks])

    @cached_property
    def _pairs(self) -> F:
        g, w = self.groups, self.width
        return np.ascontiguousarray(self.h.reshape(g, w, g, w).transpose(0, 2, 1, 3)).reshape(g, g, w * w)

    def pairs(self, first: int, end: int) -> F:
        """The metric between the groups [first, end) and all groups: float64 [end - first, groups, width * width]."""
        if self.h.nbytes <= _KEPT_BYTES:
            return self._pairs[first:end]
        g, w = self.groups, self.width
        part = self.h[first * w : end * w].reshape(-1, w, g, w)
        return part.transpose(0, 2, 1, 3).reshape(-1, g, w * w)

    def weighed(self, w: F) -> F:
        """w [K, D] times h."""
        return product(w, self.h)

    def within(self, first: int, end: int) -> F:
        """The metric of the groups [first, end) among themselves: float64 [N, N], N = (end - first) * width."""
        part = slice(first * self.width, end * self.width)
        return np.ascontiguousarray(self.h[part, part])

    def factor_within(self, first: int, end: int) -> F:
        """`factor` of the groups [first, end) among themselves."""
        part = slice(first * self.width, end * self.width)
        return np.ascontiguousarray(self.factor[part, part])

    def take(self, gradient: F, rows: NDArray[np.int64], change: F, first: int, end: int) -> None:
        """Take changes [rows, N] of the weights in the groups [first, end) times h off the gradient [K, D] in place."""
        gradient[rows] -= product(change, self.h[first * self.width : end * self.width])

    def pass_on(self, passed: F, errors: F, first: int, end: int) -> None:
        """Add errors [K, N] of the groups [first, end) times their columns of the factor to `passed` [K, D] in place,
        for all later groups.
        """
        lo, hi = first * self.width, end * self.width
        passed[:, hi:] += product(errors, self.factor[lo:hi, hi:])

    def normal(self, flat: F) -> F:
        """Quadratic form [V, width, V, width] of bases that all groups share, where the row k of the weights of group g
        is the sum of coefficients flat[k, g, v] times basis v; float64 [K, groups * V].
        """
        v, w = flat.shape[1] // self.groups, self.width
        normal = np.zeros((v, w, v, w))
        step = max(1, _NORMAL_BYTES // (8 * flat.shape[1] * v))
        for first in range(0, self.groups, step):
            end = min(self.groups, first + step)
            # m[(a,v),(d,u)] = sum_k flat[k,a,v] flat[k,d,u], then contracted with h[a,r,d,q] over both groups.
            m = product(flat[:, first * v : end * v].T, flat)
            m4 = m.reshape(end - first, v, self.groups, v).transpose(1, 3, 0, 2).reshape(v * v, -1)
            part = product(m4, self.pairs(first, end).reshape(-1, w * w))
            normal += part.reshape(v, v, w, w).transpose(0, 2, 1, 3)
        return normal

    def energies(self, w: F) -> F:
        """Cost of each row of errors w [K, D]: float64 [K]."""
        return (w * self.weighed(w)).sum(axis=1)


class SeparateMetric(Metric):
    """The metric of groups whose errors do not meet: h is 0 between groups, `diagonal` [groups, width, width] within.

    What it takes grows with the number of groups, not with the square of that.
    """

    def __init__(self, diagonal: F):
        self.groups, self.width, _ = diagonal.shape
        self.blocks = _blocks(self.groups, self.width)
        self.diagonal = diagonal

    @cached_property
    def _factors(self) -> F:
        return np.stack([np.ascontiguousarray(cholesky(h[::-1, ::-1])[::-1, ::-1]) for h in self.diagonal])

    @cached_property
    def conditional(self) -> F:
        """The metric within each group, for no other group can make up for its errors."""
        return self.diagonal

    def weighed(self, w: F) -> F:
        """w [K, D] times h."""
        parts = [product(w[:, a * self.width : b * self.width], self.within(a, b)) for a, b in self.blocks]
        return np.concatenate(parts, axis=1)

    def within(self, first: int, end: int) -> F:
        """The metric of the groups [first, end) among themselves: float64 [N, N], N = (end - first) * width."""
        return _block_diagonal(self.diagonal[first:end])

    def factor_within(self, first: int, end: int) -> F:
        """`factor` of the groups [first, end) among themselves."""
        return _block_diagonal(self._factors[first:end])

    def take(self, gradient: F, rows: NDArray[np.int64], change: F, first: int, end: int) -> None:
        """As that of `Metric`."""
        gradient[rows, first * self.width : end * self.width] -= product(change, self.within(first, end))

    def pass_on(self, passed: F, errors: F, first: int, end: int) -> None:
        """Nothing: errors of a group do not show in later ones."""

    def normal(self, flat: F) -> F:
        """As that of `Metric`."""
        v, w = flat.shape[1] // self.groups, self.width
        own = np.empty((self.groups, v, v))
        for first, end in self.blocks:
            part = np.ascontiguousarray(flat[:, first * v : end * v])
            n: NDArray[np.int64] = np.arange(end - first)
            own[first:end] = product(part.T, part).reshape(end - first, v, end - first, v)[n, :, n]
        found = product(own.transpose(1, 2, 0).reshape(v * v, -1), self.diagonal.reshape(-1, w * w))
        return np.ascontiguousarray(found.reshape(v, v, w, w).transpose(0, 2, 1, 3))


def _blocks(groups: int, width: int) -> list[tuple[int, int]]:
    n = max(1, _BLOCK_COLUMNS // width)
    return [(first, min(groups, first + n)) for first in range(0, groups, n)]


def _block_diagonal(blocks: F) -> F:
    """Square matrix with the given ones [N, W, W] on its diagonal."""
    n, w, _ = blocks.shape
    whole = np.zeros((n, w, n, w))
    index = np.arange(n, dtype=np.int64)
    whole[index, :, index] = blocks
    return whole.reshape(n * w, n * w)
