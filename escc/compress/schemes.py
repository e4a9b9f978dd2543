"""What the schemes of `escc.schemes` share: prices, rungs of bases and levels, the search for a decomposition."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from escc.compress.decompose import Fit, Settings
from escc.compress.initial import sizes
from escc.compress.metric import Metric, SeparateMetric
from escc.compress.price import Cost, price
from escc.compress.pricing import Usage, decompose_priced
from isa.errors import UserError
from isa.levels import LEVELS
from isa.target import Target
from passes.decomposition.int8 import Int8
from passes.decomposition.scheme import ConvLayer, SchemeOptions
from passes.decomposition.ternary_basis import TernaryBasis
from passes.decomposition.weight_form import WeightForm
from passes.math.moments import ChannelMoments

F = NDArray[np.float64]
AnyForm = TypeVar("AnyForm", bound=WeightForm)

_LOG = logging.getLogger(__name__)

RIDGE = 1e-3
"""Least pull of the target towards the original weights, as a share of the mean input variance."""
SYNTHETIC_RIDGE = 1.0
"""The same when the inputs were synthetic: their correlations say little."""
FEW_POSITIONS = 0.1
"""The pull is this times the window's values for each position seen, where that is more: moments of few positions do
not generalise.
"""
PLANES_OF_A_BYTE = 5
"""Ternary planes beyond which a decomposition holds more than the eight bits of a dense weight (3^5 = 243)."""
DEFAULT_RATE = 0.1
"""Relative error of the network's outputs that `auto` takes for saving all bytes of the convolutions, and as much for
all cycles, where nothing else is asked for.
"""
UNCERTAIN_CYCLES = 64
"""Cycles by which an estimate may be off for fixed latencies alone: a layer is slower if it takes more than these."""

QUICK = Settings(starts=1, trial_rounds=2, rounds=6, factors=(1.0,))
THOROUGH = Settings(starts=3)
_BRIEF = Settings(starts=1, trial_rounds=1, rounds=2, factors=(1.0,))
_COMPLETION = replace(QUICK, trial_rounds=1)
_CHANNELWISE = Settings(starts=1, trial_rounds=1, rounds=3, factors=(1.0,))
"""For layers whose input channels are fitted each by itself, which is for a start of training."""
MEDIUM = 30_000_000
"""Multiply-adds of one pass over the coefficients of a layer above which bases are sought on some of its output
channels.
"""
LEAST_CHANNELS = 32
"""Output channels on which bases are sought, or more."""


@dataclass(frozen=True)
class Prices:
    """Relative error of the network's outputs that is worth saving one byte, and one cycle."""

    byte: float
    cycle: float

    @staticmethod
    def of(layer: ConvLayer, options: SchemeOptions, default: float = 0.0) -> Prices:
        """Prices of one byte and one cycle from those of a whole network; `default` is both where neither is given.

        A layer given without its network counts as a network of its own.
        """
        whole, whole_cycles = options.byte_price, options.cycle_price
        if whole is None and whole_cycles is None:
            whole = whole_cycles = default
        array = layer.target.array
        nbytes = options.network_bytes or layer.weights.size
        macs = options.network_macs or layer.weights[0].size * math.prod(layer.output_shape)
        cycles = macs / (array.blocks * array.slices * array.macs)
        return Prices((whole or 0.0) / nbytes, (whole_cycles or 0.0) / cycles)

    def objective(self, layer: ConvLayer, error: float, cost: Cost) -> float:
        """Error of the network's outputs due to a layer's relative error, plus the price of the layer's cost."""
        return layer.sensitivity() * error + self.byte * cost.nbytes + self.cycle * cost.cycles

    def value(self, layer: ConvLayer, form: WeightForm) -> float:
        """The objective of a layer in a form, with the error that the form states; int8 weights state none."""
        return self.objective(layer, form.relative_error, price(form, layer.shape, layer.target))

    def byte_price(self, layer: ConvLayer) -> float:
        """Relative error of the layer's output that is worth saving a byte."""
        return self.byte / max(layer.sensitivity(), LEAST_SENSITIVITY) if self.byte > 0 else 0.0


