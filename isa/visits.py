"""Which positions a convolution of bytes takes, where windows lie partly beside the tile (docs/performance.md)."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from isa.integers import Number, by_value, ceil_div, least


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


class Set(NamedTuple):
    """Neighbouring products of an output value, and the positions for which a block takes them in one cycle."""

    products: int
    together: int


class Block(NamedTuple):
    """A block: its slices, and the multipliers of each. A slice multiplies for one position in a cycle."""

    slices: int
    macs: int

    @property
    def products(self) -> int:
        """Products of a set, at most."""
        return self.slices * self.macs

    def widths(self, wanted: int) -> tuple[int, ...]:
        """Slices of the sets, widest first, that share products for `wanted` slices so that none is free.

        The slices of each divide those of the block.
        """
        widths: list[int] = []
        while wanted:
            widths.append(max(width for width in range(1, wanted + 1) if not self.slices % width))
            wanted -= widths[-1]
        return tuple(widths)

    def sets(self, products: int, positions: int) -> list[Set]:
        """The sets of an output value at so many positions.

        All are full but for the last products, which are one set, or several where these take fewer cycles.
        """
        full, last = divmod(products - 1, self.products)
        wanted = ceil_div(last + 1, self.macs)
        ways = ((wanted,), self.widths(wanted))
        parts = min(ways, key=lambda widths: sum(ceil_div(positions, self.slices // width) for width in widths))
        sizes = [width * self.macs for width in parts]
        sizes[-1] += last + 1 - sum(sizes)
        shared = [Set(size, self.slices // width) for size, width in zip(sizes, parts, strict=True)]
        return [Set(self.products, 1)] * full + shared

    def cycles(self, products: Number, positions: Number) -> Number:
        """Cycles of all sets if each takes every position."""
        full = (products - 1) // self.products
        wanted = ceil_div(products - full * self.products, self.macs)
        several = sum(
            by_value(lambda slices, width=width: self.widths(slices).count(width), wanted)
            * ceil_div(positions, self.slices // width)
            for width in range(1, self.slices + 1)
        )
        return positions * full + least(several, ceil_div(positions, self.slices // wanted))


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
    share, found = ceil_div(w.oh, w.groups), list[Visits]()
    parts = block.sets(w.r * w.s * w.cpg, share * w.ow)
    edges = np.cumsum([part.products for part in parts])
    begin, end = edges[:-1] // w.cpg, (edges[1:] - 1) // w.cpg + 1
    for group in range(ceil_div(w.oh, share)):
        mine = rows[group * share : (group + 1) * share]
        patterns, high = np.unique(mine, axis=0, return_counts=True)
        taps = (patterns[:, None, :, None] & columns[None, :, None, :]).reshape(len(high), len(wide), -1)
        before = np.concatenate([np.zeros((*taps.shape[:2], 1), np.int64), taps.cumsum(axis=2)], axis=2)
        taken = np.einsum("y,yxn,x->n", high, before[:, :, end] > before[:, :, begin], wide)
        sets = [len(mine) * w.ow, *map(int, taken)]
        taking = sum(ceil_div(n, part.together) for n, part in zip(sets, parts, strict=True))
        found.append(Visits(taking, sum(sets)))
    return Visits(max(each.cycles for each in found), sum(each.total for each in found))
