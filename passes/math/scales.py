"""Scales as ONNX can store them, as float32: an exported model has the very same integers when it is imported."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]

_SMALLEST = float(np.finfo(np.float32).tiny)


def as_float32(scales: Array | float) -> NDArray[np.float64]:
    """Float64 numbers nearest to the given ones that are float32 numbers.

    No positive scale is below the smallest normal float32, where steps would be coarse or 0: what such a scale would
    tell apart counts as one value.
    """
    exact = np.asarray(scales, np.float64)
    return np.where(exact > 0, np.maximum(exact, _SMALLEST), exact).astype(np.float32).astype(np.float64)


def weight_scale(factor: Array, source: float, target: float, ic_shift: int = 0) -> NDArray[np.float64]:
    """Float32 scales of weights with which a step of the accumulator is `factor` steps of the target.

    `source` and `target` are the scales of input and output; each step of the accumulator stands for 2^ic_shift
    input steps.
    """
    return as_float32(np.ldexp(np.asarray(factor, np.float64) * (target / source), -ic_shift))


def step_factor(scale: Array, source: float, target: float, ic_shift: int = 0) -> NDArray[np.float64]:
    """Steps of the target for each step of the accumulator, of weights with float32 scales; undoes `weight_scale`."""
    return np.ldexp(source * np.asarray(scale, np.float64) / target, ic_shift)


def storable(factor: Array, source: float, target: float, ic_shift: int = 0) -> NDArray[np.float64]:
    """Factors nearest to the given ones that weights with float32 scales have."""
    return step_factor(weight_scale(factor, source, target, ic_shift), source, target, ic_shift)
