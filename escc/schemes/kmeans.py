"""The scheme `kmeans`: weights are vectors from a book that the layer shares, chosen by what they do to its outputs.

It follows Deep k-Means (Wu et al., ICML 2018), which takes rows of kernels for vectors, and gives the codes of frequent
vectors fewer bits. Each output channel has a scale beside, which the requantisation applies for nothing; each code has
a sign, so that a book of 127 vectors holds 255; and the vectors are fitted to what the layer puts out on the
calibration data instead of to the weights.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from escc.compress.about import About
from escc.compress.initial import sizes
from escc.compress.patches import Cut, Patch
from escc.compress.quantise_vectors import VectorFit, quantise_vectors
from escc.compress.schemes import DEFAULT_RATE, Prices, int8_of
from isa.codebook import MOST_ENTRIES
from isa.errors import UserError
from isa.target import Target
from passes.decomposition.codebook import Codebook
from passes.decomposition.scheme import ConvLayer, SchemeOptions

F = NDArray[np.float64]

_LOG = logging.getLogger(__name__)

BOOKS = (15, 31, 63, MOST_ENTRIES)
"""Sizes of the book that are tried."""
_BRIEF_ROUNDS, _ROUNDS, _COMPLETION_ROUNDS = 3, 10, 3
_WORK = 60_000_000
"""Multiply-adds of a product with the metric above which the book is sought on some of the output channels."""
_LEAST_CHANNELS = 64


def _asked_entries(options: SchemeOptions) -> tuple[int, ...]:
    text = options.own.get("entries")
    if text is None:
        return BOOKS
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MOST_ENTRIES:
        raise UserError(
            f"entries={text}: a book has from 1 to {MOST_ENTRIES} entries",
            f"--scheme-option entries=N, N from 1 to {MOST_ENTRIES}; each stands for a vector and for its negative",
        )
    return (int(text),)


class _BookSearch:
    """Fits of one layer, whose weights are ordered in patches [R, S/span, C/depth, span, depth]."""

    def __init__(self, layer: ConvLayer, patch: Patch, per_byte: float, seed: int):
        k = len(layer.weights)
        self._patches = patch.groups(layer.weights.shape)
        self._patch = patch
        self._seed = seed
        self._wanted, self._metric = Cut.of(layer, patch)
        self._per_bit = per_byte / 8 * float(self._metric.energies(self._wanted).sum())
        count = min(k, max(_LEAST_CHANNELS, _WORK // len(self._metric.h) ** 2))
        by_size = np.argsort(sizes(self._wanted), kind="stable")
        self._chosen = np.sort(by_size[(2 * np.arange(count) + 1) * k // (2 * count)])

    def fit(self, entries: int, rounds: int, first: VectorFit | None = None) -> VectorFit:
        """A fit of the chosen output channels, which may be all, from the book of another one if that is given."""
        w = self._wanted[self._chosen]
        return quantise_vectors(w, self._metric, entries, self._per_bit, rounds, self._seed, first)

    def complete(self, fit: VectorFit) -> VectorFit:
        """A fit of all output channels from the book of one of the chosen channels."""
        if len(self._chosen) == len(self._wanted):
            return fit
        unit = float(np.median(fit.s / sizes(self._wanted[self._chosen])))
        begin = VectorFit(fit.codes, fit.book, sizes(self._wanted) * unit, 0.0, 0.0, 0.0)
        rounds = _COMPLETION_ROUNDS
        return quantise_vectors(self._wanted, self._metric, len(fit.book), self._per_bit, rounds, self._seed, begin)

    def answer(self, fit: VectorFit) -> Codebook:
        """The weight form of a fit of all channels, or what to expect of it from one of the chosen channels."""
        k, codes, s = len(self._wanted), fit.codes, fit.s
        if len(codes) < k:
            similar = np.arange(k) * len(codes) // k
            codes, s = codes[similar], s[similar]
        book = fit.book.astype(np.int8).reshape(-1, *self._patch)
        return Codebook.of(codes.astype(np.int8).reshape(k, *self._patches), book, s, fit.relative_error)


class KMeans:
    """Takes every layer's weights from a book, of the size that has the least error plus price of bytes and cycles.

    Prices are those of `SchemeOptions`, with `DEFAULT_RATE` for bytes where it has neither. A layer that int8 weights
    serve better stays dense.
    """

    reads: ClassVar[tuple[str, ...]] = ("rate", "cycle_rate")
    own_options: ClassVar[Mapping[str, str]] = {
        "entries": f"entries of a book, from 1 to {MOST_ENTRIES} (default: the best of {', '.join(map(str, BOOKS))})"
    }

    @staticmethod
    def check_options(options: SchemeOptions, target: Target) -> None:
        """Raise UserError for a number of entries that no book has."""
        _asked_entries(options)

    def __call__(self, layer: ConvLayer, options: SchemeOptions) -> Codebook | None:
        sizes_of_books, patch = _asked_entries(options), Patch.of(layer.weights.shape)
        if patch is None:
            return None
        rates = options.byte_price, options.cycle_price
        prices = (
            Prices.of(layer, options) if any(rate is not None for rate in rates) else _default_prices(layer, options)
        )
        now = prices.value(layer, int8_of(layer))
        search = _BookSearch(layer, patch, prices.byte_price(layer), options.seed)

        def objective(fit: VectorFit) -> float:
            return prices.value(layer, search.answer(fit))

        room = layer.weights.size // patch.width
        brief = [search.fit(n, _BRIEF_ROUNDS) for n in sizes_of_books if n <= room] or [search.fit(room, _BRIEF_ROUNDS)]
        best = min(brief, key=objective)
        thorough = search.fit(len(best.book), _ROUNDS)
        best = search.complete(min(best, thorough, key=objective))
        if objective(best) < now:
            return search.answer(best)
        _LOG.info(f"node '{layer.name}' (Conv): int8 weights have a lower price than a codebook")
        return None


def _default_prices(layer: ConvLayer, options: SchemeOptions) -> Prices:
    return Prices(Prices.of(layer, options, DEFAULT_RATE).byte, 0.0)


ABOUT = About(
    form="codes into a book of vectors",
    page="kmeans.md",
    read_by=("load.vq",),
    settings={"": "--rate 0.1"},
)

SCHEME = KMeans()
