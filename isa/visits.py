"""Which positions a convolution of bytes takes, where windows lie partly beside the tile (docs/performance.md)."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from isa.integers import ceil_div


class Windows(NamedTuple):
    """Windows over a tile: fields of `conv.dense` of the same names."""

    oh: int
    ow: int
    groups: int
    ih: int
    iw: int
    r: int
    s: int
    sy: int
    sx: int
    pt: int
    pl: int
    cpg: int


class Visits(NamedTuple):
    """Positions that are taken, counted once for each set of products: by the row group with most of them, and by all
    together.
    """

    slowest: int
    total: int


def _inside(outputs: int, stride: int, pad: int, kernel: int, size: int) -> NDArray[np.bool_]:
    """[outputs, kernel]: whether a tap of the window of an output reads a row (or column) of the tile."""
    read = np.arange(outputs)[:, None] * stride - pad + np.arange(kernel)
    return (read >= 0) & (read < size)


@lru_cache(maxsize=4096)
def visits(w: Windows, products: int) -> Visits:
    """The positions that blocks of so many `products` a cycle take.

    Products stand in the order of the weights, row, column and input channel. The first set takes all positions, a
    further one those of which a tap of the set lies inside the tile.
    """
    rows = _inside(w.oh, w.sy, w.pt, w.r, w.ih)
    columns, wide = np.unique(_inside(w.ow, w.sx, w.pl, w.s, w.iw), axis=0, return_counts=True)
    count = w.r * w.s * w.cpg
    first = np.arange(products, count, products)
    begin, end = first // w.cpg, (np.minimum(first + products, count) - 1) // w.cpg + 1
    share, found = ceil_div(w.oh, w.groups), list[int]()
    for group in range(ceil_div(w.oh, share)):
        mine = rows[group * share : (group + 1) * share]
        patterns, high = np.unique(mine, axis=0, return_counts=True)
        taps = (patterns[:, None, :, None] & columns[None, :, None, :]).reshape(len(high), len(wide), -1)
        before = np.concatenate([np.zeros((*taps.shape[:2], 1), np.int64), taps.cumsum(axis=2)], axis=2)
        taken = (before[:, :, end] > before[:, :, begin]).sum(axis=2)
        found.append(len(mine) * w.ow + int(high @ taken @ wide))
    return Visits(max(found), sum(found))
