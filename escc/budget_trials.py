"""What to compile next so that a budget is kept: searches over numbers, of sums of a frontier or of rates.

Each takes what numbers are expected to measure and a trial, which compiles one of them and measures it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from escc.accuracy import Drop
from escc.compress.allocation import Frontier
from isa.elementary import exp2, log2

if TYPE_CHECKING:
    from isa.program import Program

_MOST_TRIALS = 5
_NEAR = 0.95
"""Share of a limit of bytes, cycles or energy that need not be used up any further."""
_NEAR_DROP = 0.7
"""The same of points, which a few images measure."""
_TIGHTER = 0.85
"""Share of the errors that missed a limit of points, of which the next ones are at most."""
_FACTORS = tuple(float(exp2(n / 2)) for n in range(-12, 13))
"""By which real errors may differ from the expected ones."""
_MOST_EVEN = 4
"""Trials of a rate that all layers take."""
_EVEN_STEP = 4
"""From one trial to the next, until a rate has kept the limit and another has missed it."""
FEWER = 0.97
"""Share of the bytes of a choice that another one should need to be worth a trial."""
_NEAR_SIZE = 1.15
"""Factor between bytes that are not worth another rate."""


@dataclass(frozen=True)
class Trial:
    """A compiled choice: what it measures against the budget, points lost if these are the budget, a line about it, the
    program unless it is a choice of several programs, and bytes of constants, the mean of several programs.
    """

    at: int
    value: float
    points: float
    text: str
    program: Program | None = None
    nbytes: float = 0.0


Try = Callable[[int], Trial]
"""Compiles and measures a sum of a frontier by its number."""


def try_sizes(front: Frontier, limit: float, beside: float, trial: Try) -> list[Trial]:
    """Trials of bytes, cycles or energy until one is just below the limit, or the cheapest sum has missed it.

    `beside` is what the network measures beside its layers, about; each trial tells better.
    """
    trials: list[Trial] = []
    at: int | None = front.within_cost(limit - beside)
    while len(trials) < _MOST_TRIALS and (at or 0) not in {t.at for t in trials}:
        found = trial(at or 0)
        trials.append(found)
        if _NEAR * limit <= found.value <= limit:
            return trials
        # A choice that missed is far off where costs do not add up: the next one goes a little further.
        beside = found.value - float(front.costs[found.at]) + max(0.0, found.value - limit) / 4
        at = front.within_cost(limit - beside)
    if all(t.value > limit for t in trials) and all(t.at > 0 for t in trials):
        trials.append(trial(0))
    return trials


def try_rates(sizes: Sequence[float], limit: float, trial: Try) -> list[Trial]:
    """Trials of rates, by number, until one is just below the limit; `sizes` are what rates are expected to give."""
    trials: list[Trial] = []
    low, high = -1, len(sizes)
    at = next((n for n, size in enumerate(sizes) if size <= limit), len(sizes) - 1)
    while low < at < high and len(trials) < _MOST_EVEN:
        trials.append(trial(at))
        if _NEAR * limit <= trials[-1].value <= limit:
            break
        if trials[-1].value > limit:
            low, at = at, at + _EVEN_STEP
        else:
            high, at = at, at - _EVEN_STEP
        if low >= 0 and high < len(sizes):
            at = (low + high) // 2
        at = max(0, min(at, len(sizes) - 1))
    return trials


def try_drops(front: Frontier, limit: float, expected: Callable[[float], Drop], trial: Try) -> list[Trial]:
    """Trials of points until one is just below the limit, or the sum of the least error has missed it.

    `expected` is the drop that a relative error of the outputs lets one expect; each trial tells how far that is off.
    Between a sum that has kept the limit and one that has missed it, others are tried as long as that saves bytes.
    """
    trials: list[Trial] = []
    factor, last = 1.0, len(front.errors) - 1
    while len(trials) < _MOST_TRIALS:
        at = _largest_error(front, limit, expected, factor)
        missed = [t.at for t in trials if t.value > limit]
        kept = [t.at for t in trials if t.value <= limit]
        if missed:
            less = front.within_error(_TIGHTER * float(front.errors[max(missed)]))
            at = max(at, last if less is None else less)
        if kept:
            at = min(at, min(kept))
        if at in missed or at in kept:
            break
        found = trial(at)
        trials.append(found)
        if _NEAR_DROP * limit <= found.value <= limit or (kept and found.value <= limit):
            break
        error = float(front.errors[at])
        factor = min(_FACTORS, key=lambda f: abs(expected(f * error).points - found.points))
    while len(trials) < _MOST_TRIALS and (halfway := _halfway(front, limit, trials)) is not None:
        trials.append(trial(halfway))
    return trials


def try_smaller(sizes: Sequence[float], first: int, limit: float, known: float, trial: Try) -> list[Trial]:
    """Trials of rates, by number from `first` on, that may keep a limit of points with fewer bytes than `known`.

    `sizes` are what rates are expected to give, falling; each trial tells how far that is off. Where a rate misses the
    limit, those with fewer bytes are not tried.
    """
    trials: list[Trial] = []
    low, high, at, step = -1, len(sizes), first, _EVEN_STEP
    while low < at < high and len(trials) < _MOST_EVEN:
        found = trial(at)
        trials.append(found)
        if _NEAR_DROP * limit <= found.value <= limit:
            break
        low, high = (low, at) if found.value > limit else (at, high)
        low = max(low, sum(size > FEWER * known - found.nbytes + sizes[at] for size in sizes) - 1)
        step *= 2
        if high == len(sizes):
            at = min(low + step, high - 1)
        elif high - low <= _EVEN_STEP:
            break
        else:
            at = (low + high) // 2 if low >= 0 else max(0, at - step)
    return trials


def _halfway(front: Frontier, limit: float, trials: Sequence[Trial]) -> int | None:
    """The sum half-way in bytes from the cheapest that kept a limit to the next one that missed it; None if that
    saves too little.
    """
    kept = min((t for t in trials if t.value <= limit), key=lambda t: t.at, default=None)
    missed = max((t.at for t in trials if t.value > limit), default=None)
    if kept is None or missed is None or missed > kept.at:
        return None
    low, high = float(front.costs[missed]), float(front.costs[kept.at])
    at = front.within_cost((low + high) / 2)
    if at is None or at in (missed, kept.at) or high - float(front.costs[at]) < (1 - FEWER) * kept.nbytes:
        return None
    return at


def _largest_error(front: Frontier, limit: float, expected: Callable[[float], Drop], factor: float) -> int:
    """The cheapest sum whose expected drop keeps the limit, by bisection; that of the least error if none does."""
    low, high = 0, len(front.errors) - 1
    while low < high:
        middle = (low + high) // 2
        if expected(factor * float(front.errors[middle])).least_sure <= limit:
            high = middle
        else:
            low = middle + 1
    return low


def nearest_of(first: int, last: int, size: Callable[[int], float], wanted: float) -> tuple[int, float]:
    """The number from 0 to `last` whose size comes nearest to what is wanted, of a few from `first` on, and its size.

    Sizes fall with the number, but by steps and with some noise.
    """
    sizes: dict[int, float] = {}
    low, high, at, step = -1, last + 1, first, 1
    while low < at < high and len(sizes) < _MOST_TRIALS:
        sizes[at] = size(at)
        if size_distance(sizes[at], wanted) <= size_distance(_NEAR_SIZE, 1.0):
            break
        if sizes[at] > wanted:
            low = at
        else:
            high = at
        if low >= 0 and high <= last:
            at = (low + high) // 2
        else:
            step *= 2
            at = min(at + step, last) if sizes[at] > wanted else max(at - step, 0)
    best = min(sizes, key=lambda n: size_distance(sizes[n], wanted))
    return best, sizes[best]


def size_distance(size: float, wanted: float) -> float:
    """Powers of two between two sizes."""
    return abs(float(log2(max(size, 1.0) / wanted)))