LEAST_SENSITIVITY = 1e-6
"""Below this a layer's errors are as good as invisible; keeps the prices finite."""


class Rung(NamedTuple):
    """A way to decompose a layer: virtual bases, and the greatest magnitude of a coefficient."""

    bases: int
    level: int


class Climb(NamedTuple):
    """Where a climb ends: a rung, its fit and objective; and all fits on the way, in the order of the tries."""

    rung: Rung
    best: Fit
    value: float
    tried: Sequence[Fit]


def asked_levels(target: Target, options: SchemeOptions) -> tuple[int, ...]:
    """Greatest magnitudes of a coefficient to choose from: the one asked for, else all that the target computes.

    Raises UserError if what is asked for is not a level, or more than the target computes.
    """
    most = target.array.coefficient_level
    allowed = tuple(level for level in LEVELS if level <= most)
    text = options.own.get("levels")
    if text is None:
        return allowed
    if text not in map(str, allowed):
        raise UserError(
            f"levels={text}: target '{target.name}' computes coefficients of magnitudes up to {most}",
            f"--scheme-option levels=N, N one of {', '.join(map(str, allowed))}",
        )
    return (int(text),)


def asked_level(target: Target, options: SchemeOptions) -> int:
    """Greatest magnitude of a coefficient: what is asked for, else the most that the target computes.

    Raises like `asked_levels`.
    """
    return asked_levels(target, options)[-1]


def decomposition_levels(target: Target, options: SchemeOptions) -> tuple[int, ...]:
    """Levels to choose from for a decomposition. Where planes are asked for but no level, these are ternary planes.

    Raises like `asked_levels`.
    """
    planes = options.planes is not None and "levels" not in options.own
    return (1,) if planes else asked_levels(target, options)


def rung_of(layer: ConvLayer, options: SchemeOptions, level: int) -> Rung:
    """Virtual bases where they are asked for, or else a good choice, for coefficients of magnitudes up to `level`.

    Virtual bases are planes times basis kernels, at most what makes sense for the kernel size. By default there are as
    many basis kernels as a kernel has taps, but no more than a block has slices if larger coefficients make up for
    these; and one plane (two for 1x1 kernels).
    """
    _, r, s, _ = layer.weights.shape
    return Rung(max(1, min(_bases_asked(r * s, layer.target, options, level), PLANES_OF_A_BYTE * r * s)), level)


def _bases_asked(taps: int, target: Target, options: SchemeOptions, level: int) -> int:
    """Virtual bases of a kernel of so many taps, whether they make sense or not."""
    basis = options.basis or (taps if level == 1 else min(taps, target.array.slices))
    return basis * ((2 if taps == 1 else 1) if options.planes is None else options.planes)


def beyond_all_layers(options: SchemeOptions, kernels: Sequence[tuple[int, int]], target: Target) -> str:
    """A warning of more virtual bases than make sense for any of the kernels R x S, "" unless so many are asked for."""
    given = [f"{name} {n}" for name, n in (("basis", options.basis), ("planes", options.planes)) if n is not None]
    level = decomposition_levels(target, options)[-1]
    most = [PLANES_OF_A_BYTE * r * s for r, s in kernels]
    asked = [_bases_asked(r * s, target, options, level) for r, s in kernels]
    if not given or not most or any(a <= m for a, m in zip(asked, most, strict=True)):
        return ""
    return (
        f"{' and '.join(given)} {'has' if len(given) == 1 else 'have'} no full effect: a layer takes at most "
        f"{PLANES_OF_A_BYTE} virtual bases (basis kernels times planes) for each tap of its kernel, here "
        f"{max(most)} instead of {asked[most.index(max(most))]}"
    )


def single_rung(layer: ConvLayer, options: SchemeOptions) -> Rung:
    """That of the greatest of the levels to choose from."""
    return rung_of(layer, options, decomposition_levels(layer.target, options)[-1])


def pass_work(layer: ConvLayer, bases: int) -> int:
    """Multiply-adds of one pass over the coefficients [K, V, C], each against a window of R*S*C values, or against the
    other bases and their pairs alone where channels are fitted each by itself.
    """
    k, r, s, c = layer.weights.shape
    return k * bases * c * (r * s + 4 * bases if fits_channels(layer) else r * s * c)


