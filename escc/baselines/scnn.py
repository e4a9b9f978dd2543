"""SCNN: Cartesian products of the activations and weights other than zero of one input channel.

Each of the processing elements holds a tile of every input channel. For a group of filters whose outputs fit its
accumulators, it multiplies vectors of activations with vectors of weights, channel by channel; all elements wait for
the slowest after each channel. A stride cuts activations and weights into phases that meet no other phase. Sums that
belong to a neighbour's tile, the halo, are sent to it after each group of filters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from escc.baselines.machine import BaselineMachine, BufferAccess, Result, dense_bytes, load, sparse_bytes
from escc.baselines.work import LayerGeometry, LayerWork
from isa.jit import jit
from isa.layout import ceil_div

Longs = NDArray[np.int64]
Bits = NDArray[np.bool_]

_SUM_BYTES = 3
"""Accumulators have 24 bits."""


@dataclass(frozen=True)
class Scnn(BaselineMachine):
    """`rows` x `columns` elements that multiply `activation_vector` by `weight_vector` values a cycle.

    An element has `accumulators` sums in `banks`; with `conflicts`, a step takes as many cycles as its fullest bank has
    products; the bank of a sum is (`bank_skew` * filter + its address in the map of the element) modulo `banks`. Where
    the output is a single position (fully connected layers), the part 1 / `vector_share` of the multipliers works. With
    `skips` false, zeros are multiplied too (the dense variant of the paper).

    Activations stay in the element while weights stream past them: they are read once for each group of filters.
    """

    rows: int
    columns: int
    activation_vector: int
    weight_vector: int
    accumulators: int
    banks: int
    bank_skew: int
    conflicts: bool
    vector_share: int
    skips: bool

    @property
    def multipliers(self) -> int:
        return self.rows * self.columns * self.activation_vector * self.weight_vector

    def run(self, work: LayerWork, batch: int = 1) -> Result:
        g = work.geometry
        products = float(self.products(work).mean())
        sums = products * _SUM_BYTES
        groups = len(list(self._filter_groups(g)))
        return Result(
            cycles=float(self.cycles(work).mean()),
            dram=(sparse_bytes if self.skips else dense_bytes)(work, batch),
            multiplications=products,
            additions=products,
            accesses={
                "activations": BufferAccess(
                    work.input_nonzeros * groups, work.input_nonzeros + work.mean_output_nonzeros
                ),
                "weights": BufferAccess(products / self.activation_vector, work.weight_nonzeros / batch),
                "sums": BufferAccess(sums, sums),
            },
        )

    def cycles(self, work: LayerWork) -> Longs:
        """Cycles of all groups of filters one after the other: int64 [N]."""
        g = work.geometry
        if g.positions == 1:
            share = self.multipliers // self.vector_share
            products = self.products(work)
            return -(-products // share)
        total = np.zeros(work.images, np.int64)
        for channels, filters in work.group_slices():
            seen, held = self._seen(work, channels), self._held(work, filters)
            for taken in self._filter_groups(g):
                weights = held[taken]
                if self.conflicts:
                    steps = self._conflicting(g, seen, weights)
                else:
                    steps = _steps(
                        self._tiles(g, seen), _phases(g, weights), self.activation_vector, self.weight_vector
                    )
                total += steps + self.halo(g) * len(weights)
        return total

    def products(self, work: LayerWork) -> Longs:
        """Multiplications, those whose sum lies outside the output included: int64 [N]."""
        g = work.geometry
        total = np.zeros(work.images, np.int64)
        for channels, filters in work.group_slices():
            seen = self._tiles(g, self._seen(work, channels)).sum(axis=1)
            held = _phases(g, self._held(work, filters))
            total += (seen * held).sum(axis=(1, 2))
        return total

    def halo(self, g: LayerGeometry) -> int:
        """Sums around the output tile of an element that belong to its neighbours, of one filter."""
        rows, columns = self._out_tile(g)
        more = [(kernel - 1) // stride for kernel, stride in zip(g.kernel, g.strides, strict=True)]
        return (rows + more[0]) * (columns + more[1]) - rows * columns

    def _out_tile(self, g: LayerGeometry) -> tuple[int, int]:
        return ceil_div(g.out_height, self.rows), ceil_div(g.out_width, self.columns)

    def _filter_groups(self, g: LayerGeometry) -> Iterator[slice]:
        """Filters of a convolution group whose sums the accumulators hold together."""
        count = g.filters // g.groups
        rows, columns = self._out_tile(g)
        size = max(1, min(count, self.accumulators // (rows * columns)))
        for start in range(0, count, size):
            yield slice(start, min(start + size, count))

    def _seen(self, work: LayerWork, channels: slice) -> Bits:
        """Activations that are multiplied: [N, H, W, channels]."""
        part = work.activations[..., channels]
        return part != 0 if self.skips else np.ones(part.shape, bool)

    def _held(self, work: LayerWork, filters: slice) -> Bits:
        """Weights that are multiplied: [filters, R, S, channels]."""
        kept = work.weight_mask[filters]
        return kept if self.skips else np.ones_like(kept)

    def _tiles(self, g: LayerGeometry, seen: Bits) -> Longs:
        """Activations of every element, channel and stride phase: [N, elements, channels, phases]."""
        counts = [self._by_tile(part) for part in _activation_phases(g, seen)]
        return np.stack(counts, axis=-1)

    def _by_tile(self, seen: Bits) -> Longs:
        n, height, width, channels = seen.shape
        rows, columns = ceil_div(height, self.rows), ceil_div(width, self.columns)
        after = (self.rows * rows - height, self.columns * columns - width)
        tiles = np.pad(seen, ((0, 0), (0, after[0]), (0, after[1]), (0, 0)))
        tiles = tiles.reshape(n, self.rows, rows, self.columns, columns, channels)
        return tiles.sum(axis=(2, 4), dtype=np.int64).reshape(n, self.rows * self.columns, channels)

    def _conflicting(self, g: LayerGeometry, seen: Bits, held: Bits) -> Longs:
        """Cycles of one group of filters when products wait for their bank: int64 [N]."""
        rows, columns = ceil_div(g.height, self.rows), ceil_div(g.width, self.columns)
        _, out_columns = self._out_tile(g)
        shape = np.array(
            [
                self.rows,
                self.columns,
                rows,
                columns,
                g.strides[0],
                g.strides[1],
                g.pads[0],
                g.pads[1],
                out_columns + (g.kernel[1] - 1) // g.strides[1],
                self.activation_vector,
                self.weight_vector,
                self.banks,
                self.bank_skew,
            ],
            np.int64,
        )
        channels_last = np.ascontiguousarray(held.transpose(3, 0, 1, 2))
        images = [_bank_cycles(np.ascontiguousarray(x.transpose(2, 0, 1)), channels_last, shape) for x in seen]
        return np.array(images, np.int64)


def _activation_phases(g: LayerGeometry, seen: Bits) -> Iterator[Bits]:
    """Activations of one stride phase after the other, zeros elsewhere."""
    rows = (np.arange(g.height) + g.pads[0]) % g.strides[0]
    columns = (np.arange(g.width) + g.pads[1]) % g.strides[1]
    for y in range(g.strides[0]):
        for x in range(g.strides[1]):
            yield seen & ((rows == y)[:, None] & (columns == x))[:, :, None]


def _phases(g: LayerGeometry, held: Bits) -> Longs:
    """Weights of every channel and stride phase: [channels, phases]."""
    counts = [
        held[:, y :: g.strides[0], x :: g.strides[1]].sum(axis=(0, 1, 2), dtype=np.int64)
        for y in range(g.strides[0])
        for x in range(g.strides[1])
    ]
    return np.stack(counts, axis=-1)


def _steps(seen: Longs, held: Longs, activation_vector: int, weight_vector: int) -> Longs:
    """Steps of the slowest element, channel after channel: int64 [N].

    `seen` [N, elements, channels, phases]; `held` [channels, phases].
    """
    vectors = -(-seen // activation_vector) * -(-held // weight_vector)
    return vectors.sum(axis=3).max(axis=1).sum(axis=1)


@jit
def _bank_cycles(seen: Bits, held: Bits, shape: Longs) -> int:
    """Cycles of one group of filters of one image, every product in its bank.

    `seen` [C, H, W]; `held` [C, K, R, S]; `shape`: elements in rows and columns, rows and columns of an input tile,
    strides, pads before, columns of the sums of an element, vectors of activations and weights, banks and their skew.
    Weights come tap by tap, filters innermost.
    """
    high, wide, rows, columns, sy, sx, top, left, sum_columns, vector_a, vector_w, banks, skew = shape
    channels, height, width = seen.shape
    filters, r_count, s_count = held.shape[1:]
    taken = np.zeros(banks, np.int64)
    place_y, place_x = np.empty(rows * columns, np.int64), np.empty(rows * columns, np.int64)
    base, tap_r = np.empty(held[0].size, np.int64), np.empty(held[0].size, np.int64)
    tap_s = np.empty(held[0].size, np.int64)
    total = 0
    spent = np.zeros(high * wide, np.int64)
    for c in range(channels):
        spent[:] = 0
        for py in range(sy):
            for px in range(sx):
                weights = 0
                for r in range(py, r_count, sy):
                    for s in range(px, s_count, sx):
                        for k in range(filters):
                            if held[c, k, r, s]:
                                base[weights], tap_r[weights], tap_s[weights] = skew * k, r, s
                                weights += 1
                if not weights:
                    continue
                for element in range(high * wide):
                    y0, x0 = (element // wide) * rows, (element % wide) * columns
                    found = 0
                    for y in range(y0, min(y0 + rows, height)):
                        if (y + top) % sy != py:
                            continue
                        for x in range(x0, min(x0 + columns, width)):
                            if (x + left) % sx == px and seen[c, y, x]:
                                place_y[found], place_x[found] = y - y0 + r_count - 1, x - x0 + s_count - 1
                                found += 1
                    for a in range(0, found, vector_a):
                        for w in range(0, weights, vector_w):
                            taken[:] = 0
                            fullest = 0
                            for i in range(a, min(a + vector_a, found)):
                                for j in range(w, min(w + vector_w, weights)):
                                    y, x = (place_y[i] - tap_r[j]) // sy, (place_x[i] - tap_s[j]) // sx
                                    bank = (base[j] + y * sum_columns + x) % banks
                                    taken[bank] += 1
                                    fullest = max(fullest, taken[bank])
                            spent[element] += fullest
        total += spent.max()
    return total


def scnn() -> Scnn:
    """Without bank conflicts, as its own paper counts."""
    return load(Scnn, "scnn")


def scnn_conflicts() -> Scnn:
    """With bank conflicts, as others measure it."""
    return load(Scnn, "scnn-conflicts")


def scnn_dense() -> Scnn:
    """The same elements with every zero multiplied."""
    return load(Scnn, "scnn-dense")


BASELINES = {"scnn": scnn, "scnn-conflicts": scnn_conflicts, "scnn-dense": scnn_dense}
"""What this file has for `escc.baselines.registry`, by name."""
