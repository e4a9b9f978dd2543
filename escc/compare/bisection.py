"""The highest price of pruning that keeps a limit of accuracy, by bisection over its logarithm."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from isa.elementary import exp2, log2
from isa.errors import UserError

LEAST_RATE, FIRST_RATE, MOST_RATE = 1e-4, 0.4, 1e3
_STEP = 4.0
_MOST_TRIALS = 7


@dataclass(frozen=True)
class RateTrial:
    """A price that was tried: points of accuracy that it loses, all of them (infinity) where nothing is left of the
    network, and a line about it.
    """

    rate: float
    value: float
    text: str


def find_rate(limit: float, trial: Callable[[float], RateTrial], precision: float) -> RateTrial:
    """The trial nearest to a limit of points that keeps it, up to a factor `precision` of its price.

    Points rise with the price but for some noise. Raises UserError if no price keeps the limit.
    """
    safe: RateTrial | None = None
    unsafe: RateTrial | None = None
    rate, last = FIRST_RATE, None
    for _ in range(_MOST_TRIALS):
        if not LEAST_RATE <= rate <= MOST_RATE:
            break
        last = trial(rate)
        if last.value <= limit:
            safe = last
        else:
            unsafe = last
        if safe is None or unsafe is None:
            rate = rate / _STEP if safe is None else rate * _STEP
        elif max(safe.rate, unsafe.rate) <= precision * min(safe.rate, unsafe.rate):
            break
        else:
            rate = _between(limit, safe, unsafe)
    if safe is None:
        found = "" if last is None else f": the best found is {last.text}"
        hopeless = last is not None and math.isinf(last.value)
        remedy = "look at the data: the network must tell their inputs apart" if hopeless else "raise the limit"
        raise UserError(f"--max-drop {limit:g} cannot be kept{found}", remedy)
    return safe


def _between(limit: float, safe: RateTrial, unsafe: RateTrial) -> float:
    """A rate between two, where a straight line over the logarithms meets the limit, not too near to either end."""
    share = 0.5
    if safe.value > 0 and limit > 0 and unsafe.value > safe.value:
        share = float(log2(limit / safe.value) / log2(unsafe.value / safe.value))
    share = min(max(share, 0.35), 0.65)
    return float(exp2(log2(safe.rate) * (1 - share) + log2(unsafe.rate) * share))
