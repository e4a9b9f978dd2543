"""Elementwise activation functions on float64 arrays, from which lookup tables are made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from isa import elementary

Array: TypeAlias = NDArray[Any]
Function: TypeAlias = Callable[[Array], Array]


def relu(x: Array) -> Array:
    """max(x, 0)."""
    return np.maximum(x, 0)


def clip(low: float, high: float) -> Function:
    """min(max(x, low), high)."""
    return lambda x: np.clip(x, low, high)


def leaky_relu(alpha: float) -> Function:
    """x, below zero alpha * x."""
    return lambda x: np.where(x >= 0, x, alpha * x)


def elu(alpha: float) -> Function:
    """x, below zero alpha * (exp(x) - 1)."""
    return lambda x: np.where(x >= 0, x, alpha * elementary.expm1(np.minimum(x, 0)))


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x))."""
    return elementary.sigmoid(x)


def tanh(x: Array) -> Array:
    """Hyperbolic tangent."""
    return elementary.tanh(x)


def hard_sigmoid(alpha: float, beta: float) -> Function:
    """min(max(alpha * x + beta, 0), 1)."""
    return lambda x: np.clip(alpha * x + beta, 0, 1)


def hard_swish(x: Array) -> Array:
    """x * min(max(x / 6 + 1/2, 0), 1)."""
    return x * np.clip(x / 6 + 0.5, 0, 1)
