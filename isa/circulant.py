"""Weights of circulant blocks: what the values of a block stand for.

Values int8 [K/b][R][S][C/b][b] hold a vector v for every block of b output channels and b input channels of a tap. Its
weight of output channel i and input channel j of the block is v[(i - j) mod b]. Where b does not divide the channels of
a layer, the last blocks stand out of the weights [k][r][s][c], and what stands out is left away.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

I8 = NDArray[np.int8]
Value = TypeVar("Value", bound=np.generic)

BLOCKS = range(2, 17)
"""Channels of a block."""


def expand(values: NDArray[Value], first: int, channels: int, run: int) -> NDArray[Value]:
    """Weights [channels, R, S, run] of output channels from `first` on, of values [K/b, R, S, C/b, b] of any type."""
    blocks, r, s, across, b = values.shape
    i, j = np.indices((b, b))
    whole = values[..., (i - j) % b].transpose(0, 4, 1, 2, 3, 5).reshape(blocks * b, r, s, across * b)
    return np.ascontiguousarray(whole[first : first + channels, ..., :run])


def summed(weights: NDArray[np.float64], block: int) -> NDArray[np.float64]:
    """Sums of weights float64 [K, R, S, C] over those that a value stands for: [K/b, R, S, C/b, b].

    This is the transpose of `expand`: <expand(v), w> = <v, summed(w)>.
    """
    k, r, s, c = weights.shape
    padded = np.pad(weights, ((0, -k % block), (0, 0), (0, 0), (0, -c % block)))
    apart = padded.reshape(-1, block, r, s, padded.shape[3] // block, block)
    diagonals = [sum(apart[:, (d + j) % block, ..., j] for j in range(block)) for d in range(block)]
    return np.stack(np.broadcast_arrays(*diagonals), axis=-1)
