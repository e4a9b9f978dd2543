"""The scheme `smartexchange`: weights are sums of a few vectors, each times 0 or a power of two.

It follows SmartExchange (Zhao et al., ISCA 2020), which exchanges the storage of weights for shifts and additions. Rows
of kernels are sums of vectors that the layer shares, and each output channel has a scale beside, which the
requantisation applies for nothing. The coefficients are fitted to what the layer puts out on the calibration data. The
published rule, which looks at the weights alone and has vectors for each output channel, is there for comparison.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from escc.compress.about import About
from escc.compress.decompose import Fit
from escc.compress.metric import Metric
from escc.compress.option_values import choice
from escc.compress.patches import Cut, Patch
from escc.compress.pricing import Usage
from escc.compress.published_exchange import exchange
from escc.compress.schemes import (
    DEFAULT_RATE,
    QUICK,
    THOROUGH,
    Prices,
    Rung,
    Search,
    asked_level,
    int8_of,
    tiled,
)
from isa.errors import UserError
from isa.target import Target
from passes.decomposition.scheme import ConvLayer, SchemeOptions
from passes.decomposition.smartexchange import SmartExchange
from passes.decomposition.ternary_basis import TernaryBasis, most_bases
from passes.decomposition.weight_form import WeightForm

F = NDArray[np.float64]

_LOG = logging.getLogger(__name__)

MOST_VECTORS = 8
"""Vectors that may be asked for."""
THRESHOLD = 4e-3
"""Of the published rule: the share of the largest coefficient below which one becomes 0."""


class _RowSearch(Search):
    """Fits of the patches of a layer, which are taken for windows of one row, and their places for input channels."""

    def __init__(self, layer: ConvLayer, patch: Patch, byte_price: float, seed: int, vectors: int):
        self._patch = patch
        rows, columns, _ = self._groups = patch.groups(layer.weights.shape)
        super().__init__(layer, byte_price, seed, max(1, vectors * rows * columns // patch.depth))

    def arranged(self, layer: ConvLayer) -> tuple[F, Metric]:
        wanted, metric = Cut.of(layer, self._patch)
        apart = wanted.reshape(len(wanted), -1, self._patch.width)
        return np.ascontiguousarray(apart.transpose(0, 2, 1))[:, None], metric

    def _coefficients(self, t: NDArray[np.int8]) -> NDArray[np.int8]:
        """Coefficients [K, J, patches] as those of the form [K, J, R, S/span, C/depth]."""
        return np.ascontiguousarray(t.reshape(*t.shape[:2], *self._groups))

    def rebuilt(self, fit: Fit) -> SmartExchange:
        """The form whose weights are made of a fit when they are loaded, or what to expect of it."""
        answer = self.answer(fit)
        vectors = answer.basis.reshape(1, -1, self._patch.span, self._patch.depth)
        t = self._coefficients(answer.coefficients)
        form = SmartExchange.of(t, vectors, answer.scale, fit.relative_error)
        return self._measured(form) if len(fit.t) == len(t) else form

    def published(self, level: int) -> SmartExchange:
        """The form of the published rule, for vectors that are rounded to int8."""
        k, _, width, _ = self._wanted.shape
        order = self._patch.order(self._layer.weights.shape)
        flat = self._layer.weights.reshape(k, -1)[:, order]
        found = exchange(np.ascontiguousarray(flat.reshape(k, -1, width)), level, THRESHOLD)
        peak = np.abs(found.vectors).max(axis=(1, 2))
        step = np.where(peak > 0, peak, 1.0) / 127
        vectors = np.rint(found.vectors / step[:, None, None]).astype(np.int8)
        vectors = vectors.reshape(k, width, self._patch.span, self._patch.depth)
        t = np.ascontiguousarray(found.coefficients.transpose(0, 2, 1))
        return self._measured(SmartExchange.of(self._coefficients(t), vectors, step, 0.0))

    def _measured(self, form: SmartExchange) -> SmartExchange:
        """A form with its error, that of the rounded weights."""
        order = self._patch.order(form.integer_weights.shape)

        def energy(wanted: F, weights: F) -> float:
            return float(self._metric.energies(wanted - weights).sum())

        k = len(self._wanted)
        wanted = np.ascontiguousarray(self._wanted[:, 0].transpose(0, 2, 1)).reshape(k, -1)
        whole = energy(wanted, np.zeros_like(wanted))
        error = energy(wanted, form.weights.reshape(k, -1)[:, order])
        return SmartExchange(
            form.coefficients, form.vectors, form.shift, form.scale, error / whole if whole > 0 else 0.0
        )

    def basis_first(self, fit: Fit) -> TernaryBasis | None:
        """The form that combines input channels before it multiplies; None where a patch has several of them.

        A vector of a row becomes a basis for each row of the window, of which the others are empty.
        """
        rows, columns, _ = self._groups
        if self._patch.depth > 1 or columns > 1:
            return None
        answer = self.answer(fit)
        t = self._coefficients(answer.coefficients)
        k, terms, _, _, c = t.shape
        bases = np.zeros((terms, rows, rows, self._patch.span), np.int8)
        for row in range(rows):
            bases[:, row, row] = answer.basis[:, 0]
        return TernaryBasis(
            t.reshape(k, terms * rows, c), bases.reshape(terms * rows, rows, -1), answer.scale, fit.relative_error
        )


_RULES, _REBUILT = ("data", "weights"), ("0", "1")
"""Values of the options `rule` and `rebuilt`, the default first."""


def _asked_vectors(options: SchemeOptions, width: int) -> tuple[int, ...]:
    text = options.own.get("vectors")
    if text is None:
        return tuple(range(max(1, width - 1), width + 1))
    if text not in map(str, range(1, MOST_VECTORS + 1)):
        raise UserError(
            f"vectors={text}: a layer has from 1 to {MOST_VECTORS} vectors",
            f"--scheme-option vectors=N, N from 1 to {MOST_VECTORS}",
        )
    return (int(text),)


class _Smartexchange:
    """Takes the rows of every layer's kernels for sums of vectors, where that has the least error plus price.

    Prices are those of `SchemeOptions`; where it has neither, `DEFAULT_RATE` for both. Weights are rebuilt when they
    are loaded or, where a patch is a row of one input channel, combined before they are multiplied, whichever is
    cheaper. A layer that int8 weights serve better stays dense. Raises UserError for an option that it cannot meet.
    """

    reads: ClassVar[tuple[str, ...]] = ("rate", "cycle_rate")
    own_options: ClassVar[Mapping[str, str]] = {
        "levels": "greatest magnitude of a coefficient, 1, 2 or 4 (default: 4)",
        "vectors": f"vectors of a layer, from 1 to {MOST_VECTORS} (default: the best of one less than a patch has "
        "weights, and as many)",
        "rule": "data: fitted to the outputs of the layer (default); weights: the published rule",
        "rebuilt": "1: weights are always rebuilt when they are loaded (default: 0)",
    }

    @staticmethod
    def check_options(options: SchemeOptions, target: Target) -> None:
        """Raise UserError for a value that no layer can meet."""
        asked_level(target, options)
        _asked_vectors(options, 1)
        choice(options, "rule", _RULES)
        choice(options, "rebuilt", _REBUILT)

    def __call__(self, layer: ConvLayer, options: SchemeOptions) -> WeightForm | None:
        patch, rule = Patch.of(layer.weights.shape), choice(options, "rule", _RULES)
        level, only_rebuilt = asked_level(layer.target, options), choice(options, "rebuilt", _REBUILT) == "1"
        if patch is None:
            return None
        prices = Prices.of(layer, options, DEFAULT_RATE)
        counts = _asked_vectors(options, patch.width)
        search = _RowSearch(layer, patch, prices.byte_price(layer), options.seed, max(counts))
        if rule == "weights":
            return tiled(layer, search.published(level))
        now = prices.value(layer, int8_of(layer))

        def best_of(fit: Fit) -> tuple[float, WeightForm]:
            """The cheaper form of a fit, and what it costs."""
            forms: list[WeightForm] = [search.rebuilt(fit)]
            other = None if only_rebuilt else search.basis_first(fit)
            if other is not None and len(other.basis) <= most_bases(layer, level):
                forms.append(other)
            return min(((prices.value(layer, form), form) for form in forms), key=lambda found: found[0])

        rungs = [Rung(count, level) for count in counts]
        tried = [(best_of(fit)[0], fit, rung) for rung in rungs for fit in (search.fit(rung, QUICK),)]
        least, fit, rung = min(tried, key=lambda found: found[0])
        if layer.calibrated:
            thorough = search.fit(rung, THOROUGH, Usage.of(fit, level))
            fit = thorough if best_of(thorough)[0] < least else fit
        found, form = best_of(search.complete(rung, fit))
        if found < now:
            return form
        _LOG.info(f"node '{layer.name}' (Conv): int8 weights have a lower price than sums of powers of two")
        return None


ABOUT = About(
    form="sums of a few vectors, each times 0, ±1, ±2 or ±4",
    page="smartexchange.md",
    read_by=("load.se", "load.coef"),
    settings={"": "", "cheaper": "--rate 0.3 --cycle-rate 0.02", "published": "--scheme-option rule=weights"},
)

SCHEME = _Smartexchange()
