"""The compression schemes that come with escc: `dense`, `escalate` and `auto`.

A scheme decides how one convolution is computed. It is a callable ``(layer, options) -> Decomposition | None`` over
plain NumPy (see `passes.math.decomposition`); None keeps the layer dense. To add one, name it in the entry points of
a package::

    [project.entry-points."escc.schemes"]
    binary = "my_package.schemes:binary"

and select it with ``--scheme binary``. It is called once a layer, in the order of the network, with the moments of
the inputs that the already compressed network gives it, and must be deterministic.
"""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np

from escc.compress.cost import Cost, Geometry, decomposed_bytes, decomposed_cost, dense_cost
from escc.compress.decompose import Fit, Settings, decompose
from isa.errors import UserError
from passes.math.decomposition import ConvLayer, Decomposition, SchemeOptions

RIDGE = 1e-3
"""Pull of the target towards the original weights, as a share of the mean input variance; enough for 512 CIFAR
images.
"""
SYNTHETIC_RIDGE = 1.0
"""The same when the inputs were synthetic: their correlations say little."""
PLANES_OF_A_BYTE = 5
"""Ternary planes beyond which a decomposition holds more than the eight bits of a dense weight (3^5 = 243)."""
MOST_ERROR = 0.02
"""Relative output error above which `auto` looks for more bases, or keeps the layer dense."""

_DECAY = 1.8
"""Going from as many bases as taps to twice as many divides the error by about e^1.8 (measured on trained networks)."""

_QUICK = Settings(starts=1, trial_rounds=2, rounds=6, factors=(1.0,))
_THOROUGH = Settings()
_BRIEF = Settings(starts=1, trial_rounds=1, rounds=2, factors=(1.0,))
LARGE = 1_000_000_000
"""Multiply-adds of one pass over the coefficients of a layer above which it gets only a brief search."""
TOO_LARGE = 50_000_000_000
"""The same above which `auto` keeps a layer dense, because even the brief search takes minutes."""


def geometry(layer: ConvLayer) -> Geometry:
    """Shape of a layer for the cost estimates."""
    k, r, s, c = layer.weights.shape
    return Geometry(k, r, s, c, layer.strides, layer.input_shape[:2], layer.output_shape[:2])


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


def _fit(layer: ConvLayer, bases: int, settings: Settings) -> tuple[Fit, float]:
    """Decomposition in the metric of the layer, and its error relative to the variance of the wanted output.

    Large layers are searched briefly whatever the settings.
    """
    if pass_work(layer, bases) > LARGE:
        settings = replace(_BRIEF, seed=settings.seed, price=settings.price)
    w = layer.weights
    k, d = w.shape[0], w[0].size
    m = layer.moments
    if m is None:
        fit = decompose(w, np.eye(d), bases, settings)
        return fit, fit.relative_error
    ridge = RIDGE if layer.calibrated else SYNTHETIC_RIDGE
    wanted, metric = m.regression(w.reshape(k, d), ridge)
    fit = decompose(wanted.reshape(w.shape), metric, bases, settings)
    return fit, fit.relative_error


def _answer(fit: Fit, error: float) -> Decomposition:
    return Decomposition(fit.t, fit.b, fit.s, error)


def cost_of(layer: ConvLayer, answer: Decomposition) -> Cost:
    """Estimated cost of a decomposed layer."""
    density = float(np.count_nonzero(answer.coefficients)) / max(1, answer.coefficients.size)
    nbytes = decomposed_bytes(answer.coefficients, answer.basis)
    return decomposed_cost(geometry(layer), layer.target, answer.basis.shape[0], density, layer.density, nbytes)


def dense(layer: ConvLayer, options: SchemeOptions) -> Decomposition | None:
    """Keeps every layer dense."""
    return None


def escalate(layer: ConvLayer, options: SchemeOptions) -> Decomposition | None:
    """Decomposes every layer with the bases asked for. Raises UserError if the scratchpads cannot hold them."""
    bases = virtual_bases(layer, options)
    if bases > layer.most_bases:
        raise UserError(
            f"node '{layer.name}' (Conv): {bases} virtual bases do not fit the scratchpads of target "
            f"'{layer.target.name}'; requires at most {layer.most_bases}",
            "lower --basis or --planes, or use --scheme auto, which keeps such layers dense",
        )
    return _answer(*_fit(layer, bases, replace(_THOROUGH, seed=options.seed)))


def auto(layer: ConvLayer, options: SchemeOptions) -> Decomposition | None:
    """Decomposes a layer where that saves bytes and cycles and the output error stays small, with as few bases as
    that takes.

    Given --basis or --planes, the number of bases is fixed and only the decision is made.
    """
    _, r, s, _ = layer.weights.shape
    taps = r * s
    if options.basis is not None or options.planes is not None:
        ladder = [virtual_bases(layer, options)]
    else:
        ladder = [2, 3, 4] if taps == 1 else [taps, taps + taps // 3, 2 * taps]
    quick = replace(_QUICK, seed=options.seed)
    now = dense_cost(geometry(layer), layer.target)
    while ladder:
        bases = ladder.pop(0)
        if bases > layer.most_bases:
            return None
        if pass_work(layer, bases) > TOO_LARGE:
            warnings.warn(
                f"node '{layer.name}' stays dense: to decompose so large a layer takes minutes; --scheme escalate does",
                UserWarning,
                stacklevel=2,
            )
            return None
        answer = _answer(*_fit(layer, bases, quick))
        cost = cost_of(layer, answer)
        if cost.nbytes >= now.nbytes or cost.cycles >= now.cycles:
            return None
        if answer.relative_error <= MOST_ERROR:
            if layer.calibrated and pass_work(layer, bases) <= LARGE:
                answer = _answer(*_fit(layer, bases, replace(_THOROUGH, seed=options.seed)))
            return answer
        # Go on where the error is expected to suffice, with some allowance for the estimate.
        missing = np.log(answer.relative_error / (1.25 * MOST_ERROR)) * taps / _DECAY
        ladder = [v for v in ladder if v >= bases + missing]
    return None
