"""What a compression scheme is told of a convolution and what it answers, and the integer bounds of a decomposed one.

A scheme is any callable ``(ConvLayer, SchemeOptions) -> Decomposition | None`` that is named in the entry point group
`escc.schemes`; None keeps the layer dense. See docs of `Scheme`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from isa.layout import coefficient_bytes
from isa.target import Target
from passes.math.moments import Moments

F = NDArray[np.float64]
I8 = NDArray[np.int8]

INT32_MAX = (1 << 31) - 1
FAINT = 2.0**-8
"""Output steps: a channel whose coefficients move its output by less, whatever the input, is constant."""
BIAS_STEP = 2.0**-12
"""Output steps to which a channel without coefficients holds its bias."""
LEAST_FACTOR = 2.0**-40
"""Output steps for each step of the accumulator; no channel that has coefficients has fewer, being faint."""


@dataclass(frozen=True)
class ConvLayer:
    """One convolution without groups.

    `weights` float64 [K, R, S, C] in output steps for each input step: output integer = weights * window of input
    integers + bias. `input_shape` [H, W, C] and `output_shape` [OH, OW, K] of one image; `density` is the share of
    non-zero input values. `moments` are those of the windows that the layer sees in the network compressed so far,
    and of the outputs of the uncompressed network in output steps; None when there was nothing to calibrate on.
    `calibrated` is False if the inputs were synthetic. `sensitivity()` is the relative error of the network's outputs
    for each relative error of this layer's output (see `passes.sensitivity`), measured when a layer first asks for it.
    """

    name: str
    weights: F
    strides: tuple[int, int]
    input_shape: tuple[int, int, int]
    output_shape: tuple[int, int, int]
    density: float
    moments: Moments | None
    calibrated: bool
    target: Target
    sensitivity: Callable[[], float] = lambda: 1.0

    @property
    def most_bases(self) -> int:
        """Virtual bases that the scratchpads hold: coefficients of one output channel in half of COEF, bases in
        half of PAR.
        """
        _, r, s, c = self.weights.shape
        pads = self.target.scratchpad
        return min(
            pads.coef // 2 // coefficient_bytes(1, 1, c, self.target.array.chunk),
            pads.par // 2 // (r * s),
        )


@dataclass(frozen=True)
class SchemeOptions:
    """What the user asked for; None leaves the choice to the scheme.

    Rates are exchange rates between error and size: the relative error of the network's outputs that is worth saving
    all `network_bytes` (int8 weights) of its convolutions, and all `network_macs` (multiply-accumulates) of them.
    """

    basis: int | None = None
    planes: int | None = None
    seed: int = 0
    rate: float | None = None
    cycle_rate: float | None = None
    network_bytes: int = 0
    network_macs: int = 0


@dataclass(frozen=True)
class Decomposition:
    """weights[k,r,s,c] ~ scale[k] * sum_v coefficients[k,v,c] * basis[v,r,s].

    `coefficients` int8 [K, V, C] in {-1, 0, 1}; `basis` int8 [V, R, S]; `scale` float64 [K], not negative.
    `relative_error` is the squared output error over the output's variance, as far as the scheme knows it.
    """

    coefficients: I8
    basis: I8
    scale: F
    relative_error: float = 0.0

    @property
    def integer_weights(self) -> NDArray[np.int64]:
        """int64 [K, R, S, C]: the weights without their scales, exactly."""
        k, v, c = self.coefficients.shape
        _, r, s = self.basis.shape
        flat = self.coefficients.transpose(0, 2, 1).reshape(k * c, v).astype(np.int64)
        return (flat @ self.basis.reshape(v, r * s).astype(np.int64)).reshape(k, c, r, s).transpose(0, 2, 3, 1)

    @property
    def weights(self) -> F:
        """float64 [K, R, S, C]: the approximated weights."""
        return self.scale[:, None, None, None] * self.integer_weights


class Scheme(Protocol):
    """How to decompose a layer, or None to keep it dense.

    Must be deterministic for equal arguments. Raises `isa.errors.UserError` if the options cannot be met for this
    layer.
    """

    def __call__(self, layer: ConvLayer, options: SchemeOptions) -> Decomposition | None: ...


def intermediate_range(coefficients: I8, low: int, high: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Least and greatest sum_c T[k,v,c] * x[c] for x in [low, high]: int64 [K, V] each."""
    plus = np.count_nonzero(coefficients > 0, axis=2).astype(np.int64)
    minus = np.count_nonzero(coefficients < 0, axis=2).astype(np.int64)
    return plus * low - minus * high, plus * high - minus * low


