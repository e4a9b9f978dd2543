"""Which coefficients may stay so that the constants of a network fit a number of bytes.

A coefficient is worth its benefit (an estimate of how much the loss grows without it) and costs the bits that it adds
to the packed coefficients; an output channel costs its parameters too. For a price, a benefit for each byte, that
decides about every coefficient and every channel of every layer at once; the price is found by bisection.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isa.coefficients import stream_bits, stream_bytes
from isa.elementary import exp2, log2

PARAMETER_BYTES = 3
"""Bias, multiplier and shift of an output channel, about as they are packed."""
_LEAST_BITS, _MOST_BITS = 0.25, 16.0
_ROUNDS = 3
_BISECTIONS = 24
_LEAST_BOUND = 64
"""Bytes of a layer's coefficients below which how well they pack says little."""


@dataclass(frozen=True)
class Candidates:
    """Coefficients of a layer that may be non-zero, and what each is worth.

    `benefit` float32 [K, C, V], 0 for coefficients that are 0 anyhow; `taps` is the number of values of a basis kernel.
    """

    benefit: Tensor
    taps: int


@dataclass
class Selection:
    """The outcome for a layer: the least benefit that a coefficient must have, and which channels are on, bool [K]."""

    least: float
    channels: Tensor

    def keep(self, benefit: Tensor) -> Tensor:
        """Coefficients [K, C, V] that stay."""
        return (benefit > self.least) & self.channels[:, None, None]


class Occupancy(NamedTuple):
    """How many coefficients of a layer are not zero, and how many of its rows, columns and bases hold any."""

    nonzeros: int
    rows: int
    columns: int
    bases: int

    @classmethod
    def of(cls, keep: Tensor) -> Occupancy:
        """That of a mask [K, C, V]."""
        across = keep.any(dim=2)
        parts = (keep.sum(), across.any(dim=1).sum(), across.any(dim=0).sum(), keep.any(dim=1).any(dim=0).sum())
        nonzeros, rows, columns, bases = torch.stack(parts).cpu().numpy().astype(int)
        return cls(int(nonzeros), int(rows), int(columns), int(bases))

    @property
    def bound(self) -> float:
        """Bytes that an ideal code of independent coefficients needs for marks and signs."""
        size = self.rows * self.columns * self.bases
        return (size * _entropy(self.nonzeros / size) + self.nonzeros) / 8 if self.nonzeros else 0.0

    def overhead(self, taps: int) -> int:
        """Bytes of the bases in use and of the parameters of the channels in use."""
        return taps * self.bases + PARAMETER_BYTES * self.rows

    def marginal_bits(self, bases: int) -> float:
        """Bits that one more non-zero coefficient adds in a layer of so many bases."""
        share = min(max(self.nonzeros / max(1, self.rows * self.columns * bases), 1e-4), 0.9)
        return float(np.clip(log2((1 - share) / share) + 1, _LEAST_BITS, _MOST_BITS))


def _entropy(share: float) -> float:
    """Bits of a binary choice."""
    return 0.0 if share <= 0 or share >= 1 else -float(share * log2(share) + (1 - share) * log2(1 - share))


def packed_bytes(t: NDArray[np.int8]) -> int:
    """Bytes of coefficients [K, C, V] as they are packed, without rows, columns and bases that are empty."""
    used = t != 0
    trimmed = t[used.any(axis=(1, 2))][:, used.any(axis=(0, 2))][:, :, used.any(axis=(0, 1))]
    return stream_bytes(stream_bits(np.ascontiguousarray(trimmed.transpose(0, 2, 1)))) if trimmed.size else 0


