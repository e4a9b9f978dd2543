"""The rate at which a network is compressed so that it keeps a budget: accuracy drop, bytes, cycles or energy.

Every candidate is really compiled and measured: bytes are those of .rodata, the others those of the emulator (cycles
and energy on the binary's own sample). What is found is one number, the rate of `decompose-conv`, which gives the same
binary again without a search.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from dialects.signature import classes_of, only_input
from escc.driver import run_passes, to_program
from isa.arrays import Arrays, Rows, open_samples
from isa.elementary import exp2, log2
from isa.errors import UserError
from isa.reference import answers

if TYPE_CHECKING:
    from xdsl.context import Context
    from xdsl.dialects.builtin import ModuleOp
    from xdsl.passes import ModulePass

    from isa.program import Program
    from passes.decompose_conv import DecomposeConvPass

Array = NDArray[Any]
Kind = Literal["drop", "bytes", "cycles", "energy"]

LEAST_RATE, FIRST_RATE, MOST_RATE = 1e-4, 0.4, 1e3
_STEP = 4.0
_PRECISION, _ROUGH_PRECISION = 1.2, 1.5
"""Factors between rates that are not worth another trial; the second where few images tell little."""
_MOST_TRIALS = 7
_MOST_IMAGES = 2048
_FEW_IMAGES = 256
_BATCH_ELEMENTS = 1 << 22


@dataclass(frozen=True)
class Budget:
    """At most `limit` points of top-1 accuracy lost, bytes of .rodata, or cycles or microjoules an image."""

    kind: Kind
    limit: float

    @property
    def safe_is_low(self) -> bool:
        """Whether low rates keep the budget (accuracy) or high ones do (the others)."""
        return self.kind == "drop"

    @property
    def flag(self) -> str:
        """The budget as the user asked for it."""
        return f"--max-{self.kind} {self.limit:g}"


@dataclass(frozen=True)
class Trial:
    """A compiled candidate: what it measures against the budget, and a line about it."""

    rate: float
    value: float
    text: str


def find_rate(
    budget: Budget, trial: Callable[[float], Trial], precision: float = _PRECISION, most_trials: int = _MOST_TRIALS
) -> Trial:
    """The trial nearest to the limit that keeps it, by bisection over the logarithm of the rate, up to a factor.

    The measured value rises (accuracy drop) or falls (the others) with the rate but for some noise. Raises
    UserError if no rate keeps the budget.
    """
    trials = _bisect(budget, trial, precision, most_trials)
    kept = [t for t in trials if t.value <= budget.limit]
    if not kept:
        remedy = "raise the limit, or compile with --scheme dense" if budget.kind == "drop" else "raise the limit"
        raise UserError(f"{budget.flag} cannot be kept: the best found is {trials[-1].text}", remedy)
    return kept[-1]


def nearest_rate(budget: Budget, trial: Callable[[float], Trial], most_trials: int = _MOST_TRIALS) -> Trial:
    """The trial of bytes or cycles nearest to the limit by their ratio, on either side of it."""
    trials = _bisect(budget, trial, _PRECISION, most_trials)
    return min(trials, key=lambda t: abs(float(log2(t.value / budget.limit))))


def _bisect(budget: Budget, trial: Callable[[float], Trial], precision: float, most_trials: int) -> list[Trial]:
    """Trials that close in on the limit: each lies between the nearest two on its sides, as soon as there are two."""
    safe: Trial | None = None
    unsafe: Trial | None = None
    trials: list[Trial] = []
    rate = FIRST_RATE
    while len(trials) < most_trials and LEAST_RATE <= rate <= MOST_RATE:
        trials.append(trial(rate))
        if trials[-1].value <= budget.limit:
            safe = trials[-1]
        else:
            unsafe = trials[-1]
        if safe is None or unsafe is None:
            towards_low = (safe is None) == budget.safe_is_low
            rate = rate / _STEP if towards_low else rate * _STEP
        elif max(safe.rate, unsafe.rate) <= precision * min(safe.rate, unsafe.rate):
            break
        else:
            rate = _between(budget.limit, safe, unsafe)
    return trials


def _between(limit: float, safe: Trial, unsafe: Trial) -> float:
    """A rate between two, where a straight line over the logarithms meets the limit, not too near to either end."""
    share = 0.5
    if safe.value > 0 and limit > 0 and unsafe.value > safe.value:
        share = float(log2(limit / safe.value) / log2(unsafe.value / safe.value))
    share = min(max(share, 0.35), 0.65)
    return float(exp2(log2(safe.rate) * (1 - share) + log2(unsafe.rate) * share))


@dataclass(frozen=True)
class Fold:
    """Images to compress by, as calibration data, and other images (rows of the data) to measure on."""

    calibration: str | Arrays
    rows: NDArray[np.int64]


class AccuracyCheck:
    """Top-1 accuracy lost against the network before compression, on images that the compression has not seen.

    `module` is the network (level onnx or esc). Where calibration takes `taken` of many images, the others are
    measured on; of few images, each half is measured on a network that is compressed by the other half. With labels
    (the array `y`) right answers are counted, without them answers that stay the same.
    """

    def __init__(self, module: ModuleOp, source: str | Arrays, taken: int, seed: int):
        from emulator.evaluate import at_chance
        from passes.math.calibration import sample_rows

        samples = open_samples(source, [only_input(module, "--max-drop")])
        (stored,) = samples.inputs
        others = np.setdiff1d(np.arange(len(stored)), sample_rows(len(stored), taken, seed))[:_MOST_IMAGES]
        if len(others) >= _FEW_IMAGES or len(stored) == 1:
            self.folds = [Fold(source, others if len(others) else np.arange(1))]
        else:
            self.folds = _halves(stored, seed)
        self._rows = np.sort(np.concatenate([fold.rows for fold in self.folds]))
        self._x = stored.read(self._rows)
        answers = _answers(module, self._x)
        self._labelled = samples.labels is not None
        self._labels = samples.classes(classes_of(module))[self._rows] if self._labelled else answers
        self._before = answers == self._labels
        if self._labelled and at_chance(int(self._before.sum()), len(answers), classes_of(module)):
            warnings.warn(
                f"{source}: the network answers {self._before.mean():.2%} of {len(answers)} images right before "
                "compression, no more than guessing: look at the labels, and at how the images are scaled",
                UserWarning,
                stacklevel=2,
            )

    def lost(self, program: Program, fold: Fold) -> NDArray[np.float64]:
        """For each image of a fold, 1 if only the network before answers right, -1 if only the program does, else 0."""
        from emulator.evaluate import classes, predict
        from emulator.machine import Machine

        classes(program)
        at = np.searchsorted(self._rows, fold.rows)
        now = predict(Machine(program), self._x[at], os.cpu_count() or 1) == self._labels[at]
        return self._before[at].astype(np.float64) - now

    def describe(self) -> str:
        """What the drop is measured on."""
        what = "of top-1" if self._labelled else "of answers changed"
        return f"{what} on {len(self._rows)} images that the compression has not seen"


def drop_of(lost: Sequence[NDArray[np.float64]]) -> tuple[float, float]:
    """Points lost over all folds, and the standard error of that figure."""
    each = np.concatenate(lost)
    return 100 * float(each.mean()), 100 * float(each.std()) / math.sqrt(len(each))


def _halves(stored: Rows, seed: int) -> list[Fold]:
    order = np.random.default_rng(seed).permutation(len(stored))
    halves = [np.sort(order[: len(stored) // 2]), np.sort(order[len(stored) // 2 :])]
    seen = [Arrays({"x": stored.read(rows)}, stored.path) for rows in halves]
    return [Fold(calibration, rows) for calibration, rows in zip(seen, reversed(halves), strict=True)]


def _answers(module: ModuleOp, x: Array) -> NDArray[np.int64]:
    """The class that a network gives every input."""
    from dialects.interpreters.run import run_module

    step = max(1, min(64, _BATCH_ELEMENTS // x[0].size))
    parts: list[Array] = []
    for n in range(0, len(x), step):
        part = x[n : n + step].astype(np.float32)
        parts.append(answers(run_module(module, [part])[0]))
    return np.concatenate(parts)


def totals_of(program: Program) -> Mapping[str, Any]:
    """Totals of the statistics of the sample that the binary carries, as in `emulator.statistics.Statistics`."""
    from emulator.machine import Machine

    result = Machine(program).run_sample(stats=True)
    assert result.statistics is not None
    return result.statistics.data["totals"]


@dataclass
class BudgetSearch:
    """Compiles candidates of one network: `before` and `after` are the passes around `decompose`.

    `announce` is told a line about each candidate, `begin` what is begun.
    """

    context: Context
    before: Sequence[ModulePass]
    decompose: DecomposeConvPass
    after: Sequence[ModulePass]
    announce: Callable[[str], None]
    begin: Callable[[str], None] = lambda text: None
    _begun: int = 0

    def run(self, module: ModuleOp, budget: Budget) -> DecomposeConvPass:
        """The pass with the rate that keeps the budget; the module stays as it is. Raises UserError if none does."""
        calibration = self.decompose.calibration
        if budget.kind == "drop" and calibration is None:
            raise UserError(
                "--max-drop needs images to measure on", "give --calibration, with labels y if there are any"
            )
        check: AccuracyCheck | None = None
        if budget.kind == "drop" and calibration is not None:
            self.begin("measuring the network before compression")
            check = AccuracyCheck(module, calibration, self.decompose.samples, self.decompose.seed)
        start = module.clone()
        run_passes(self.context, start, self.before)

        def trial(rate: float) -> Trial:
            return self._try(start, rate, budget, check)

        rough = check is not None and len(check.folds) > 1
        precision = _ROUGH_PRECISION if rough else _PRECISION
        return self._at(find_rate(budget, trial, precision, self._most_trials(start)).rate, budget)

    def nearest(self, module: ModuleOp, nbytes: float) -> DecomposeConvPass:
        """The pass with the rate whose constants come nearest to a number of bytes; the module stays as it is."""
        budget = Budget("bytes", nbytes)
        start = module.clone()
        run_passes(self.context, start, self.before)
        found = nearest_rate(budget, lambda rate: self._try(start, rate, budget, None), self._most_trials(start))
        return self._at(found.rate, budget)

    def _most_trials(self, start: ModuleOp) -> int:
        """One is enough where no rate changes anything."""
        return 1 if self.decompose.has_nothing_to_do(start) else _MOST_TRIALS

    def _try(self, start: ModuleOp, rate: float, budget: Budget, check: AccuracyCheck | None) -> Trial:
        step = self._at(float(f"{rate:.3g}"), budget)  # short to write down, and the same again
        self._begun += 1
        self.begin(f"trial {self._begun} of at most {_MOST_TRIALS}: rate {rate:.3g}")
        found = self._size(start, step, budget) if check is None else self._drop(start, step, check)
        self.announce(found.text)
        return found

    def _compiled(self, start: ModuleOp, step: DecomposeConvPass) -> Program:
        candidate = start.clone()
        run_passes(self.context, candidate, (step, *self.after))
        return to_program(candidate)

    def _size(self, start: ModuleOp, step: DecomposeConvPass, budget: Budget) -> Trial:
        program = self._compiled(start, step)
        if budget.kind == "bytes":
            return Trial(step.rate or 0.0, len(program.rodata), _describe(step.rate or 0.0, program))
        totals, rate = totals_of(program), step.cycle_rate or 0.0
        cycles, energy = totals["cycles"], totals["energy_uj"]["total"]
        if budget.kind == "energy":
            return Trial(rate, energy, f"{_describe(rate, program)}, {energy:,.5g} uJ")
        return Trial(rate, cycles, f"{_describe(rate, program)}, {cycles:,} cycles")

    def _drop(self, start: ModuleOp, step: DecomposeConvPass, check: AccuracyCheck) -> Trial:
        def measure(fold: Fold) -> tuple[NDArray[np.float64], str]:
            program = self._compiled(start, replace(step, calibration=fold.calibration))
            return check.lost(program, fold), _describe(step.rate or 0.0, program)

        with ThreadPoolExecutor(len(check.folds)) as pool:
            found = list(pool.map(measure, check.folds))
        drop, error = drop_of([lost for lost, _ in found])
        text = found[-1][1]
        # One standard error of safety: the images at hand are not those of the user.
        return Trial(step.rate or 0.0, drop + error, f"{text}, {drop:.2f} +- {error:.2f} points {check.describe()}")

    def _at(self, rate: float, budget: Budget) -> DecomposeConvPass:
        if budget.kind == "cycles":
            return replace(self.decompose, rate=0.0, cycle_rate=rate)
        if budget.kind == "energy":  # bytes cost energy, and so does the work, which cycles stand for
            return replace(self.decompose, rate=rate, cycle_rate=rate)
        return replace(self.decompose, rate=rate, cycle_rate=0.0)


def _describe(rate: float, program: Program) -> str:
    constants = len(program.rodata)
    ratio = 4 * program.original_weights / max(1, constants)
    return f"rate {rate:g}: {constants:,} bytes of constants, {ratio:.1f}x smaller"