def accumulator_range(
    coefficients: I8, basis: I8, low: int, high: int, ic_shift: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Least and greatest accumulator of the basis stage for x in [low, high], padding included: int64 [K] each.

    The intermediate values are shifted right by `ic_shift` and must not saturate.
    """
    least, most = intermediate_range(coefficients, min(low, 0), max(high, 0))
    taps_plus = np.maximum(basis, 0).astype(np.int64).sum(axis=(1, 2))
    taps_minus = -np.minimum(basis, 0).astype(np.int64).sum(axis=(1, 2))
    half = (1 << ic_shift) >> 1
    small, big = (least + half) >> ic_shift, (most + half) >> ic_shift
    return (small * taps_plus - big * taps_minus).sum(axis=1), (big * taps_plus - small * taps_minus).sum(axis=1)


def intermediate_shift(coefficients: I8, basis: I8, low: int, high: int, ic_bits: int) -> int:
    """Smallest right shift with which no intermediate value saturates and no accumulator leaves int32.

    Zeros of the padding are inputs too, so [low, high] must contain 0. Raises ValueError if no shift up to 31 does.
    """
    least, most = intermediate_range(coefficients, min(low, 0), max(high, 0))
    limit = (1 << (ic_bits - 1)) - 1
    for shift in range(32):
        half = (1 << shift) >> 1
        small, big = (least + half) >> shift, (most + half) >> shift
        bottom, top = accumulator_range(coefficients, basis, low, high, shift)
        fits = not big.size or (int(big.max()) <= limit and int(small.min()) >= -limit - 1)
        if fits and (not top.size or (int(top.max()) <= INT32_MAX and int(bottom.min()) >= -INT32_MAX)):
            return shift
    raise ValueError("no shift keeps the accumulators within int32")


@dataclass(frozen=True)
class DecomposedIntegers:
    """Integers of a decomposed convolution: output = (acc + bias[k]) * factor[k] in output steps.

    `coefficients` int8 [K, V, C]; acc is an accumulator of intermediate values shifted right by `ic_shift`; `factor`
    float64 [K], positive; `bias` int64 [K], which fits int32 together with any accumulator.
    """

    coefficients: I8
    ic_shift: int
    factor: F
    bias: NDArray[np.int64]


def decomposed_integers(
    answer: Decomposition, bias: Callable[[Decomposition], F], low: int, high: int, ic_bits: int
) -> DecomposedIntegers:
    """Integers of a convolution whose weights are `answer`, in output steps for each input step of [low, high].

    `bias` gives the float64 [K] biases in output steps that belong to the weights that it is given. A channel that
    cannot move its output by 1/256 of a step loses its coefficients, and is exactly constant. So does a channel whose
    bias would not fit int32 in steps of its accumulator, because its coefficients move the bias by a small share at
    most. Raises ValueError if no shift keeps the accumulators within int32.
    """
    reach = np.abs(answer.integer_weights).sum(axis=(1, 2, 3)) * (answer.scale * max(-low, high))
    answer = replace(answer, coefficients=np.where(reach[:, None, None] < FAINT, np.int8(0), answer.coefficients))
    t = answer.coefficients
    shift = intermediate_shift(t, answer.basis, low, high, ic_bits)
    bottom, top = accumulator_range(t, answer.basis, low, high, shift)
    room = INT32_MAX - np.maximum(top, -bottom)
    wanted, factor = bias(answer), answer.scale * float(1 << shift)
    safe = np.maximum(factor, LEAST_FACTOR)
    holds = np.abs(wanted) <= factor * room
    t = np.where(holds[:, None, None], t, np.int8(0))
    holds &= (factor == safe) & (np.abs(np.rint(wanted / safe) * safe - wanted) <= BIAS_STEP)
    empty = ~t.any(axis=(1, 2))
    factor = np.where(empty & ~holds, BIAS_STEP, safe)
    room = np.where(empty, INT32_MAX, room)
    return DecomposedIntegers(t, shift, factor, np.clip(np.rint(wanted / factor), -room, room).astype(np.int64))


def as_array(value: Any) -> NDArray[Any]:
    """NumPy array of a scheme's answer."""
    return np.asarray(value)


def check(layer: ConvLayer, answer: Decomposition) -> None:
    """Raise TypeError naming the layer if a scheme's answer does not have the documented shapes, types or values."""
    k, r, s, c = layer.weights.shape
    t, b, scale = as_array(answer.coefficients), as_array(answer.basis), as_array(answer.scale)
    v = t.shape[1] if t.ndim == 3 else 0
    wrong = [
        f"{name} must be {want}, found {a.dtype}{list(a.shape)}"
        for name, a, want, good in (
            ("coefficients", t, f"int8[{k}, V, {c}]", t.dtype == np.int8 and t.shape == (k, v, c) and v > 0),
            ("basis", b, f"int8[V, {r}, {s}]", b.dtype == np.int8 and b.shape == (v, r, s)),
            ("scale", scale, f"float64[{k}]", scale.dtype == np.float64 and scale.shape == (k,)),
        )
        if not good
    ]
    if not wrong and int(np.abs(t.astype(np.int16)).max()) > 1:
        wrong.append("coefficients must be -1, 0 or 1")
    if not wrong and not (np.isfinite(scale).all() and float(scale.min()) >= 0):
        wrong.append("scale must be finite and not negative")
    if wrong:
        raise TypeError(f"node '{layer.name}': the scheme's answer is malformed: {'; '.join(wrong)}")
