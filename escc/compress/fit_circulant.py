"""Weighted least squares for weights of circulant blocks: the values and a scale for each output channel.

The error of output channel k is (w - s c)' H (w - s c), c the row of its blocks and H the second moments of the
windows. The normal equations of the values are never set up: conjugate gradients need products with H alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from escc.compress.initial import sizes
from isa.circulant import expand, summed
from isa.integers import ceil_div
from passes.math.linear import product

F = NDArray[np.float64]

_ROUNDS = 4
_STEPS = 12
_PEAK = 127


@dataclass(frozen=True)
class CirculantFit:
    """w[k] ~ s[k] times the blocks of the values: int8 [K/b, R, S, C/b, b], from -127 to 127; s float64 [K], positive.

    `relative_error` is the weighted squared error over that of no weights at all.
    """

    values: NDArray[np.int8]
    s: F
    relative_error: float


class _CirculantFit:
    def __init__(self, w: F, h: F, block: int):
        self.w = w
        self.h = h
        self.block = block
        k, r, s, c = w.shape
        self.values = ceil_div(k, block), r, s, ceil_div(c, block), block
        self.wh = self.weighed(w)

    def weighed(self, w: F) -> F:
        """w [K, R, S, C] times the metric."""
        return product(np.ascontiguousarray(w.reshape(len(w), -1)), self.h).reshape(w.shape)

    def spread(self, values: F) -> F:
        """The weights that values stand for, without scales."""
        k, _, _, c = self.w.shape
        return expand(values, 0, k, c).astype(np.float64)

    def refit(self, values: F, s: F) -> F:
        """The values of least error for scales, nearly: conjugate gradients from the values at hand."""
        scale = s[:, None, None, None]

        def apply(v: F) -> F:
            return summed(scale * self.weighed(scale * self.spread(v)), self.block)

        x, left = values, summed(scale * self.wh, self.block) - apply(values)
        towards, match = left, float((left * left).sum())
        for _ in range(_STEPS):
            image = apply(towards)
            bend = float((towards * image).sum())
            if not bend > 0:
                break
            x = x + (match / bend) * towards
            left = left - (match / bend) * image
            fresh = float((left * left).sum())
            if not fresh > 1e-12 * match:
                break
            towards, match = left + (fresh / match) * towards, fresh
        return x

    def scales(self, values: F, s: F) -> F:
        """The best scale of each output channel; what it was where it would not be positive."""
        unit = self.spread(values)
        own = (unit * self.weighed(unit)).sum(axis=(1, 2, 3))
        cross = (unit * self.wh).sum(axis=(1, 2, 3))
        fits = (own > 0) & (cross > 0)
        better: F = np.where(fits, cross / np.where(own > 0, own, 1.0), s)
        return better

    def relative_error(self, values: F, s: F) -> float:
        """Error over energy; 0 for the layer that computes nothing."""
        left = self.w - s[:, None, None, None] * self.spread(values)
        energy = float((self.w * self.wh).sum())
        return float((left * self.weighed(left)).sum()) / energy if energy > 0 else 0.0


def fit_circulant(w: F, h: F, block: int) -> CirculantFit:
    """Values and scales for weights w float64 [K, R, S, C] in the metric h float64 [R*S*C, R*S*C]."""
    pr = _CirculantFit(w, h, block)
    s = sizes(w)
    values = np.zeros(pr.values)
    for _ in range(_ROUNDS):
        values = pr.refit(values, s)
        s = pr.scales(values, s)
    # Output channels of a block share their values, and so the step of these.
    peak = np.abs(values).max(axis=(1, 2, 3, 4), keepdims=True)
    step = np.where(peak > 0, peak, 1.0) / _PEAK
    rounded = np.rint(values / step)
    s = pr.scales(rounded, s * step.reshape(-1).repeat(block)[: len(w)])
    return CirculantFit(rounded.astype(np.int8), s, pr.relative_error(rounded, s))
