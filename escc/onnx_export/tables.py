"""Which elementwise function of ONNX a lookup table is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dialects.esc_base import QType
from isa import elementary
from passes.math import activations
from passes.math.activation_quant import Storage, identity, lookup_table
from passes.math.activations import Function

Array: TypeAlias = NDArray[Any]

_MOST_DIGITS = 9


@dataclass(frozen=True)
class Elementwise:
    """An ONNX operator with its attributes; Clip has `bounds` as inputs. No operator is a change of scale."""

    op_type: str
    attributes: dict[str, float] = field(default_factory=dict[str, float])
    bounds: tuple[float, float] | None = None


def recognise(table: Array, source: QType, target: QType) -> Elementwise | None:
    """The function whose table this is, in all of its 256 entries; None if it is none of those that ONNX has."""
    read, made = Storage.full(source.signed, source.scale), Storage.full(target.signed, target.scale)
    for function, answer in _candidates(table, read, made):
        if np.array_equal(lookup_table(function, read, made), table):
            return answer
    return None


def _float32(x: float) -> float:
    return float(np.float32(x))


def _candidates(table: Array, source: Storage, target: Storage) -> Iterator[tuple[Function, Elementwise]]:
    """Functions worth comparing, simple ones first; parameters are those nearest to the table, with few digits."""
    yield identity, Elementwise("")
    yield activations.relu, Elementwise("Relu")
    yield activations.sigmoid, Elementwise("Sigmoid")
    yield activations.tanh, Elementwise("Tanh")
    yield activations.hard_swish, Elementwise("HardSwish")
    low, high = _float32(int(table.min()) * target.scale), _float32(int(table.max()) * target.scale)
    yield activations.clip(low, high), Elementwise("Clip", bounds=(low, high))
    stored = np.arange(256, dtype=np.uint8).view(np.int8 if source.signed else np.uint8).astype(np.float64)
    x, y = stored * source.scale, table.astype(np.float64) * target.scale
    half = target.scale / 2
    inside = (table > (-128 if target.signed else 0)) & (table < (127 if target.signed else 255))
    below = (x < 0) & inside
    for alpha in _parameters(x[below], y[below], half):
        yield activations.leaky_relu(alpha), Elementwise("LeakyRelu", {"alpha": alpha})
    for alpha in _parameters(elementary.expm1(np.minimum(x[below], 0)), y[below], half):
        yield activations.elu(alpha), Elementwise("Elu", {"alpha": alpha})
    for beta in _simple(float(y[0]) - half, float(y[0]) + half):
        slope = inside & (x != 0) & (y > half) & (y < 1 - half)
        for alpha in (_float32(0.2), _float32(1 / 6), *_parameters(x[slope], y[slope] - beta, half)):
            yield activations.hard_sigmoid(alpha, beta), Elementwise("HardSigmoid", {"alpha": alpha, "beta": beta})


def _parameters(x: Array, y: Array, half: float) -> Iterator[float]:
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
        rounded = _float32(round(middle, digits))
        if low <= rounded <= high:
            yield rounded
    yield _float32(middle)
