"""Sparsity at a price in bytes: what a non-zero coefficient costs, and decompositions that pay for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from escc.compress.decompose import Fit, Settings, decompose
from isa.elementary import log2
from passes.math.linear import product

F = NDArray[np.float64]

_LEAST_DENSITY = 1e-4
_FIRST_DENSITY = 0.3


def bytes_of_nonzero(density: float) -> float:
    """Bytes that one more non-zero coefficient adds to an ideal code of independent coefficients at a density.

    The code of n coefficients takes n * (H(p) + p) bits, H the binary entropy of the positions and one bit a sign;
    its derivative by the number n * p of non-zeros is log2((1 - p) / p) + 1. Beyond a half another non-zero would
    make the positions cheaper; there the sign alone counts.
    """
    p = min(max(density, _LEAST_DENSITY), 0.5)
    return (float(log2((1 - p) / p)) + 1) / 8


def energy_of(w: F, h: F) -> float:
    """Squared error of the zero approximation of weights w float64 [K, R, S, C] in the metric h [RSC, RSC]."""
    flat = w.reshape(len(w), -1)
    return float((flat * product(flat, h)).sum())


def decompose_priced(
    w: F,
    h: F,
    bases: int,
    byte_price: float,
    settings: Settings,
    density: float | None = None,
    first: Settings | None = None,
) -> Fit:
    """As `decompose`, at a price: relative error (of the energy of w) for each byte of packed coefficients.

    The price of a non-zero depends on the density that it leads to: that of a similar fit where it is given, else
    that of a first fit, made with the settings `first` (default: `settings`).
    """
    if byte_price <= 0:
        return decompose(w, h, bases, replace(settings, price=0.0))
    per_byte = byte_price * energy_of(w, h)
    if density is None:
        price = per_byte * bytes_of_nonzero(_FIRST_DENSITY)
        density = decompose(w, h, bases, replace(first or settings, price=price)).density
    return decompose(w, h, bases, replace(settings, price=per_byte * bytes_of_nonzero(density)))
