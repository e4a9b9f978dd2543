"""Elementary functions with the same bits on every processor.

NumPy and the C library choose an implementation of exp, log, tanh and the like by what the processor has, and the last
digit differs from one to the next. The functions here use only operations that IEEE 754 fixes to the bit: the four
basic ones, square roots, rounding and scaling by powers of two. They take float64 arrays of any shape (or numbers) and
return float64 arrays, accurate to about 15 digits.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

F: TypeAlias = NDArray[np.float64]

LN2 = 0.6931471805599453
_LOG2_E = 1.4426950408889634
ROOT_HALF = 0.7071067811865476
_STEPS = 256
"""Powers of two in the table, from 1 up to 2."""
LOG_TERMS = 12
_SMALL = 2.0**-6
"""Arguments below which exp(x) - 1 loses digits."""
_ERF_IS_ONE = 6.0
"""Arguments beyond which the error function is 1 to the last digit."""
_ERF_TERMS, _ERF_FACTOR = 130, 1.1283791670955126
"""Terms of its series, and 2 / sqrt(pi)."""
_QUARTER = (1.5707963267341256, 6.077100506303966e-11, 2.0222662487959506e-21)
"""A quarter of a turn in three parts, the first two short enough for exact products with a million."""
_PER_QUARTER, _HALF_PI = 0.6366197723675814, 1.5707963267948966
_WAVE_TERMS, _ATAN_TERMS = 9, 13
_BLOCK = 1 << 13
"""Elements worked on at a time, so that the intermediate results stay in the cache."""


def _powers() -> F:
    """2^(i/256) for i from 0 to 255."""
    table = np.ones(_STEPS)
    root, bit = 2.0, _STEPS
    while bit > 1:
        root, bit = math.sqrt(root), bit // 2
        table = np.where(np.arange(_STEPS) & bit, table * root, table)
    return table


_POWERS = _powers()


def exp2(x: ArrayLike) -> F:
    """2^x; infinity where that exceeds the format, NaN of NaN."""
    values = np.asarray(x, np.float64)
    flat = values.reshape(-1)
    out = np.empty_like(flat)
    for n in range(0, flat.size, _BLOCK):
        out[n : n + _BLOCK] = _exp2(flat[n : n + _BLOCK])
    return out.reshape(values.shape)


def _exp2(x: F) -> F:
    known = np.clip(np.nan_to_num(x, nan=0.0), -1100.0, 1100.0)
    steps = np.rint(known * _STEPS)
    z = (known - steps / _STEPS) * LN2  # at most 0.0014: five terms of the series are enough
    series = 1 + z * (1 + z * (0.5 + z * (1 / 6 + z * (1 / 24))))
    index = steps.astype(np.int64)
    with np.errstate(over="ignore", under="ignore"):
        power = np.ldexp(_POWERS[index & (_STEPS - 1)] * series, (index >> 8).astype(np.int32))
    return np.where(np.isnan(x), x, power)


def exp(x: ArrayLike) -> F:
    """e^x; infinity where that exceeds the format."""
    return exp2(np.asarray(x, np.float64) * _LOG2_E)


def expm1(x: ArrayLike) -> F:
    """e^x - 1, accurate near 0 too."""
    values = np.asarray(x, np.float64)
    z = np.clip(values, -_SMALL, _SMALL)
    near = z * (1 + z * (1 / 2 + z * (1 / 6 + z * (1 / 24 + z * (1 / 120 + z * (1 / 720 + z * (1 / 5040)))))))
    return np.where(np.abs(values) < _SMALL, near, exp(values) - 1)


def tanh(x: ArrayLike) -> F:
    """Hyperbolic tangent."""
    values = np.asarray(x, np.float64)
    e = expm1(-2 * np.abs(values))
    return np.copysign(e / (2 + e), values)


def sigmoid(x: ArrayLike) -> F:
    """1 / (1 + e^-x)."""
    return 1 / (1 + exp(-np.asarray(x, np.float64)))


def erf(x: ArrayLike) -> F:
    """Error function."""
    values = np.asarray(x, np.float64)
    z = np.clip(np.nan_to_num(values, nan=0.0), -_ERF_IS_ONE, _ERF_IS_ONE)
    square, term, total = 2 * z * z, z, z
    for n in range(1, _ERF_TERMS):  # all terms have one sign: no digit is lost
        term = term * square / (2 * n + 1)
        total = total + term
    return np.where(np.isnan(values), values, np.minimum(np.maximum(total * exp(-z * z) * _ERF_FACTOR, -1), 1))


def log1p(x: ArrayLike) -> F:
    """ln(1 + x), accurate near 0 too."""
    values = np.asarray(x, np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        sum_ = 1 + values
        correction = values / (sum_ - 1)  # what rounding 1 + x has lost
        return np.where(sum_ == 1, values, np.where(np.isfinite(sum_), log(sum_) * correction, log(sum_)))


def sin(x: ArrayLike) -> F:
    """Sine of radians, accurate for arguments up to a million."""
    return _wave(np.asarray(x, np.float64), 0)


def cos(x: ArrayLike) -> F:
    """Cosine of radians, accurate for arguments up to a million."""
    return _wave(np.asarray(x, np.float64), 1)


def _wave(values: F, ahead: int) -> F:
    """The sine of arguments that are `ahead` quarters of a turn further."""
    known = np.where(np.isfinite(values), values, 0)
    quarters = np.rint(known * _PER_QUARTER)
    z = ((known - quarters * _QUARTER[0]) - quarters * _QUARTER[1]) - quarters * _QUARTER[2]
    square = z * z
    sine, cosine = np.zeros_like(z), np.zeros_like(z)
    for n in range(_WAVE_TERMS, 0, -1):
        sine = (1 + sine) * -square / (2 * n * (2 * n + 1))
        cosine = (1 + cosine) * -square / (2 * n * (2 * n - 1))
    phase = (quarters.astype(np.int64) + ahead) & 3
    found = np.where(phase & 1, 1 + cosine, z * (1 + sine))
    return np.where(np.isfinite(values), np.where(phase & 2, -found, found), np.nan)


def atan(x: ArrayLike) -> F:
    """Arc tangent in radians."""
    values = np.asarray(x, np.float64)
    size = np.abs(values)
    with np.errstate(divide="ignore"):
        z = np.where(size > 1, 1 / size, size)
    for _ in range(2):  # half of the angle
        z = z / (1 + np.sqrt(1 + z * z))
    square, series = z * z, np.zeros_like(z)
    for n in range(2 * _ATAN_TERMS - 1, 0, -2):
        series = 1 / n - square * series
    angle = 4 * z * series
    return np.copysign(np.where(size > 1, _HALF_PI - angle, angle), values)


def asin(x: ArrayLike) -> F:
    """Arc sine in radians, NaN outside of [-1, 1]."""
    values = np.asarray(x, np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return atan(values / np.sqrt((1 - values) * (1 + values)))


def asinh(x: ArrayLike) -> F:
    """Inverse hyperbolic sine."""
    values = np.asarray(x, np.float64)
    size = np.abs(values)
    return np.copysign(log1p(size + size * size / (1 + np.sqrt(1 + size * size))), values)


def atanh(x: ArrayLike) -> F:
    """Inverse hyperbolic tangent, NaN outside of [-1, 1]."""
    values = np.asarray(x, np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.copysign(0.5 * log1p(2 * np.abs(values) / (1 - np.abs(values))), values)


def power(x: ArrayLike, y: ArrayLike) -> F:
    """x^y, broadcast; NaN of a number below 0 to a power that is no integer. Squares and square roots are correctly
    rounded.
    """
    base, exponent = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
    with np.errstate(invalid="ignore"):  # 0 times infinity, replaced below
        size = exp2(exponent * log2(np.abs(base)))
        root = np.sqrt(base)
    whole = exponent == np.rint(exponent)
    found = np.where(base >= 0, size, np.where(whole, np.where(exponent % 2 == 1, -size, size), np.nan))
    found = np.where(exponent == 2, base * base, np.where(exponent == 0.5, root, found))
    return np.where((exponent == 0) | (base == 1), 1.0, found)


def log(x: ArrayLike) -> F:
    """Natural logarithm."""
    return log2(x) * LN2


def log2(x: ArrayLike) -> F:
    """Logarithm to base 2, exact for powers of two; minus infinity of 0, NaN of numbers below 0."""
    values = np.asarray(x, np.float64)
    fraction, exponent = np.frexp(values)  # in [1/2, 1)
    low = fraction < ROOT_HALF
    fraction, whole = np.where(low, 2 * fraction, fraction), np.where(low, exponent - 1, exponent)
    known = np.isfinite(values) & (values > 0)
    fraction = np.where(known, fraction, 1)
    s = (fraction - 1) / (fraction + 1)  # log(m) = 2 * (s + s^3/3 + s^5/5 + ...), |s| <= 0.172
    square, series = s * s, np.zeros_like(s)
    for term in range(2 * LOG_TERMS - 1, 0, -2):
        series = series * square + 1 / term
    found = whole + s * series * (2 / LN2)
    return np.where(known, found, np.where(values == 0, -np.inf, np.where(values > 0, values, np.nan)))
