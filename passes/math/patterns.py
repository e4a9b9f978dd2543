"""Patterns of sparse weights: which weights of a layer stay, by what it would cost to remove them.

Costs are float64 [K, R, S, C], not negative, 0 for weights that have gone already. A pattern keeps a share of the
weights as nearly as its form allows, and of weights that it chose before at a larger share.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from isa.gather import Gathering, bundles, places_of
from passes.math import linear

F = NDArray[np.float64]
Bits = NDArray[np.bool_]


class Pattern(Protocol):
    """Where weights stay, bool [K, R, S, C], of which a share is wanted."""

    def __call__(self, costs: F, share: float) -> Bits: ...


def dearest(costs: F, count: int) -> Bits:
    """The `count` items of an array of any shape with the highest costs, of equal ones the first."""
    keep = np.zeros(costs.size, bool)
    keep[np.argsort(-costs.reshape(-1), kind="stable")[:count]] = True
    return keep.reshape(costs.shape)


def unstructured(costs: F, share: float) -> Bits:
    """The dearest weights of the layer, wherever they are."""
    return dearest(costs, max(1, round(share * costs.size)))


def gather_scatter(costs: F, share: float, banks: int, bundle: int) -> Bits:
    """As many weights in each bank of a bundle of output channels as in any other (GS, arXiv 2112.10898).

    One output channel a bundle is the horizontal orientation, more are the hybrid one, `banks` of them the vertical
    one. A group has a weight of each bank; bundles have as many groups as make up the share, the dearest ones.
    """
    k, r, s, c = costs.shape
    where = places_of(r * s, c, Gathering.of(banks, bundle, c))
    starts: list[int] = where.starts.tolist()
    firsts: list[int] = bundles(k, bundle).tolist()
    arranged = costs.reshape(k, -1)[:, where.places]
    most_groups = [int((end - first) * np.diff(where.starts).min()) for first, end in pairwise(firsts)]
    values: list[F] = []  # of the n-th group of each bundle
    orders: list[list[NDArray[np.int64]]] = []
    for (first, end), most in zip(pairwise(firsts), most_groups, strict=True):
        total, order = np.zeros(most), list[NDArray[np.int64]]()
        for low, high in pairwise(starts):
            bank = arranged[first:end, low:high].reshape(-1)
            order.append(np.argsort(-bank, kind="stable")[:most])
            total += bank[order[-1]]
        values.append(total)
        orders.append(order)
    groups = min(max(1, round(share * costs.size / banks)), sum(most_groups))
    chosen = dearest(np.concatenate(values), groups)
    keep = np.zeros_like(arranged, dtype=bool)
    at = 0
    for first, most, order in zip(firsts[:-1], most_groups, orders, strict=True):
        count = int(np.count_nonzero(chosen[at : at + most]))
        at += most
        for (low, high), by_cost in zip(pairwise(starts), order, strict=True):
            row, place = np.divmod(by_cost[:count], high - low)
            keep[first + row, low + place] = True
    result = np.zeros_like(keep)
    result[:, where.places] = keep
    return result.reshape(costs.shape)


def bank_balanced(costs: F, share: float, banks: int) -> Bits:
    """As many weights in each of `banks` neighbouring pieces of every output channel (FPGA 2019)."""
    flat = costs.reshape(len(costs), -1)
    keep = np.zeros(flat.shape, bool)
    ends: list[int] = np.linspace(0, flat.shape[1], min(banks, flat.shape[1]) + 1).astype(np.int64).tolist()
    for first, end in pairwise(ends):
        order = np.argsort(-flat[:, first:end], axis=1, kind="stable")[:, : max(1, round(share * (end - first)))]
        np.put_along_axis(keep[:, first:end], order, True, axis=1)
    return keep.reshape(costs.shape)


def blocks(costs: F, share: float, rows: int, columns: int) -> Bits:
    """Whole blocks of neighbouring output channels times neighbouring input channels of a tap; those at the edges may
    be smaller.
    """
    k, *_, c = costs.shape
    sums = np.add.reduceat(np.add.reduceat(costs, range(0, k, rows), axis=0), range(0, c, columns), axis=3)
    keep = dearest(sums, max(1, round(share * sums.size)))
    return np.repeat(np.repeat(keep, rows, axis=0)[:k], columns, axis=3)[..., :c]


KERNEL_TAPS = 4
"""Taps of a kernel that a kernel pattern keeps."""
KERNEL_PATTERNS = 8
"""Kernel patterns of a layer."""


def kernel_patterns(costs: F, share: float) -> Bits:
    """PatDNN (ASPLOS 2020): kernels of 3x3 keep the centre and three more taps, in one of the eight sets that suit most
    kernels; then whole kernels go. Of other windows, whole kernels go.
    """
    k, r, s, c = costs.shape
    kernels = np.ascontiguousarray(costs.transpose(0, 3, 1, 2)).reshape(k * c, r * s)
    taps = np.ones(kernels.shape, bool)
    if (r, s) == (3, 3):
        taps = _best_patterns(kernels)
    count = round(share * kernels.size / np.count_nonzero(taps[0]))
    keep = dearest((kernels * taps).sum(axis=1), min(max(1, count), len(kernels)))
    return (taps & keep[:, None]).reshape(k, c, r, s).transpose(0, 2, 3, 1)


def _best_patterns(kernels: F) -> Bits:
    """The taps of the best one of the layer's patterns for each kernel [N, 9]."""
    centre = kernels.shape[1] // 2
    raised = kernels.copy()
    raised[:, centre] = np.inf
    order = np.argsort(-raised, axis=1, kind="stable")[:, :KERNEL_TAPS]
    own = np.zeros(kernels.shape, bool)
    np.put_along_axis(own, order, True, axis=1)
    places = np.arange(kernels.shape[1], dtype=np.int64)
    numbers: NDArray[np.int64] = (own * (np.int64(1) << places)).sum(axis=1)
    alive = kernels.any(axis=1)
    found: NDArray[np.int64]
    found, counts = np.unique(numbers[alive] if alive.any() else numbers, return_counts=True)
    frequent = found[np.argsort(-counts, kind="stable")[:KERNEL_PATTERNS]]
    patterns: Bits = np.asarray(frequent[:, None] >> places & 1, np.bool_)
    return patterns[np.argmax(linear.product(kernels, patterns.T.astype(np.float64)), axis=1)]
