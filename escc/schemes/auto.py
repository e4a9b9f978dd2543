"""The scheme `auto`: a convolution is decomposed where that is worth its error."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from escc.compress.about import About
from escc.compress.database import Candidates, Rates
from escc.compress.decompose import Fit
from escc.compress.mixed import ALL, asked_forms, best_form, candidates_of_forms
from escc.compress.price import price
from escc.compress.pricing import Usage
from escc.compress.schemes import (
    DEFAULT_RATE,
    LEAST_SENSITIVITY,
    QUICK,
    THOROUGH,
    UNCERTAIN_CYCLES,
    Prices,
    Rung,
    Search,
    asked_levels,
    beyond_all_layers,
    decomposition_levels,
    int8_of,
    pass_work,
    rung_of,
)
from escc.schemes.escalate import setting_of
from isa.integers import ceil_div
from isa.target import Target
from passes.decomposition.scheme import ConvLayer, SchemeOptions
from passes.decomposition.ternary_basis import TernaryBasis, most_bases
from passes.decomposition.weight_form import WeightForm

TOO_LARGE = 50_000_000_000
"""The same above which `auto` keeps a layer dense, because even the bases that are known take minutes to use."""


_CLIMB_EVERY = 2
"""Of so many prices after one another, the first one seeks the best number of bases."""
_HOPELESS = 4.0
"""Times the error that would outweigh all that can be saved: further rounds do not make up for so much."""
_SHARE_OF_CYCLES = 0.6
"""Share of the cycles of a layer that go with its coefficients: what layers of ResNet-20 show."""


def ladder(layer: ConvLayer, options: SchemeOptions) -> tuple[list[Rung], int]:
    """Rungs worth a look, the better fits last, and the one to begin with.

    At equal bytes, more bases with sparser coefficients are often the better fit, so that there are rungs with as many
    bases as taps and more, among them as many as fill the last round of the slices. Where there are more taps than
    slices, the search begins with as many bases as slices, which take a single round.

    If the level may be chosen, there are as many bases as slices at every level, then as many as fill the rounds of all
    taps at the larger levels. More bases of level 1 are worse than fewer of a larger level, which take fewer rounds.
    """
    _, r, s, _ = layer.weights.shape
    taps, array, levels = r * s, layer.target.array, decomposition_levels(layer.target, options)
    few = min(taps, array.slices)
    full = min(ceil_div(taps, array.slices) * array.slices, 2 * taps)
    if options.basis is not None or options.planes is not None:
        rungs = [rung_of(layer, options, level) for level in levels]
    elif len(levels) > 1:
        fewest, more = (2, 3) if taps == 1 else (few, full if full > few else 2 * taps)
        rungs = [*(Rung(fewest, level) for level in levels), *(Rung(more, level) for level in levels[1:])]
    else:
        counts = [2, 3, 4, 5] if taps == 1 else sorted({few, taps, full, 2 * taps})
        rungs = [Rung(bases, level) for level in levels for bases in counts]
    rungs = [rung for rung in rungs if rung.bases <= most_bases(layer, rung.level)]
    if len(levels) > 1:
        return rungs, min(len(levels), max(1, len(rungs))) - 1
    quick = [i for i, rung in enumerate(rungs) if rung.bases <= array.slices and rung.bases < taps]
    return rungs, quick[-1] if quick else max(0, len(rungs) - 1) // 2


def _decomposed(layer: ConvLayer, options: SchemeOptions) -> TernaryBasis | None:
    """Decomposes a layer, or keeps it dense, whichever has the least error plus price of bytes and cycles.

    Prices are those of `SchemeOptions`; where it has neither, `DEFAULT_RATE` for both, and a layer is decomposed only
    where that saves bytes and costs no cycles, as far as their estimate can tell. Given --basis or --planes, the number
    of bases is fixed.
    """
    rungs, first = ladder(layer, options)
    if not rungs:
        return None
    if pass_work(layer, rungs[0].bases) > TOO_LARGE:
        warnings.warn(
            f"node '{layer.name}' stays dense: to decompose so large a layer takes minutes; --scheme escalate does",
            UserWarning,
            stacklevel=2,
        )
        return None
    prices = Prices.of(layer, options, DEFAULT_RATE)
    chosen_freely = options.byte_price is None and options.cycle_price is None
    now = price(int8_of(layer), layer.shape, layer.target)

    def objective(fit: Fit) -> float:
        cost = price(search.answer(fit), layer.shape, layer.target)
        if chosen_freely and (cost.nbytes >= now.nbytes or cost.cycles > now.cycles + UNCERTAIN_CYCLES):
            return np.inf
        return prices.objective(layer, fit.relative_error, cost)

    search = Search(layer, prices.byte_price(layer), options.seed, rungs[first].bases)
    dense_value = prices.objective(layer, 0.0, now)
    hopeless = _HOPELESS * dense_value / max(layer.sensitivity(), LEAST_SENSITIVITY)
    rung, best, value, _ = search.climb(rungs, first, objective, hopeless)
    if options.cycle_price:
        sparser = search.at_price(_byte_price_with_cycles(layer, prices, search.answer(best)))
        fit = sparser.fit(rung, QUICK, Usage.of(best, rung.level))
        if objective(fit) < value:
            search, best, value = sparser, fit, objective(fit)
    if value >= dense_value:
        return None
    if layer.calibrated:
        better = search.fit(rung, THOROUGH, Usage.of(best, rung.level))
        best = better if objective(better) < value else best
    whole = search.complete(rung, best)
    return search.answer(whole) if whole is best or objective(whole) < dense_value else None


def _byte_price_with_cycles(layer: ConvLayer, prices: Prices, form: TernaryBasis) -> float:
    """Relative error of the layer's output that is worth saving a byte of coefficients and the cycles that go with it.

    Coefficients take both: a layer with fewer of them saves a share of its bytes and `_SHARE_OF_CYCLES` of it of its
    cycles.
    """
    cost = price(form, layer.shape, layer.target)
    cycles = _SHARE_OF_CYCLES * cost.cycles / max(1, cost.nbytes) if math.isfinite(cost.cycles) else 0.0
    return Prices(prices.byte + prices.cycle * cycles, 0.0).byte_price(layer)


def _decompositions(layer: ConvLayer, options: SchemeOptions, rates: Rates) -> Candidates:
    """Decompositions at every price, each with the bases that a climb there, or at a price beside it, comes by."""
    rungs, at = ladder(layer, options)
    if not rungs or pass_work(layer, rungs[0].bases) > TOO_LARGE:
        return
    search = Search(layer, 0.0, options.seed, rungs[at].bases)
    for number, rate in enumerate(rates.values):
        prices = Prices.of(layer, rates.options(options, rate))
        priced = search.at_price(prices.byte_price(layer))

        def objective(fit: Fit, search: Search = priced, prices: Prices = prices) -> float:
            return prices.value(layer, search.answer(fit))

        climbed = rungs if number % _CLIMB_EVERY == 0 else [rungs[at]]
        rung, _, _, tried = priced.climb(climbed, climbed.index(rungs[at]), objective)
        at = rungs.index(rung)
        for form in map(priced.answer, tried):
            yield setting_of(Rung(len(form.basis), rung.level), rates.named(rate)), form


class _Auto:
    """Decomposes a layer or keeps it dense; with the option `forms`, chooses among the forms of several schemes."""

    own_options: ClassVar[Mapping[str, str]] = {
        "levels": "greatest magnitude of a coefficient, 1, 2 or 4 (default: chosen for each layer; 1 with --planes)",
        "forms": f"schemes whose forms are tried for each layer, by name with commas between, or {ALL} "
        "(default: decomposition alone)",
    }
    alternatives: ClassVar[Mapping[str, Sequence[str]]] = {"levels": ("1", "4")}

    @staticmethod
    def check_options(options: SchemeOptions, target: Target) -> None:
        """Raise UserError for a level that the target does not compute, and for a form that no scheme gives."""
        asked_levels(target, options)
        if (text := options.own.get("forms")) is not None:
            asked_forms(text)

    @staticmethod
    def unmet(options: SchemeOptions, kernels: Sequence[tuple[int, int]], target: Target) -> str:
        """A warning of more bases than any layer takes, or ""."""
        return "" if "forms" in options.own else beyond_all_layers(options, kernels, target)

    @staticmethod
    def asks(own: Mapping[str, str]) -> tuple[str, ...]:
        """The schemes whose forms are tried, none without the option `forms`."""
        text = own.get("forms")
        return () if text is None else asked_forms(text)

    def candidates(self, name: str, layer: ConvLayer, options: SchemeOptions, rates: Rates) -> Candidates:
        """Decompositions at all prices, or what each of the schemes contributes."""
        if (text := options.own.get("forms")) is None:
            return _decompositions(layer, options, rates)
        return candidates_of_forms(layer, options, rates, asked_forms(text))

    def __call__(self, layer: ConvLayer, options: SchemeOptions) -> WeightForm | None:
        text = options.own.get("forms")
        return _decomposed(layer, options) if text is None else best_form(layer, options, asked_forms(text))


ABOUT = About(
    form="that of `escalate` or `dense`, whichever has the least error plus price",
    page="../compression.md#the-search",
    settings={
        "": "",
        "all": "--forms all --rate 0.1 --cycle-rate 0.1",
        "all-cheaper": "--forms all --rate 0.7 --cycle-rate 0.5",
    },
)

auto = _Auto()
SCHEME = auto