class CoefficientBudget:
    """Finds selections. It remembers how much worse than the ideal code each layer packs; that is its only state."""

    def __init__(self, layers: int):
        self.excess = np.full(layers, 1.05)

    def measure(self, index: int, t: Tensor, taps: int) -> int:
        """Bytes of a layer with coefficients [K, C, V] as they are packed; remembers their excess over the ideal code.

        Bases of so many `taps` and parameters count too.
        """
        extent = Occupancy.of(t != 0)
        packed = packed_bytes(t.to(torch.int8).cpu().numpy())
        if extent.bound > _LEAST_BOUND:
            self.excess[index] = packed / extent.bound
        return packed + extent.overhead(taps)

    def estimate(self, layers: Sequence[Candidates], extents: Sequence[Occupancy]) -> float:
        """Bytes of coefficients, bases and parameters for masks of such extents."""
        return sum(
            float(self.excess[i]) * extent.bound + extent.overhead(layer.taps)
            for i, (layer, extent) in enumerate(zip(layers, extents, strict=True))
        )

    def select(self, layers: Sequence[Candidates], most: float, extents: Sequence[Occupancy]) -> list[Selection]:
        """Selections whose estimate is at most `most` bytes; `extents` are those in use, for the first prices."""
        free = [Selection(0.0, torch.ones_like(layer.benefit[:, 0, 0], dtype=torch.bool)) for layer in layers]
        pool = _Pool(layers)
        if self.estimate(layers, pool.extents(pool.everything)) <= most:
            return free
        scale = max(float(layer.benefit.max()) for layer in layers)
        chosen = free
        for _ in range(_ROUNDS):
            bits = [e.marginal_bits(layer.benefit.shape[2]) for e, layer in zip(extents, layers, strict=True)]
            price = self._search(layers, pool, most, bits, scale)
            survivors, channels = pool.at(price, bits)
            extents = pool.extents(survivors)
            least = [price * b / 8 for b in bits]
            chosen = [Selection(*pair) for pair in zip(least, torch.split(channels, pool.rows), strict=True)]
        return chosen

    def _search(
        self, layers: Sequence[Candidates], pool: _Pool, most: float, bits: Sequence[float], scale: float
    ) -> float:
        """About the least price that fits.

        What does not survive a price that is too low does not survive a higher one: the pool shrinks on the way.
        """

        def fits(price: float) -> bool:
            nonlocal pool
            survivors, _ = pool.at(price, bits)
            yes = self.estimate(layers, pool.extents(survivors)) <= most
            if not yes:
                pool = pool.narrowed(survivors)
            return yes

        return _least_price(fits, scale)


def _least_price(fits: Callable[[float], bool], scale: float) -> float:
    """About the least price that fits, searched over the exponents."""
    low, high = -40.0, 20.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if fits(scale * float(exp2(middle))) else (middle, high)
    return scale * float(exp2(high))


class _Pool:
    """Candidates of all layers side by side, on their device: each with its benefit, row, column and base, where the
    rows, columns and bases of all layers are numbered in a row.
    """

    def __init__(self, layers: Sequence[Candidates]):
        self.rows, self._columns, self._bases = ([x.benefit.shape[i] for x in layers] for i in range(3))
        found = [x.benefit.flatten() for x in layers]
        places = [torch.nonzero(b > 0).squeeze(1) for b in found]
        self._value = torch.cat([b[place] for b, place in zip(found, places, strict=True)])
        rows: list[Tensor] = []
        columns: list[Tensor] = []
        bases: list[Tensor] = []
        for i, place in enumerate(places):
            c, v = self._columns[i], self._bases[i]
            rows.append((place // (c * v) + sum(self.rows[:i])).int())
            columns.append((place // v % c + sum(self._columns[:i])).int())
            bases.append((place % v + sum(self._bases[:i])).int())
        self._row, self._column, self._base = torch.cat(rows), torch.cat(columns), torch.cat(bases)

    @property
    def everything(self) -> Tensor:
        """The numbers of all candidates."""
        return torch.arange(len(self._value), device=self._value.device)

    def at(self, price: float, bits: Sequence[float]) -> tuple[Tensor, Tensor]:
        """Numbers of the candidates that are worth a price for each byte, and which rows are; `bits` that one more
        non-zero adds, for each layer.
        """
        least = torch.tensor([price * b / 8 for b in bits], dtype=torch.float32)
        each = torch.repeat_interleave(least, torch.tensor(self.rows)).to(self._value.device)
        net = (self._value - each[self._row]).clamp_min_(0)
        total = torch.bincount(self._row, net.double(), sum(self.rows))
        on = total > price * PARAMETER_BYTES
        return torch.nonzero((net > 0) & on[self._row]).squeeze(1), on

    def extents(self, survivors: Tensor) -> list[Occupancy]:
        """Extents of the layers with these candidates alone."""
        kept = [numbers[survivors] for numbers in (self._row, self._column, self._base)]
        sizes = (self.rows, self._columns, self._bases)
        found = [torch.bincount(n, minlength=sum(size)).cpu() for n, size in zip(kept, sizes, strict=True)]
        parts = [torch.split(counts, size) for counts, size in zip(found, sizes, strict=True)]
        return [
            Occupancy(int(r.sum()), *(int(torch.count_nonzero(x)) for x in (r, c, v)))
            for r, c, v in zip(*parts, strict=True)
        ]

    def narrowed(self, survivors: Tensor) -> _Pool:
        """The pool of these candidates alone."""
        pool = _Pool.__new__(_Pool)
        pool.__dict__.update(self.__dict__)
        for name in ("_value", "_row", "_column", "_base"):
            setattr(pool, name, getattr(self, name)[survivors])
        return pool
