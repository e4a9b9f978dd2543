"""Weights cut into patches of neighbouring columns of the window, or of neighbouring input channels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from escc.compress.metric import Metric
from escc.compress.schemes import target_and_metric
from passes.decomposition.scheme import ConvLayer

F = NDArray[np.float64]

LONGEST_ROW = 5
"""Widest window whose rows are patches; in wider ones patches lie along the input channels."""
CHANNELS = 4
"""Input channels of a patch where kernels have no rows worth the name."""


class Patch(NamedTuple):
    """Columns of the window and input channels that a patch covers."""

    span: int
    depth: int

    @property
    def width(self) -> int:
        """Weights of a patch."""
        return self.span * self.depth

    @classmethod
    def of(cls, shape: tuple[int, ...]) -> Patch | None:
        """What suits weights of a shape [K, R, S, C]; None where no patches do."""
        _, _, s, c = shape
        if 1 < s <= LONGEST_ROW:
            return cls(s, 1)
        return cls(1, CHANNELS) if c % CHANNELS == 0 else None

    def groups(self, shape: tuple[int, ...]) -> tuple[int, int, int]:
        """Patches of an output channel of weights [K, R, S, C]: rows, columns, and along the input channels."""
        _, r, s, c = shape
        return r, s // self.span, c // self.depth

    def order(self, shape: tuple[int, ...]) -> NDArray[np.int64]:
        """Places of the weights [R, S, C] of an output channel, patch after patch: int64 [R*S*C]."""
        r, columns, run = self.groups(shape)
        places = np.arange(r * columns * run * self.width, dtype=np.int64)
        apart = places.reshape(r, columns, self.span, run, self.depth)
        return np.ascontiguousarray(apart.transpose(0, 1, 3, 2, 4)).reshape(-1)


class Cut(NamedTuple):
    """Wanted weights float64 [K, patches*width], patch after patch, and the metric of their patches."""

    wanted: F
    metric: Metric

    @classmethod
    def of(cls, layer: ConvLayer, patch: Patch) -> Cut:
        """Those of a layer."""
        wanted, metric = target_and_metric(layer)
        order = patch.order(wanted.shape)
        ordered = np.ascontiguousarray(metric[np.ix_(order, order)])
        return cls(np.ascontiguousarray(wanted.reshape(len(wanted), -1)[:, order]), Metric(ordered, patch.width))
