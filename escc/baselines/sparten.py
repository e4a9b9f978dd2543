"""SparTen: inner products of bitmap-coded vectors, with greedy balancing of filters among the units of a cluster.

Clusters take contiguous output positions. The units of a cluster work on the same chunk of the window, each for its own
one or two filters; the next chunk begins when the slowest unit is done.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from escc.baselines.machine import BaselineMachine, BufferAccess, DramBytes, Result, dense_bytes, load, sparse_bytes
from escc.baselines.work import LayerWork
from isa.layout import ceil_div

F32 = NDArray[np.float32]
Bits = NDArray[np.bool_]

Balance = Literal["chunk", "filter", "none"]
"""Filters of a unit are paired anew for each chunk (GB-H), once for all (GB-S), or each unit has one (no balancing)."""
Skips = Literal["both", "activations", "nothing"]
"""Zeros that cost no cycle."""


@dataclass(frozen=True)
class SparTen(BaselineMachine):
    """`clusters` of `units` multipliers; `chunk` channels of a window tap are matched at a time.

    Each product reads a weight and an activation, each match both bitmaps; filling the buffers of the units again and
    again is not charged.
    """

    clusters: int
    units: int
    chunk: int
    balance: Balance
    skips: Skips

    @property
    def multipliers(self) -> int:
        return self.clusters * self.units

    def run(self, work: LayerWork, batch: int = 1) -> Result:
        g = work.geometry
        products = {"both": work.matches, "activations": work.gated_macs}.get(self.skips)
        done = float(g.macs) if products is None else float(products.mean())
        masks = g.macs / 8
        return Result(
            cycles=float(self.cycles(work).mean()),
            dram=self._traffic(work, batch),
            multiplications=done,
            additions=done,
            accesses={
                "filters": BufferAccess(done + masks, work.weight_nonzeros / batch),
                "inputs": BufferAccess(done + masks, work.input_nonzeros),
            },
        )

    def _traffic(self, work: LayerWork, batch: int) -> DramBytes:
        dense, sparse = dense_bytes(work, batch), sparse_bytes(work, batch)
        if self.skips == "activations":
            return replace(sparse, weights=dense.weights)
        return sparse if self.skips == "both" else dense

    def cycles(self, work: LayerWork) -> NDArray[np.int64]:
        """Cycles of the slowest cluster: int64 [N].

        Fewer positions than clusters (fully connected layers) leave several clusters to each position; these share its
        sets of filters.
        """
        spent = self._spent(work)  # [N, sets, positions]
        images, sets, positions = spent.shape
        sharing = self.clusters // positions
        if sharing > 1:
            padded = np.pad(spent, ((0, 0), (0, -sets % sharing), (0, 0)))
            return padded.reshape(images, -1, sharing, positions).sum(axis=1).max(axis=(1, 2))
        each = ceil_div(positions, self.clusters)
        total = np.pad(spent.sum(axis=1), ((0, 0), (0, -positions % each)))
        return total.reshape(images, -1, each).sum(axis=2).max(axis=1)

    def _spent(self, work: LayerWork) -> NDArray[np.int64]:
        """Cycles of every output position with every set of filters that run together: [N, sets, positions]."""
        g = work.geometry
        parts: list[NDArray[np.int64]] = []
        for channels, filters in work.group_slices():
            kept = work.weight_mask[filters]
            sets = self.filter_sets(kept)
            spent = np.zeros((work.images, len(sets), g.positions), np.int64)
            for r, s, piece in self._pieces(work):
                taken = slice(channels.start + piece.start, channels.start + piece.stop)
                seen = work.tap(r, s, taken).reshape(work.images, g.positions, -1)
                held = [self.units_of(kept[members][:, r, s, piece]) for members in sets]
                for image, rows in enumerate(seen):
                    spent[image] += self._chunk(rows.astype(np.float32), held)
            parts.append(spent)
        return np.concatenate(parts, axis=1)

    def _pieces(self, work: LayerWork) -> Iterator[tuple[int, int, slice]]:
        """Tap and channels of every chunk of a window."""
        g = work.geometry
        channels = g.channels // g.groups
        for r in range(g.kernel[0]):
            for s in range(g.kernel[1]):
                for start in range(0, channels, self.chunk):
                    yield r, s, slice(start, min(start + self.chunk, channels))

    def filter_sets(self, kept: Bits) -> list[NDArray[np.int64]]:
        """Filters [K, R, S, C] that the units of a cluster hold together."""
        count = len(kept)
        if self.balance == "none" or self.skips != "both":
            order, size = np.arange(count), self.units
        else:
            order, size = _densest_first(kept), 2 * self.units
        return [order[i : i + size] for i in range(0, count, size)]

    def units_of(self, kept: Bits) -> F32:
        """Weights other than zero of a chunk that every unit holds, added over its filters: [channels, units].

        `kept` [filters, channels] has the filters of a set, densest first.
        """
        if self.skips != "both":
            return np.ones((kept.shape[1], 1), np.float32)
        if self.balance == "chunk":
            kept = kept[_densest_first(kept)]
        held = kept.astype(np.float32).T
        if self.balance == "none":
            return held
        full = np.pad(held, ((0, 0), (0, 2 * self.units - len(kept))))
        return full[:, : self.units] + full[:, : self.units - 1 : -1]

    def _chunk(self, seen: F32, held: list[F32]) -> NDArray[np.int64]:
        """Cycles of one chunk for every set and position: [sets, positions]; `seen` [positions, channels]."""
        if self.skips == "nothing":
            seen = np.ones_like(seen)
        worked = seen @ np.concatenate(held, axis=1)
        ends = np.cumsum([0, *(h.shape[1] for h in held)])[:-1]
        return np.maximum(np.maximum.reduceat(worked, ends, axis=1), 1).T.astype(np.int64)


def _densest_first(kept: Bits) -> NDArray[np.int64]:
    """Order of filters by falling number of weights other than zero; equal ones keep their order."""
    return np.argsort(-np.count_nonzero(kept.reshape(len(kept), -1), axis=1), kind="stable")


def sparten() -> SparTen:
    """Both kinds of zeros skipped, filters paired chunk by chunk (GB-H)."""
    return load(SparTen, "sparten")


def sparten_gbs() -> SparTen:
    """Filters paired once for the whole window (GB-S)."""
    return load(SparTen, "sparten-gbs")


def sparten_unbalanced() -> SparTen:
    """One filter a unit."""
    return load(SparTen, "sparten-unbalanced")


def sparten_one_sided() -> SparTen:
    """Only zeros among activations are skipped."""
    return load(SparTen, "sparten-one-sided")


def sparten_dense() -> SparTen:
    """The same clusters without any skipping."""
    return load(SparTen, "sparten-dense")


BASELINES = {
    "sparten": sparten,
    "sparten-gbs": sparten_gbs,
    "sparten-unbalanced": sparten_unbalanced,
    "sparten-one-sided": sparten_one_sided,
    "sparten-dense": sparten_dense,
}
"""What this file has for `escc.baselines.registry`, by name."""
