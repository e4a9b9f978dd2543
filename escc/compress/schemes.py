"""The compression schemes that come with escc: `dense`, `escalate` and `auto`.

A scheme decides how one convolution is computed. It is a callable ``(layer, options) -> WeightForm | None`` over
plain NumPy (see `passes.decomposition.scheme`); None keeps the layer dense. To add one, name it in the entry points of
a package::

    [project.entry-points."escc.schemes"]
    binary = "my_package.schemes:binary"

and select it with ``--scheme binary``. It is called once a layer, in the order of the network, with the moments of
the inputs that the already compressed network gives it, and must be deterministic.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from escc.compress.decompose import Fit, Settings
from escc.compress.price import Cost, price
from escc.compress.pricing import decompose_priced
from isa.errors import UserError
from passes.decomposition.int8 import Int8
from passes.decomposition.scheme import ConvLayer, SchemeOptions
from passes.decomposition.ternary_basis import TernaryBasis

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

_QUICK = Settings(starts=1, trial_rounds=2, rounds=6, factors=(1.0,))
_THOROUGH = Settings(starts=3)
_BRIEF = Settings(starts=1, trial_rounds=1, rounds=2, factors=(1.0,))
MEDIUM = 100_000_000
"""Multiply-adds of one pass over the coefficients of a layer above which `auto` is content with a quick search."""
LARGE = 1_000_000_000
"""The same above which a layer gets only a brief search."""
TOO_LARGE = 50_000_000_000
"""The same above which `auto` keeps a layer dense, because even the brief search takes minutes."""


@dataclass(frozen=True)
class Prices:
    """Relative error of the network's outputs that is worth saving one byte, and one cycle."""

    byte: float
    cycle: float

    @staticmethod
    def of(layer: ConvLayer, options: SchemeOptions, default: float = 0.0) -> Prices:
        """Prices of the rates asked for; `default` is both rates where none is asked for.

        A layer of which nobody says what network it is in is one by itself.
        """
        rate, cycle_rate = options.rate, options.cycle_rate
        if rate is None and cycle_rate is None:
            rate = cycle_rate = default
        array = layer.target.array
        nbytes = options.network_bytes or layer.weights.size
        macs = options.network_macs or layer.weights[0].size * math.prod(layer.output_shape)
        cycles = macs / (array.blocks * array.slices * array.macs)
        return Prices((rate or 0.0) / nbytes, (cycle_rate or 0.0) / cycles)

    def objective(self, layer: ConvLayer, error: float, cost: Cost) -> float:
        """Error of the network's outputs due to a layer's relative error, plus the price of the layer's cost."""
        return layer.sensitivity() * error + self.byte * cost.nbytes + self.cycle * cost.cycles

    def byte_price(self, layer: ConvLayer) -> float:
        """Relative error of the layer's output that is worth saving a byte."""
        return self.byte / max(layer.sensitivity(), LEAST_SENSITIVITY) if self.byte > 0 else 0.0


LEAST_SENSITIVITY = 1e-6
"""Below this a layer's errors are as good as invisible; keeps the prices finite."""


def virtual_bases(layer: ConvLayer, options: SchemeOptions) -> int:
    """Number of virtual bases: planes times basis kernels, at most what makes sense for the kernel size.

    By default as many basis kernels as a kernel has taps, and one plane (two for 1x1 kernels).
    """
    _, r, s, _ = layer.weights.shape
    taps = r * s
    basis = taps if options.basis is None else options.basis
    planes = (2 if taps == 1 else 1) if options.planes is None else options.planes
    return max(1, min(basis * planes, PLANES_OF_A_BYTE * taps))


def pass_work(layer: ConvLayer, bases: int) -> int:
    """Multiply-adds of one pass over the coefficients [K, V, C], each against a window of R*S*C values."""
    k, r, s, c = layer.weights.shape
    return k * bases * c * (r * s * c)


