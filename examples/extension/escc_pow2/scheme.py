"""The scheme `pow2`: every convolution without groups in the weight form `pow2`, with an option `levels`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from escc_pow2.codes import LEVELS
from escc_pow2.weight_form import PowerOfTwo
from isa import exact
from isa.errors import UserError
from isa.target import Target
from passes.decomposition.scheme import ConvLayer, SchemeOptions

F = NDArray[np.float64]

RIDGE, SYNTHETIC_RIDGE = 1e-2, 1.0
"""Pull of the target towards the original weights, with calibration data and without."""
FRACTIONS = np.linspace(0.6, 1.3, 15)
"""Tried for each output channel: its largest weight is this times the largest power."""


def _levels(options: SchemeOptions) -> int:
    given = options.own.get("levels", str(LEVELS))
    if not given.isascii() or not given.isdigit() or not 1 <= int(given) <= LEVELS:
        raise UserError(f"levels={given}; requires an integer from 1 to {LEVELS}")
    return int(given)


def nearest(x: F, levels: int) -> NDArray[np.int8]:
    """The nearest one of 0, ±1, ±2, ... ±2^(levels-1) for each number."""
    values = np.array([0, *(1 << p for p in range(levels))])
    magnitudes = values[np.searchsorted((values[1:] + values[:-1]) / 2, np.abs(x))]
    return (np.sign(x) * magnitudes).astype(np.int8)


class Pow2Scheme:
    """Rounds the weights that suit the data best, with the scale of least output error for each output channel."""

    own_options: ClassVar[Mapping[str, str]] = {
        "levels": f"powers of two that a weight may be, from 1 to {LEVELS} (default: {LEVELS})"
    }

    @staticmethod
    def check_options(options: SchemeOptions, target: Target) -> None:
        """Raise UserError for a number of powers that no weight has; called before any layer is looked at."""
        _levels(options)

    def __call__(self, layer: ConvLayer, options: SchemeOptions) -> PowerOfTwo:
        levels, shape = _levels(options), layer.weights.shape
        wanted, metric = layer.weights.reshape(shape[0], -1), np.eye(layer.weights[0].size)
        if layer.moments is not None:
            wanted, metric = layer.moments.regression(wanted, RIDGE if layer.calibrated else SYNTHETIC_RIDGE)
        integers, scale, error = _fit(wanted, metric, levels)
        energy = float((exact.multiply(wanted, metric) * wanted).sum())
        return PowerOfTwo(integers.reshape(shape), scale, float(error.sum()) / energy if energy > 0 else 0.0)


def _fit(wanted: F, metric: F, levels: int) -> tuple[NDArray[np.int8], F, F]:
    """Integers [K, D], scale [K] and squared output error [K] of the best fraction of each output channel."""
    largest = np.abs(wanted).max(axis=1)
    largest = np.where(largest > 0, largest, 1.0)
    best = np.zeros(wanted.shape, np.int8)
    scale, least = largest, np.full(len(wanted), np.inf)
    for fraction in FRACTIONS:
        step: F = largest * (fraction / 2 ** (levels - 1))
        integers = nearest(wanted / step[:, None], levels)
        weighed = exact.multiply(integers.astype(np.float64), metric)
        energy, match = (weighed * integers).sum(axis=1), (weighed * wanted).sum(axis=1)
        fitted: F = np.where((energy > 0) & (match > 0), match / np.where(energy > 0, energy, 1.0), step)
        rest: F = fitted[:, None] * integers - wanted
        error: F = (exact.multiply(rest, metric) * rest).sum(axis=1)
        better = error < least
        best[better] = integers[better]
        scale, least = np.where(better, fitted, scale), np.minimum(error, least)
    return best, scale, least


SCHEME = Pow2Scheme()
