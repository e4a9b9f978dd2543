"""Sparse weights of a layer in a pattern: how many stay, which, and what they become, for the schemes of patterns.

A layer goes down a ladder of shares. At each rung the pattern keeps the weights whose removal costs most, and these are
fitted anew to what the layer should put out; so later rungs choose among weights that have made up for one another. The
answer is the rung that was asked for, or the one of the least error plus price of bytes and cycles.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from escc.compress.database import Candidates, Rates
from escc.compress.option_values import choice, number
from escc.compress.schemes import DEFAULT_RATE, Prices, int8_of, target_and_metric
from isa.errors import UserError
from isa.gather import Banking
from isa.instructions.conv_gather import lanes
from isa.target import Target
from passes.decomposition.gather import Gathered
from passes.decomposition.scheme import ConvLayer, SchemeOptions
from passes.decomposition.setting import Setting
from passes.math import linear
from passes.math.patterns import Pattern
from passes.math.pruning import refit, refit_by_gradients, saliency
from passes.math.weight_quant import weight_scales

F = NDArray[np.float64]
Bits = NDArray[np.bool_]

_LOG = logging.getLogger(__name__)

LADDER = (0.7, 0.55, 0.45, 0.37, 0.3, 0.24, 0.19, 0.15, 0.12, 0.09, 0.07, 0.05)
"""Shares of the weights that are tried where none is asked for."""
_FACTORED = 2e10
"""Multiply-adds of an exact fit of a layer; above, gradients come near to it."""
_ROUNDS = 30
"""Of conjugate gradients."""
_LARGEST_BIAS = 2.0**29
"""In steps of an accumulator, which int32 holds with room for the products."""
BUNDLE = 16
"""Output channels of a bundle unless something else is asked for."""

OPTIONS: Mapping[str, str] = {
    "sparsity": "share of the weights of a layer that go, such as 0.7 (default: that of the least error plus price)",
    "pays": "what --rate is a price of: bytes, cycles or both (default: both, or bytes where --cycle-rate is given)",
    "banks": "banks of a window, up to the multipliers of a block (default: as many)",
    "bundle": f"output channels that share the banks, up to the multipliers of a block (default: {BUNDLE})",
    "rule": "data: weights stay for what they do to the outputs, fitted anew (default); weights: the largest ones stay "
    "as they are",
    "scatter": "yes: output channels lie in an order in which banks have more equal numbers of weights (default: no)",
}
"""Options that all schemes of patterns have."""


_PAYS = ("both", "bytes", "cycles")
_RULES = ("data", "weights")
"""Values of the option `rule`, the default first."""


def _share(options: SchemeOptions) -> float | None:
    text = options.own.get("sparsity")
    if text is None:
        return None
    try:
        sparsity = float(text)
    except ValueError:
        sparsity = -1.0
    if not 0 <= sparsity < 1:
        raise UserError(f"sparsity={text}: requires a number from 0 to below 1", "--scheme-option sparsity=0.7")
    return 1 - sparsity


def banking_of(target: Target, options: SchemeOptions, bundle: int = BUNDLE) -> Banking:
    """The banks that are asked for, or else those of the target. Raises UserError if it does not have them."""
    most = lanes(target)
    banks = number(options, "banks", most, most)
    scatter = choice(options, "scatter", ("no", "yes")) == "yes"
    return Banking(banks, number(options, "bundle", min(bundle, most), most), int(scatter))


class _Rung(NamedTuple):
    """Weights [K, D] of which a share is kept, where, and their relative error."""

    weights: F
    kept: Bits
    error: float


class _Ladder:
    """Weights of one layer at ever smaller shares, by one of `_RULES`."""

    def __init__(self, layer: ConvLayer, pattern: Pattern, rule: str):
        self._given = layer.weights.reshape(len(layer.weights), -1)
        self._by_weights = rule == "weights"
        self._shape = layer.weights.shape
        wanted, self._metric = target_and_metric(layer)
        self._wanted = wanted.reshape(len(wanted), -1)
        self._pattern = pattern
        self._variance = float((self._wanted * linear.product(self._wanted, self._metric)).sum())

    def descend(self, shares: Sequence[float]) -> Iterator[_Rung]:
        """The rungs of these shares, one after the other."""
        costs = self._given**2 if self._by_weights else saliency(self._wanted, self._metric)
        for share in shares:
            kept = self._pattern(costs.reshape(self._shape), share).reshape(costs.shape)
            weights, costs = self._fit(kept)
            off = weights - self._wanted
            error = float((off * linear.product(off, self._metric)).sum())
            yield _Rung(weights, kept, error / self._variance if self._variance > 0 else 0.0)

    def _fit(self, kept: Bits) -> tuple[F, F]:
        """Weights [K, D] of the places that are kept, and what it would cost to remove each."""
        if self._by_weights:
            weights = self._given * kept
            return weights, weights**2
        work = float((np.count_nonzero(kept, axis=1).astype(np.float64) ** 3).sum())
        if work <= _FACTORED:
            return refit(self._wanted, self._metric, kept)
        return refit_by_gradients(self._wanted, self._metric, kept, _ROUNDS)


def _ladder(layer: ConvLayer, options: SchemeOptions, pattern: Pattern) -> _Ladder:
    return _Ladder(layer, pattern, choice(options, "rule", _RULES))


def _quantised(rung: _Rung, layer: ConvLayer, banking: Banking, fill: bool) -> Gathered:
    """The int8 form of a rung; `fill`: weights that stay do not become 0, so that the banks stay full.

    Scales are so large that the bias of a channel of hardly any weights fits its accumulator.
    """
    weights = rung.weights.reshape(layer.weights.shape)
    bias = 0.0 if layer.moments is None else np.abs(layer.moments.bias(rung.weights))
    scale = np.maximum(weight_scales(weights, "mse"), bias / _LARGEST_BIAS)
    scale = np.where(scale > 0, scale, 1.0)
    integers = np.clip(np.rint(weights / scale[:, None, None, None]), -127, 127).astype(np.int8)
    if fill:
        least = np.where(weights < 0, -1, 1).astype(np.int8)
        integers = np.where(rung.kept.reshape(weights.shape) & (integers == 0), least, integers)
    return Gathered(integers, scale, banking, rung.error)


def _steps(share: float) -> list[float]:
    """Rungs on the way down to a share."""
    return [*(rung for rung in LADDER[:4] if rung > share * 1.1), share]


def sparse_forms(
    layer: ConvLayer, options: SchemeOptions, pattern: Pattern, banking: Banking, fill: bool = False
) -> Iterator[tuple[float, Gathered]]:
    """Shares of the weights of a layer, and these weights in a pattern: that which is asked for, else every rung."""
    if layer.weights[0].size < banking.banks:
        return
    share = _share(options)
    shares = LADDER if share is None else _steps(share)
    for at, rung in zip(shares, _ladder(layer, options, pattern).descend(shares), strict=True):
        if share is None or at == share:
            yield at, _quantised(rung, layer, banking, fill)


def sparse_form(
    layer: ConvLayer, options: SchemeOptions, pattern: Pattern, banking: Banking, fill: bool = False
) -> Gathered | None:
    """Weights of a layer in a pattern; None where int8 weights serve it better.

    Layers whose windows have fewer values than there are banks stay dense, such as the first one of most networks.
    """
    if layer.weights[0].size < banking.banks:
        return None
    share = _share(options)
    rungs = _ladder(layer, options, pattern)
    if share is not None:
        *_, last = rungs.descend(_steps(share))
        return _quantised(last, layer, banking, fill)
    prices = _prices(layer, options)
    now = prices.value(layer, int8_of(layer))
    best: Gathered | None = None
    worse = 0
    for rung in rungs.descend(LADDER):
        form = _quantised(rung, layer, banking, fill)
        value = prices.value(layer, form)
        if value < now:
            best, now, worse = form, value, 0
        elif best is not None or layer.sensitivity() * rung.error > now:
            worse += 1
        if worse == 2:
            break
    if best is None:
        _LOG.info(f"node '{layer.name}' (Conv): int8 weights have a lower price than any share of the pattern")
    return best


def _prices(layer: ConvLayer, options: SchemeOptions) -> Prices:
    """`--rate` pays for bytes and cycles, for bytes alone where `--cycle-rate` is given, or for what the option `pays`
    names; `--cycle-rate` adds to that.
    """
    pays = choice(options, "pays", _PAYS)
    if "pays" not in options.own and options.cycle_price is not None:
        pays = "bytes"
    given = options.byte_price is not None or options.cycle_price is not None
    rate = (options.byte_price or 0.0) if given else DEFAULT_RATE
    one = Prices.of(layer, replace(options, byte_price=1.0, cycle_price=1.0))
    cycle_rate = rate * (pays != "bytes") + (options.cycle_price or 0.0)
    return Prices(rate * (pays != "cycles") * one.byte, cycle_rate * one.cycle)


class PatternScheme:
    """A scheme of sparse weights in a pattern.

    `pattern` makes the pattern of a layer from the options and the banks. `own_options` adds to `OPTIONS`. `bundle`
    gives the output channels of a bundle where the option of that name does not. `fill`: see `sparse_form`.
    """

    on_live_channels = True
    reads = ("rate", "cycle_rate")

    def __init__(
        self,
        pattern: Callable[[SchemeOptions, Banking], Pattern],
        own_options: Mapping[str, str] = MappingProxyType({}),
        bundle: Callable[[SchemeOptions], int] = lambda _: BUNDLE,
        fill: bool = False,
    ):
        self.own_options = {**own_options, **OPTIONS}
        self._pattern = pattern
        self._bundle = bundle
        self._fill = fill

    def check_options(self, options: SchemeOptions, target: Target) -> None:
        """Raise UserError for a value that no layer can meet."""
        _share(options)
        choice(options, "pays", _PAYS)
        choice(options, "rule", _RULES)
        self._pattern(options, banking_of(target, options, self._bundle(options)))

    def candidates(self, name: str, layer: ConvLayer, options: SchemeOptions, rates: Rates) -> Candidates:
        """Every share of the weights on one way down; prices play no part."""
        banking = banking_of(layer.target, options, self._bundle(options))
        for share, form in sparse_forms(layer, options, self._pattern(options, banking), banking, self._fill):
            yield Setting.made(name, {**options.own, "sparsity": f"{1 - share:.6g}"}), form

    def __call__(self, layer: ConvLayer, options: SchemeOptions) -> Gathered | None:
        banking = banking_of(layer.target, options, self._bundle(options))
        return sparse_form(layer, options, self._pattern(options, banking), banking, self._fill)