class _Search:
    """Decompositions of one layer in its metric."""

    def __init__(self, layer: ConvLayer, byte_price: float, seed: int):
        self._layer = layer
        self._byte_price = byte_price
        self._seed = seed
        w, m = layer.weights, layer.moments
        k, d = w.shape[0], w[0].size
        if m is None:
            self._wanted, self._metric = w, np.eye(d)
            return
        least = max(RIDGE, FEW_POSITIONS * d / m.count) if layer.calibrated else SYNTHETIC_RIDGE
        wanted, self._metric = m.regression(w.reshape(k, d), least)
        self._wanted: NDArray[np.float64] = wanted.reshape(w.shape)

    def fit(self, bases: int, settings: Settings, density: float | None = None) -> Fit:
        """A decomposition, of about the density if that is known; large layers are searched briefly whatever the
        settings.
        """
        if pass_work(self._layer, bases) > LARGE:
            settings = _BRIEF
        first = None if density is not None else replace(_BRIEF, seed=self._seed)
        settings = replace(settings, seed=self._seed)
        return decompose_priced(self._wanted, self._metric, bases, self._byte_price, settings, density, first)

    def climb(self, ladder: Sequence[int], objective: Callable[[Fit], float]) -> tuple[Fit, float]:
        """The quick fit of least objective over ascending numbers of bases, of which it has one valley, and that.

        From the middle downhill; what the first fit says of the density saves the others a pass. The two neighbours
        are tried at once, on as many threads as there are processors.
        """
        at = (len(ladder) - 1) // 2
        best = self.fit(ladder[at], _QUICK)
        values = {at: objective(best)}

        def following(index: int) -> Fit:
            expected = best.density * best.b.shape[0] / ladder[index]
            return self.fit(ladder[index], _QUICK, expected)

        while waiting := [i for i in (at - 1, at + 1) if 0 <= i < len(ladder) and i not in values]:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                found = list(pool.map(following, waiting))
            values |= {i: objective(fit) for i, fit in zip(waiting, found, strict=True)}
            least = min(waiting, key=values.__getitem__)
            if values[least] >= values[at]:
                break
            at, best = least, found[waiting.index(least)]
        return best, values[at]


def _answer(fit: Fit) -> TernaryBasis:
    return TernaryBasis(fit.t, fit.b, fit.s, fit.relative_error)


def int8_of(layer: ConvLayer) -> Int8:
    """The layer in int8, scaled to use the range of each output channel."""
    largest = np.abs(layer.weights).max(axis=(1, 2, 3))
    scale = np.where(largest > 0, largest, 1.0) / 127
    return Int8(np.rint(layer.weights / scale[:, None, None, None]).astype(np.int8), scale)


def dense(layer: ConvLayer, options: SchemeOptions) -> TernaryBasis | None:
    """Keeps every layer dense."""
    return None


def escalate(layer: ConvLayer, options: SchemeOptions) -> TernaryBasis | None:
    """Decomposes every layer with the bases asked for; sparser than the best fit only at a rate that is asked for.

    Raises UserError if the scratchpads cannot hold the bases.
    """
    bases = virtual_bases(layer, options)
    if bases > layer.most_bases:
        raise UserError(
            f"node '{layer.name}' (Conv): {bases} virtual bases do not fit the scratchpads of target "
            f"'{layer.target.name}'; requires at most {layer.most_bases}",
            "lower --basis or --planes, or use --scheme auto, which keeps such layers dense",
        )
    prices = Prices.of(layer, options)
    return _answer(_Search(layer, prices.byte_price(layer), options.seed).fit(bases, _THOROUGH))


def _ladder(layer: ConvLayer, options: SchemeOptions) -> list[int]:
    """Numbers of virtual bases worth a look.

    As many as taps and more: at equal bytes, more bases with sparser coefficients are often the better fit.
    """
    _, r, s, _ = layer.weights.shape
    taps = r * s
    if options.basis is not None or options.planes is not None:
        ladder = [virtual_bases(layer, options)]
    else:
        ladder = [2, 3, 4, 5] if taps == 1 else [taps, taps + taps // 3, 2 * taps]
    return [bases for bases in ladder if bases <= layer.most_bases]


def auto(layer: ConvLayer, options: SchemeOptions) -> TernaryBasis | None:
    """Decomposes a layer, or keeps it dense, whichever has the least error plus price of bytes and cycles.

    Prices come from the rates (see `SchemeOptions`); without any, `DEFAULT_RATE` for both, and a layer is decomposed
    only where that saves both bytes and cycles. Given --basis or --planes, the number of bases is fixed.
    """
    ladder = _ladder(layer, options)
    if not ladder:
        return None
    if pass_work(layer, ladder[0]) > TOO_LARGE:
        warnings.warn(
            f"node '{layer.name}' stays dense: to decompose so large a layer takes minutes; --scheme escalate does",
            UserWarning,
            stacklevel=2,
        )
        return None
    prices = Prices.of(layer, options, DEFAULT_RATE)
    chosen_freely = options.rate is None and options.cycle_rate is None
    now = price(int8_of(layer), layer.shape, layer.target)

    def objective(fit: Fit) -> float:
        cost = price(_answer(fit), layer.shape, layer.target)
        if chosen_freely and (cost.nbytes >= now.nbytes or cost.cycles >= now.cycles):
            return np.inf
        return prices.objective(layer, fit.relative_error, cost)

    search = _Search(layer, prices.byte_price(layer), options.seed)
    best, value = search.climb(ladder, objective)
    if value >= prices.objective(layer, 0.0, now):
        return None
    if layer.calibrated and pass_work(layer, best.b.shape[0]) <= MEDIUM:
        better = search.fit(best.b.shape[0], _THOROUGH, best.density)
        best = better if objective(better) < value else best
    return _answer(best)
