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


class Metric:
    """An error e [D] of the weights of one output channel costs e' h e; h float64 [D, D] is positive definite.

    Columns come in groups of `width` that are fitted together, such as the taps of an input channel.
    """

    def __init__(self, h: F, width: int):
        self.h = h
        self.width = width
        self.groups = len(h) // width
        n = max(1, _BLOCK_COLUMNS // width)
        self.blocks = [(first, min(self.groups, first + n)) for first in range(0, self.groups, n)]
        """Groups [first, end) that are worked on together."""
        self.diagonal: F = np.stack([h[i : i + width, i : i + width] for i in range(0, len(h), width)])
        """The metric within each group: float64 [groups, width, width]."""

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

    def energies(self, w: F) -> F:
        """Cost of each row of errors w [K, D]: float64 [K]."""
        return (w * self.weighed(w)).sum(axis=1)
