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
