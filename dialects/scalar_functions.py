"""The functions of one number that the machine computes by a table: everything that the tree knows of each of them.

The arithmetic keeps the element type of float32 arrays where it needs no more, and gives the same bits on every
processor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from isa import elementary

Array: TypeAlias = NDArray[Any]
Parameters: TypeAlias = Mapping[str, float]

_MOST_DIGITS = 9


@dataclass(frozen=True)
class TableSamples:
    """A table as pairs of real numbers, from which the parameters of a function may be estimated.

    `x`, `y`: all arguments and results, float64 [256]; `half` a step of the results. `inside`: bool [256], results that
    are not at an end of what their type holds. `least`, `most`: results at the ends of the table.
    """

    x: Array
    y: Array
    half: float
    inside: Array
    least: float
    most: float


def _no_fit(_: TableSamples) -> Iterator[Parameters]:
    yield {}


@dataclass(frozen=True)
class ScalarFunction:
    """`name` as in ONNX; `compute(x, **parameters)` on float arrays; `parameters` with the defaults of ONNX.

    `torch`: lazy name "module:function" of `function(x, **parameters)` on torch tensors. `fit`: parameters, the best
    first, with which the function may have made a table. `non_negative`: whether no result is below 0.
    """

    name: str
    compute: Callable[..., Array]
    torch: str
    parameters: Parameters = field(default_factory=dict[str, float])
    fit: Callable[[TableSamples], Iterator[Parameters]] = _no_fit
    non_negative: bool = False


def _relu(x: Array) -> Array:
    return np.maximum(x, 0)


def _clip(x: Array, min: float = -math.inf, max: float = math.inf) -> Array:
    return np.clip(x, min, max)


def _leaky_relu(x: Array, alpha: float) -> Array:
    return np.where(x >= 0, x, alpha * x)


def _elu(x: Array, alpha: float) -> Array:
    return np.where(x >= 0, x, alpha * elementary.expm1(np.minimum(x, 0)))


def _hard_sigmoid(x: Array, alpha: float, beta: float) -> Array:
    return np.clip(alpha * x + beta, 0, 1)


def _hard_swish(x: Array) -> Array:
    return x * np.clip(x * (1 / 6) + 0.5, 0, 1)


def _softplus(x: Array) -> Array:
    return np.maximum(x, 0) + elementary.log1p(elementary.exp(-np.abs(x)))


def _mish(x: Array) -> Array:
    # With powers of e below 1 only, so that nothing overflows.
    e = elementary.exp(-np.abs(x))
    positive = (1 + 2 * e) / (1 + 2 * e + 2 * e * e)
    negative = (2 * e + e * e) / (2 + 2 * e + e * e)
    return x * np.where(x >= 0, positive, negative)


def _selu(x: Array, alpha: float, gamma: float) -> Array:
    return gamma * np.where(x >= 0, x, alpha * elementary.expm1(np.minimum(x, 0)))


def _celu(x: Array, alpha: float) -> Array:
    return np.where(x >= 0, x, alpha * elementary.expm1(np.minimum(x, 0) / alpha))


def _thresholded_relu(x: Array, alpha: float) -> Array:
    return np.where(x > alpha, x, 0)


def _reciprocal(x: Array) -> Array:
    return 1 / x


def _acos(x: Array) -> Array:
    return math.pi / 2 - elementary.asin(x)


def _acosh(x: Array) -> Array:
    return elementary.log(x + np.sqrt((x - 1) * (x + 1)))


def _sinh(x: Array) -> Array:
    e = elementary.expm1(np.abs(x))
    return np.copysign((e + e / (1 + e)) / 2, x)


def _cosh(x: Array) -> Array:
    e = elementary.exp(np.abs(x))
    return (e + 1 / e) / 2


def _tan(x: Array) -> Array:
    return elementary.sin(x) / elementary.cos(x)


# Parameters of tables -------------------------------------------------------------------------------------------------


def float32(x: float) -> float:
    """The nearest float32 number."""
    return float(np.float32(x))


def _factors(x: Array, y: Array, half: float) -> Iterator[float]:
    """Factors a with |a * x - y| <= half everywhere, as `_simple` numbers."""
    if not x.size:
        return
    ends = np.stack([(y - half) / x, (y + half) / x])
    yield from _simple(float(ends.min(axis=0).max()), float(ends.max(axis=0).min()))


def _simple(low: float, high: float) -> Iterator[float]:
    """Float32 numbers in an interval, the fewest decimals first; nothing if it is empty."""
    if low > high:
        return
    middle = (low + high) / 2
    for digits in range(_MOST_DIGITS):
        rounded = float32(round(middle, digits))
        if low <= rounded <= high:
            yield rounded
    yield float32(middle)


def _fit_clip(t: TableSamples) -> Iterator[Parameters]:
    yield {"min": float32(t.least), "max": float32(t.most)}


def _fit_leaky_relu(t: TableSamples) -> Iterator[Parameters]:
    below = (t.x < 0) & t.inside
    return ({"alpha": alpha} for alpha in _factors(t.x[below], t.y[below], t.half))


def _fit_elu(t: TableSamples) -> Iterator[Parameters]:
    below = (t.x < 0) & t.inside
    return ({"alpha": alpha} for alpha in _factors(elementary.expm1(t.x[below]), t.y[below], t.half))


def _fit_hard_sigmoid(t: TableSamples) -> Iterator[Parameters]:
    at_zero = float(t.y[t.x == 0][0])
    slope = t.inside & (t.x != 0) & (t.y > t.half) & (t.y < 1 - t.half)
    for beta in _simple(at_zero - t.half, at_zero + t.half):
        for alpha in (float32(0.2), float32(1 / 6), *_factors(t.x[slope], t.y[slope] - beta, t.half)):
            yield {"alpha": alpha, "beta": beta}


_TORCH = "escc.training.forms.scalars"

RELU = ScalarFunction("Relu", _relu, "torch:relu", non_negative=True)
SIGMOID = ScalarFunction("Sigmoid", elementary.sigmoid, "torch:sigmoid", non_negative=True)
TANH = ScalarFunction("Tanh", elementary.tanh, "torch:tanh")
HARD_SWISH = ScalarFunction("HardSwish", _hard_swish, "torch.nn.functional:hardswish")
CLIP = ScalarFunction("Clip", _clip, "torch:clamp", fit=_fit_clip)
LEAKY_RELU = ScalarFunction("LeakyRelu", _leaky_relu, f"{_TORCH}:leaky_relu", {"alpha": 0.01}, _fit_leaky_relu)
ELU = ScalarFunction("Elu", _elu, f"{_TORCH}:elu", {"alpha": 1.0}, _fit_elu)
HARD_SIGMOID = ScalarFunction(
    "HardSigmoid", _hard_sigmoid, f"{_TORCH}:hard_sigmoid", {"alpha": 0.2, "beta": 0.5}, _fit_hard_sigmoid, True
)

SCALAR_FUNCTIONS = (RELU, SIGMOID, TANH, HARD_SWISH, CLIP, LEAKY_RELU, ELU, HARD_SIGMOID)
"""Ours, in the order in which a table is compared with them: simple ones first."""

MORE_FUNCTIONS = (
    ScalarFunction("Acos", _acos, "torch:acos", non_negative=True),
    ScalarFunction("Acosh", _acosh, "torch:acosh", non_negative=True),
    ScalarFunction("Asin", elementary.asin, "torch:asin"),
    ScalarFunction("Asinh", elementary.asinh, "torch:asinh"),
    ScalarFunction("Atan", elementary.atan, "torch:atan"),
    ScalarFunction("Atanh", elementary.atanh, "torch:atanh"),
    ScalarFunction("Cos", elementary.cos, "torch:cos"),
    ScalarFunction("Cosh", _cosh, "torch:cosh", non_negative=True),
    ScalarFunction("Sin", elementary.sin, "torch:sin"),
    ScalarFunction("Sinh", _sinh, "torch:sinh"),
    ScalarFunction("Tan", _tan, "torch:tan"),
    ScalarFunction("Abs", np.abs, "torch:abs", non_negative=True),
    ScalarFunction("Ceil", np.ceil, "torch:ceil"),
    ScalarFunction("Celu", _celu, f"{_TORCH}:celu", {"alpha": 1.0}),
    ScalarFunction("Erf", elementary.erf, "torch:erf"),
    ScalarFunction("Exp", elementary.exp, "torch:exp", non_negative=True),
    ScalarFunction("Floor", np.floor, "torch:floor"),
    ScalarFunction("Log", elementary.log, "torch:log"),
    ScalarFunction("Mish", _mish, "torch.nn.functional:mish"),
    ScalarFunction("Neg", np.negative, "torch:neg"),
    ScalarFunction("Reciprocal", _reciprocal, "torch:reciprocal"),
    ScalarFunction("Round", np.rint, "torch:round"),
    ScalarFunction("Selu", _selu, f"{_TORCH}:selu", {"alpha": 1.6732631921768188, "gamma": 1.0507010221481323}),
    ScalarFunction("Sign", np.sign, "torch:sign"),
    ScalarFunction("Softplus", _softplus, "torch.nn.functional:softplus", non_negative=True),
    ScalarFunction("Sqrt", np.sqrt, "torch:sqrt", non_negative=True),
    ScalarFunction("ThresholdedRelu", _thresholded_relu, f"{_TORCH}:thresholded_relu", {"alpha": 1.0}),
)
"""Those that expressions name and no operation of the dialect stands for."""
