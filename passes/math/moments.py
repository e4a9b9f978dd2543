"""Second moments of the windows that a convolution sees, and of the outputs it should give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from isa import exact

Array: TypeAlias = NDArray[Any]
F = NDArray[np.float64]

MOST_CHANNEL_POSITIONS = 1 << 12
"""Positions that are enough for moments of each input channel by itself."""
_BLOCK_ELEMENTS = 1 << 22
"""Windows enter a product in blocks of this many elements."""


@dataclass(frozen=True)
class Moments:
    """Means and central second moments over `count` positions, float64.

    x [D] is the window of a position, in the order [R, S, C] of the weights of one output channel; y [K] is the
    wanted output. `xx` [D, D] and `xy` [D, K] are E[(x - mean)(. - mean)'].
    """

    count: int
    mean_x: F
    mean_y: F
    xx: F
    xy: F

    def regression(self, weights: F, ridge: float) -> tuple[F, F]:
        """Weights [K, D] that give y best, and the metric [D, D] in which a deviation from them costs output error.

        The ridge (a share of the mean variance of x) pulls towards `weights` [K, D] and makes the metric positive
        definite.
        """
        from passes.math.linear import solve

        d = self.xx.shape[0]
        scale = float(np.trace(self.xx)) / d
        damping = ridge * scale if scale > 0 else 1.0
        metric: F = self.xx + damping * np.eye(d)
        return solve(metric, self.xy + damping * weights.T).T, metric

    def bias(self, weights: F) -> F:
        """Bias [K] with which weights [K, D] give y right on average."""
        return self.mean_y - (weights * self.mean_x).sum(axis=1)


@dataclass(frozen=True)
class ChannelMoments:
    """Means over `count` positions, and central second moments of each input channel by itself; float64.

    `mean_x` [D] and `mean_y` [K] as in `Moments`; `xx` [C, RS, RS]. Windows of thousands of values are told by these in
    a small share of the time, for a fit that does not have to make up for the errors of one channel in another.
    """

    count: int
    mean_x: F
    mean_y: F
    xx: F

    def damped(self, ridge: float) -> F:
        """`xx` plus a share of the mean variance on the diagonal: positive definite [C, RS, RS]."""
        c, taps, _ = self.xx.shape
        scale = float(np.trace(self.xx.sum(axis=0))) / (c * taps)
        return self.xx + (ridge * scale if scale > 0 else 1.0) * np.eye(taps)

    def regression(self, weights: F, ridge: float) -> tuple[F, F]:
        """The `weights` [K, D] as they are, and the metric [D, D], 0 between channels, in the order [R, S, C]."""
        c, taps, _ = self.xx.shape
        metric = np.zeros((taps, c, taps, c))
        index = np.arange(c, dtype=np.int64)
        metric[:, index, :, index] = self.damped(ridge)
        return weights, metric.reshape(c * taps, c * taps)

    def bias(self, weights: F) -> F:
        """Bias [K] with which weights [K, D] give y right on average."""
        return self.mean_y - (weights * self.mean_x).sum(axis=1)


class ChannelAccumulator:
    """Adds windows of 8-bit integers up; `ChannelMoments` at the end."""

    def __init__(self, taps: int, c: int, k: int):
        self._count = 0
        self._sum_x = np.zeros(taps * c)
        self._sum_y = np.zeros(k)
        self._xx = np.zeros((c, taps, taps))

    def add(self, x: Array, y: Array) -> None:
        """Take in windows x [N, D], integers in the order [R, S, C], and wanted outputs y [N, K] of any real type."""
        c, taps, _ = self._xx.shape
        step = max(1, _BLOCK_ELEMENTS // max(1, x.shape[1]))
        for n in range(0, len(x), step):
            part = x[n : n + step].reshape(-1, taps, c).transpose(2, 1, 0).astype(np.float64)
            self._count += part.shape[2]
            self._sum_x += x[n : n + step].sum(axis=0, dtype=np.float64)
            self._sum_y += y[n : n + step].sum(axis=0, dtype=np.float64)
            self._xx += part @ part.transpose(0, 2, 1)  # sums of integers are exact in any order

    def result(self) -> ChannelMoments:
        """The moments so far. Raises ValueError if nothing was added."""
        if not self._count:
            raise ValueError("no position was added")
        n = self._count
        c, taps, _ = self._xx.shape
        sums = self._sum_x.reshape(taps, c).T
        xx = (n * self._xx - sums[:, :, None] * sums[:, None, :]) / n**2
        return ChannelMoments(n, self._sum_x / n, self._sum_y / n, xx)


class MomentAccumulator:
    """Adds windows up; `Moments` at the end."""

    def __init__(self, d: int, k: int):
        self._count = 0
        self._sum_x = np.zeros(d)
        self._sum_y = np.zeros(k)
        self._xx = np.zeros((d, d))
        self._xy = np.zeros((d, k))

    def add(self, x: Array, y: Array) -> None:
        """Take in windows x [N, D] and wanted outputs y [N, K] of any real type.

        Products are exact for integers; of other numbers `isa.exact` says how many digits count.
        """
        step = max(1, _BLOCK_ELEMENTS // max(1, x.shape[1]))
        for n in range(0, len(x), step):
            bx, by = x[n : n + step], y[n : n + step]
            self._count += len(bx)
            self._sum_x += bx.sum(axis=0, dtype=np.float64)
            self._sum_y += by.sum(axis=0, dtype=np.float64)
            self._xx += exact.gram(bx)
            self._xy += exact.multiply(bx.T, by)

    def result(self) -> Moments:
        """The moments so far. Raises ValueError if nothing was added."""
        if not self._count:
            raise ValueError("no position was added")
        n = self._count
        # Differences of sums that are exact for integers: no variance of a channel is below 0.
        xx = (n * self._xx - np.outer(self._sum_x, self._sum_x)) / n**2
        xy = (n * self._xy - np.outer(self._sum_x, self._sum_y)) / n**2
        return Moments(n, self._sum_x / n, self._sum_y / n, xx, xy)


def window_rows(
    x: Array, kernel: Sequence[int], strides: Sequence[int], pads: Sequence[int], out: Sequence[int], picks: Array
) -> Array:
    """Windows of the chosen output positions: [len(picks), R*S*C] in the order [R, S, C], of the dtype of x.

    x [N, H, W, C]; `pads` [top, left, bottom, right] of zeros; `out` the output extent [OH, OW]; `picks` int [P]
    indices into N*OH*OW.
    """
    _, h, w, c = x.shape
    r, s = kernel
    image, position = np.divmod(np.asarray(picks, np.int64), out[0] * out[1])
    oy, ox = np.divmod(position, out[1])
    rows = np.zeros((len(picks), r, s, c), x.dtype)
    for i in range(r):
        for j in range(s):
            y = oy * strides[0] - pads[0] + i
            z = ox * strides[1] - pads[1] + j
            inside = (y >= 0) & (y < h) & (z >= 0) & (z < w)
            rows[inside, i, j] = x[image[inside], y[inside], z[inside]]
    return rows.reshape(len(picks), r * s * c)


def position_budget(d: int) -> int:
    """Positions worth taking for windows of d values: enough to determine the moments, few enough to finish in
    seconds.
    """
    return max(4 * d, min(1 << 15, int(1e10) // (d * d)))
