"""Weights as rows of a few vectors times small coefficients: what the coefficients stand for.

Coefficients int8 [k][j][r][S/span][C/depth] are 0 or of magnitude 1, 2 or 4. The vectors int8 [G][j][span][depth] are
those of the layer (G = 1), or those of each output channel (G = K). A patch of the weights [k][r][s][c] covers `span`
columns s of the window and `depth` input channels. It is the sum of the J vectors, each times its coefficient, shifted
right by `shift` with halves rounded up, and limited to -127..127.

The coefficients are packed as those of decomposed layers are, a stream for each output channel (see
`isa.coefficients`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

I8 = NDArray[np.int8]

MOST_TERMS = 255
"""Vectors of an output channel: what a field of eight bits counts."""
MOST_SHIFT = 15


def sums(coefficients: I8, vectors: I8) -> NDArray[np.int32]:
    """The sums before the shift: int32 [K, R, S, C], of coefficients int8 [K, J, R, S/span, C/depth] and vectors int8
    [G, J, span, depth], G being 1 or K.
    """
    k, terms, r, columns, run = coefficients.shape
    _, _, span, depth = vectors.shape
    total = np.zeros((k, r, columns, span, run, depth), np.int32)
    for j in range(terms):
        total += coefficients[:, j, :, :, None, :, None].astype(np.int32) * vectors[:, j, None, None, :, None, :]
    return total.reshape(k, r, columns * span, run * depth)


def weights(coefficients: I8, vectors: I8, shift: int) -> I8:
    """Weights int8 [K, R, S, C] of the coefficients and vectors of `sums`."""
    half = 1 << shift >> 1
    limited: NDArray[Any] = np.clip((sums(coefficients, vectors) + half) >> shift, -127, 127)
    return limited.astype(np.int8)


def least_shift(coefficients: I8, vectors: I8) -> int:
    """The least shift with which no weight is limited."""
    total = sums(coefficients, vectors)
    ends = int(total.min(initial=0)), int(total.max(initial=0))
    return next(n for n in range(MOST_SHIFT + 1) if all(abs((end + (1 << n >> 1)) >> n) <= 127 for end in ends))
