"""Which positions a convolution of bytes takes, where windows lie partly beside the tile (docs/performance.md)."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from isa.integers import Number, ceil_div


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


class Block(NamedTuple):
    """A block: its slices, and the multipliers of each."""

    slices: int
    macs: int

    @property
    def products(self) -> int:
        """Products of a set, at most."""
        return self.slices * self.macs

    def sets(self, products: Number) -> tuple[Number, Number]:
        """Full sets that come before the last one of so many products, and positions that the last one takes at a time.

        It takes as many as there are slices for: a slice multiplies for one position.
        """
        full = (products - 1) // self.products
        return full, self.slices // ceil_div(products - full * self.products, self.macs)


class Visits(NamedTuple):
    """Cycles of the row group with most of them, for an output channel of each block; and positions that are taken,
    counted once for each set of products, by all row groups.
    """

    cycles: int
    total: int


def _inside(outputs: int, stride: int, pad: int, kernel: int, size: int) -> NDArray[np.bool_]:
    """[outputs, kernel]: whether a tap of the window of an output reads a row (or column) of the tile."""
    read = np.arange(outputs)[:, None] * stride - pad + np.arange(kernel)
    return (read >= 0) & (read < size)


@lru_cache(maxsize=4096)
def visits(w: Windows, block: Block) -> Visits:
    """The positions that blocks take.

    Products stand in the order of the weights, row, column and input channel. The first set takes all positions, a
    further one those of which a tap of the set lies inside the tile.
    """
    rows = _inside(w.oh, w.sy, w.pt, w.r, w.ih)
    columns, wide = np.unique(_inside(w.ow, w.sx, w.pl, w.s, w.iw), axis=0, return_counts=True)
    count = w.r * w.s * w.cpg
    first = np.arange(block.products, count, block.products)
    begin, end = first // w.cpg, (np.minimum(first + block.products, count) - 1) // w.cpg + 1
    _, together = block.sets(count)
    share, found = ceil_div(w.oh, w.groups), list[Visits]()
    for group in range(ceil_div(w.oh, share)):
        mine = rows[group * share : (group + 1) * share]
        patterns, high = np.unique(mine, axis=0, return_counts=True)
        taps = (patterns[:, None, :, None] & columns[None, :, None, :]).reshape(len(high), len(wide), -1)
        before = np.concatenate([np.zeros((*taps.shape[:2], 1), np.int64), taps.cumsum(axis=2)], axis=2)
        taken = np.einsum("y,yxn,x->n", high, before[:, :, end] > before[:, :, begin], wide)
        sets = [len(mine) * w.ow, *map(int, taken)]
        found.append(Visits(sum(sets[:-1]) + ceil_div(sets[-1], together), sum(sets)))
    return Visits(max(each.cycles for each in found), sum(each.total for each in found))
