"""Sparsity at a price in bytes: what a non-zero coefficient costs, and decompositions that pay for it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from escc.compress.decompose import Fit, Settings, decompose
from escc.compress.metric import Metric
from isa.elementary import log2
from isa.levels import magnitudes

F = NDArray[np.float64]

_LEAST_DENSITY = 1e-4
_LEAST_SHARE = 1 / 64
_FIRST_DENSITY = 0.3
_FIRST_SHARES = {1: (1.0,), 2: (0.7, 0.3), 4: (0.5, 0.38, 0.12)}


@dataclass(frozen=True)
class Usage:
    """How often coefficients take a value: `density` is the share of those that are not 0, `shares` are the shares of
    the magnitudes 1, 2, 4 among these.
    """

    density: float
    shares: tuple[float, ...]

    @staticmethod
    def guess(level: int, density: float = _FIRST_DENSITY) -> Usage:
        """What is to be expected of coefficients of magnitudes up to `level`."""
        return Usage(density, _FIRST_SHARES[level])

    @staticmethod
    def of(fit: Fit, level: int) -> Usage:
        """That of a fit with coefficients of magnitudes up to `level`."""
        found = [int(np.count_nonzero(np.abs(fit.t) == m)) for m in magnitudes(level)]
        return Usage(fit.density, tuple(n / max(1, sum(found)) for n in found))

    def at(self, level: int, density: float) -> Usage:
        """What to expect of a similar fit of another density, and perhaps of another level."""
        same = len(self.shares) == len(magnitudes(level))
        return Usage(density, self.shares if same else _FIRST_SHARES[level])

    def priced(self, per_byte: float, settings: Settings) -> Settings:
        """The settings with prices of the bytes that an ideal code of independent coefficients takes."""
        surcharges = tuple(per_byte * float(log2(1 / max(share, _LEAST_SHARE))) / 8 for share in self.shares)
        return replace(settings, price=per_byte * bytes_of_nonzero(self.density), surcharges=surcharges)


def bytes_of_nonzero(density: float) -> float:
    """Bytes that one more non-zero coefficient adds to an ideal code of independent coefficients at a density.

    The code of n coefficients takes n * (H(p) + p) bits, H the binary entropy of the positions and one bit a sign;
    its derivative by the number n * p of non-zeros is log2((1 - p) / p) + 1. Beyond a half another non-zero would
    make the positions cheaper; there the sign alone counts.
    """
    p = min(max(density, _LEAST_DENSITY), 0.5)
    return (float(log2((1 - p) / p)) + 1) / 8


def energy_of(w: F, metric: Metric) -> float:
    """Squared error of the zero approximation of weights w float64 [K, R, S, C] in the metric of their channels."""
    k, r, s, c = w.shape
    return float(metric.energies(w.reshape(k, r * s, c).transpose(0, 2, 1).reshape(k, -1)).sum())


def decompose_priced(
    w: F,
    metric: Metric,
    bases: int,
    byte_price: float,
    settings: Settings,
    usage: Usage | None = None,
    brief: Settings | None = None,
    first: F | None = None,
) -> Fit:
    """As `decompose`, at a price: relative error (of the energy of w) for each byte of packed coefficients.

    The price of a coefficient depends on how often coefficients of its magnitude occur: in a similar fit where its
    usage is given, else in a fit beforehand, made with the settings `brief` (default: `settings`) at the same level. If
    that fit is hopeless already, it is the answer.
    """
    if byte_price <= 0:
        return decompose(w, metric, bases, replace(settings, price=0.0), first)
    per_byte = byte_price * energy_of(w, metric)
    if usage is None:
        guess = Usage.guess(settings.level).priced(per_byte, replace(brief or settings, level=settings.level))
        fit = decompose(w, metric, bases, guess, first)
        if fit.relative_error > settings.hopeless:
            return fit
        usage = Usage.of(fit, settings.level)
    return decompose(w, metric, bases, usage.priced(per_byte, settings), first)
