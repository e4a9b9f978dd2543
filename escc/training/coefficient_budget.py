"""Which coefficients may stay so that the constants of a network fit a number of bytes.

A coefficient is worth its benefit (an estimate of how much the loss grows without it) and costs the bits that it adds
to the packed coefficients; an output channel costs its parameters too. For a price, a benefit for each byte, that
decides about every coefficient and every channel of every layer at once; the price is found by bisection.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isa.coefficients import stream_bits, stream_bytes
from isa.elementary import exp2, log2

F32 = NDArray[np.float32]
Mask = NDArray[np.bool_]

PARAMETER_BYTES = 3
"""Bias, multiplier and shift of an output channel, about as they are packed."""
_LEAST_BITS, _MOST_BITS = 0.25, 16.0
_ROUNDS = 3
_BISECTIONS = 30


@dataclass(frozen=True)
class Candidates:
    """Coefficients of a layer that may be non-zero, and what each is worth.

    `benefit` float32 [K, C, V], 0 for coefficients that are 0 anyhow; `taps` is the number of values of a basis kernel.
    """

    benefit: F32
    taps: int


@dataclass
class Selection:
    """The outcome for a layer: the least benefit that a coefficient must have, and which channels are on [K]."""

    least: float
    channels: Mask

    def keep(self, benefit: F32) -> Mask:
        """Coefficients [K, C, V] that stay."""
        return (benefit > self.least) & self.channels[:, None, None]


def _entropy(share: float) -> float:
    """Bits of a binary choice."""
    return 0.0 if share <= 0 or share >= 1 else -float(share * log2(share) + (1 - share) * log2(1 - share))


def packed_bytes(t: NDArray[np.int8]) -> int:
    """Bytes of ternary coefficients [K, C, V] as they are packed, without rows, columns and bases that are empty."""
    used = t != 0
    trimmed = t[used.any(axis=(1, 2))][:, used.any(axis=(0, 2))][:, :, used.any(axis=(0, 1))]
    return stream_bytes(stream_bits(np.ascontiguousarray(trimmed.transpose(0, 2, 1)))) if trimmed.size else 0


def bound_bytes(keep: Mask) -> float:
    """What an ideal code of independent coefficients needs for the marks and signs of a mask [K, C, V]."""
    count = int(np.count_nonzero(keep))
    if not count:
        return 0.0
    size = np.count_nonzero(keep.any(axis=(1, 2))) * np.count_nonzero(keep.any(axis=(0, 2)))
    size *= np.count_nonzero(keep.any(axis=(0, 1)))
    return (size * _entropy(count / size) + count) / 8


def overhead_bytes(keep: Mask, taps: int) -> int:
    """Bytes of the bases in use and of the parameters of the channels in use."""
    return taps * int(np.count_nonzero(keep.any(axis=(0, 1)))) + PARAMETER_BYTES * int(
        np.count_nonzero(keep.any(axis=(1, 2)))
    )


def _marginal_bits(keep: Mask) -> float:
    """Bits that one more non-zero coefficient adds."""
    size = np.count_nonzero(keep.any(axis=(1, 2))) * np.count_nonzero(keep.any(axis=(0, 2))) * keep.shape[2]
    share = min(max(np.count_nonzero(keep) / max(1, size), 1e-4), 0.9)
    return float(np.clip(log2((1 - share) / share) + 1, _LEAST_BITS, _MOST_BITS))


class CoefficientBudget:
    """Finds selections. It remembers how much worse than the ideal code each layer packs; that is its only state."""

    def __init__(self, layers: int):
        self.excess = np.full(layers, 1.05)

    def measure(self, index: int, t: NDArray[np.int8]) -> int:
        """Bytes of a layer's packed coefficients [K, C, V]; remembers their excess over the ideal code."""
        packed, bound = packed_bytes(t), bound_bytes(t != 0)
        if bound > 64:
            self.excess[index] = packed / bound
        return packed

    def estimate(self, layers: Sequence[Candidates], masks: Sequence[Mask]) -> float:
        """Bytes of coefficients, bases and parameters for masks."""
        return sum(
            self.excess[i] * bound_bytes(m) + overhead_bytes(m, layer.taps)
            for i, (layer, m) in enumerate(zip(layers, masks, strict=True))
        )

    def select(self, layers: Sequence[Candidates], most: float, masks: Sequence[Mask]) -> list[Selection]:
        """Selections whose estimate is at most `most` bytes; `masks` are those in use, for the first prices."""
        free = [Selection(0.0, np.ones(len(layer.benefit), np.bool_)) for layer in layers]
        if self.estimate(layers, [s.keep(x.benefit) for s, x in zip(free, layers, strict=True)]) <= most:
            return free
        chosen = free
        for _ in range(_ROUNDS):
            bits = [_marginal_bits(m) for m in masks]
            chosen = self._search(layers, most, bits)
            masks = [s.keep(x.benefit) for s, x in zip(chosen, layers, strict=True)]
        return chosen

    def _search(self, layers: Sequence[Candidates], most: float, bits: Sequence[float]) -> list[Selection]:
        def at(price: float) -> list[Selection]:
            return [_select(layer.benefit, price, b) for layer, b in zip(layers, bits, strict=True)]

        def fits(price: float) -> bool:
            masks = [s.keep(x.benefit) for s, x in zip(at(price), layers, strict=True)]
            return self.estimate(layers, masks) <= most

        return at(_least_price(fits, max(float(layer.benefit.max(initial=0.0)) for layer in layers)))


def _least_price(fits: Callable[[float], bool], scale: float) -> float:
    """About the least price that fits, searched over the exponents."""
    low, high = -40.0, 20.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if fits(scale * float(exp2(middle))) else (middle, high)
    return scale * float(exp2(high))


def _select(benefit: F32, price: float, bits: float) -> Selection:
    least = price * bits / 8
    net = np.maximum(benefit - np.float32(least), 0).sum(axis=(1, 2))
    return Selection(least, net > price * PARAMETER_BYTES)