def fits_channels(layer: ConvLayer) -> bool:
    """Whether the input channels of a layer are fitted each by itself."""
    return isinstance(layer.moments, ChannelMoments)


def channels_to_search(layer: ConvLayer, bases: int) -> int:
    """Output channels on which bases are sought: all, but fewer where a pass over all takes more than `MEDIUM`."""
    k = len(layer.weights)
    return min(k, max(LEAST_CHANNELS, MEDIUM * k // max(1, pass_work(layer, bases))))


def target_and_metric(layer: ConvLayer) -> tuple[F, F]:
    """The weights [K, R, S, C] that give the wanted outputs best, and the metric [RSC, RSC] of errors from there."""
    w, m = layer.weights, layer.moments
    k, d = w.shape[0], w[0].size
    if m is None:
        return w, np.eye(d)
    wanted, metric = m.regression(w.reshape(k, d), _least_pull(layer, d, m.count))
    return wanted.reshape(w.shape), metric


def _least_pull(layer: ConvLayer, d: int, count: int) -> float:
    """Share of the mean input variance with which windows of d values seen `count` times pull to the weights."""
    return max(RIDGE, FEW_POSITIONS * d / count) if layer.calibrated else SYNTHETIC_RIDGE


def _target_and_channels(layer: ConvLayer) -> tuple[F, Metric]:
    """The weights that give the wanted outputs best, and the metric with a group for each input channel."""
    _, r, s, _ = layer.weights.shape
    if isinstance(m := layer.moments, ChannelMoments):
        return layer.weights, SeparateMetric(m.damped(_least_pull(layer, r * s, m.count)))
    wanted, metric = target_and_metric(layer)
    return wanted, Metric.of_channels(metric, r * s)


class Search:
    """Decompositions of one layer in its metric.

    Output channels have nothing in common but the bases. So the search for bases, and for how many there should be,
    takes some of the channels of a large layer; the coefficients of all are found once the bases are known.
    """

    def __init__(self, layer: ConvLayer, byte_price: float, seed: int, bases: int):
        self._layer = layer
        self._byte_price = byte_price
        self._seed = seed
        self._wanted, self._metric = self.arranged(layer)
        self._chosen = self._choose(channels_to_search(layer, bases))

    def at_price(self, byte_price: float) -> Self:
        """The same search at another price of a byte."""
        other = copy(self)
        other._byte_price = byte_price
        return other

    def arranged(self, layer: ConvLayer) -> tuple[F, Metric]:
        """Weights [K, R, S, C], whose windows [R, S] are sums of bases, and the metric of their channels."""
        return _target_and_channels(layer)

    def _choose(self, count: int) -> NDArray[np.int64] | None:
        """Output channels at equal distances in the order of their sizes; None for all."""
        k = len(self._wanted)
        if count >= k:
            return None
        order = np.argsort(sizes(self._wanted), kind="stable")
        return order[(2 * np.arange(count) + 1) * k // (2 * count)]

    def fit(self, rung: Rung, settings: Settings, usage: Usage | None = None) -> Fit:
        """A decomposition of the chosen channels, of about the usage if that is known."""
        if fits_channels(self._layer):
            settings = replace(_CHANNELWISE, hopeless=settings.hopeless)
        w, price = self._wanted, self._byte_price
        if self._chosen is not None:
            w, price = w[self._chosen], price * len(w) / len(self._chosen)
        return self._priced(w, price, rung, settings, usage)

    def _priced(
        self, w: F, price: float, rung: Rung, settings: Settings, usage: Usage | None, first: F | None = None
    ) -> Fit:
        settings, brief = (replace(s, seed=self._seed, level=rung.level) for s in (settings, _BRIEF))
        return decompose_priced(w, self._metric, rung.bases, price, settings, usage, brief, first)

    def complete(self, rung: Rung, fit: Fit) -> Fit:
        """A decomposition of all channels that begins with the bases of a fit of the chosen ones.

        If these are all, it is that fit itself.
        """
        if self._chosen is None:
            return fit
        used = fit.s > 0
        unit = float(np.median(fit.s[used] / sizes(self._wanted[self._chosen])[used])) if used.any() else 1.0
        usage, bases = Usage.of(fit, rung.level), fit.b.astype(np.float64) * unit
        settings = _CHANNELWISE if fits_channels(self._layer) else _COMPLETION
        return self._priced(self._wanted, self._byte_price, rung, settings, usage, bases)

    def answer(self, fit: Fit) -> TernaryBasis:
        """The weight form of a fit of all channels, or what to expect of it from one of the chosen channels."""
        t, s = fit.t, fit.s
        if len(t) < (k := len(self._wanted)):
            similar = np.empty(k, np.int64)
            similar[np.argsort(sizes(self._wanted), kind="stable")] = np.arange(k) * len(t) // k
            t, s = t[similar], s[similar]
        return TernaryBasis(t, fit.b, s, fit.relative_error)

    def climb(
        self, ladder: Sequence[Rung], at: int, objective: Callable[[Fit], float], hopeless: float = math.inf
    ) -> Climb:
        """The rung of least objective of quick fits on a ladder on which it has one valley.

        From rung `at` downhill; what the first fit says of the density saves the others a pass. The two neighbours
        are tried at once, on as many threads as there are processors, which call `objective`. Fits of a relative
        error above `hopeless` are rough; no rung below one that has such a fit in bases and level is tried.
        """
        quick = replace(QUICK, hopeless=hopeless)
        best = self.fit(ladder[at], quick)
        values, tried = {at: objective(best)}, [best]

        def following(index: int) -> tuple[Fit, float]:
            old, new = ladder[at], ladder[index]
            density = best.density * old.bases / new.bases
            fit = self.fit(new, quick, Usage.of(best, old.level).at(new.level, density))
            return fit, objective(fit)

        def promises(index: int) -> bool:
            old, new = ladder[at], ladder[index]
            return best.relative_error <= hopeless or new.bases > old.bases or new.level > old.level

        while waiting := [i for i in (at - 1, at + 1) if 0 <= i < len(ladder) and i not in values and promises(i)]:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                found = list(pool.map(following, waiting))
            tried += [fit for fit, _ in found]
            values |= {i: value for i, (_, value) in zip(waiting, found, strict=True)}
            least = min(waiting, key=values.__getitem__)
            if values[least] >= values[at]:
                break
            at, best = least, found[waiting.index(least)][0]
        return Climb(ladder[at], best, values[at], tried)


def int8_of(layer: ConvLayer) -> Int8:
    """The layer in int8, scaled to use the range of each output channel."""
    largest = np.abs(layer.weights).max(axis=(1, 2, 3))
    scale = np.where(largest > 0, largest, 1.0) / 127
    return Int8(np.rint(layer.weights / scale[:, None, None, None]).astype(np.int8), scale)


def tiled(layer: ConvLayer, form: AnyForm) -> AnyForm | None:
    """The form if the scratchpads hold what it needs; else None, and the log says so."""
    if math.isfinite(price(form, layer.shape, layer.target).cycles):
        return form
    _LOG.info(f"node '{layer.name}' (Conv) stays dense: the scratchpads do not hold its form '{form.name}'")
    return None


class WithLevels:
    """Decorator of a scheme that reads the option `levels`, and no price of cycles."""

    reads: ClassVar[tuple[str, ...]] = ("basis", "planes", "rate")
    own_options: ClassVar[Mapping[str, str]] = {
        "levels": "greatest magnitude of a coefficient, 1, 2 or 4 (default: the most that the target computes; 1 with "
        "--planes)"
    }

    def __init__(self, scheme: Callable[[ConvLayer, SchemeOptions], TernaryBasis | None]):
        self._scheme = scheme

    @staticmethod
    def check_options(options: SchemeOptions, target: Target) -> None:
        """Raise UserError for a level that the target does not compute."""
        asked_levels(target, options)

    @staticmethod
    def unmet(options: SchemeOptions, kernels: Sequence[tuple[int, int]], target: Target) -> str:
        """A warning of more bases than any layer takes, or ""."""
        return beyond_all_layers(options, kernels, target)

    def __call__(self, layer: ConvLayer, options: SchemeOptions) -> TernaryBasis | None:
        return self._scheme(layer, options)
