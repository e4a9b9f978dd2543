"""The rate at which a network is compressed so that it keeps a budget: accuracy drop, bytes or cycles.

Every candidate is really compiled and measured: bytes are those of .rodata, cycles and accuracy those of the emulator
(cycles on the binary's own sample). What is found is one number, the rate of `decompose-conv`, which gives the same
binary again without a search.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from escc.driver import run_passes, to_program
from isa.errors import UserError

if TYPE_CHECKING:
    from xdsl.context import Context
    from xdsl.dialects.builtin import ModuleOp
    from xdsl.passes import ModulePass

    from isa.program import Program
    from passes.decompose_conv import DecomposeConvPass

Array = NDArray[Any]
Kind = Literal["drop", "bytes", "cycles"]

LEAST_RATE, FIRST_RATE, MOST_RATE = 1e-4, 0.4, 1e3
_STEP = 4.0
_PRECISION = 1.15
_MOST_TRIALS = 8
_MOST_IMAGES = 2048
_FEW_IMAGES = 256
_BATCH_ELEMENTS = 1 << 22


@dataclass(frozen=True)
class Budget:
    """At most `limit` points of top-1 accuracy lost, bytes of .rodata, or cycles an image."""

    kind: Kind
    limit: float

    @property
    def safe_is_low(self) -> bool:
        """Whether low rates keep the budget (accuracy) or high ones do (bytes, cycles)."""
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


def find_rate(budget: Budget, trial: Callable[[float], Trial]) -> Trial:
    """The trial nearest to the limit that keeps it, by bisection over the logarithm of the rate.

    The measured value rises (accuracy drop) or falls (bytes, cycles) with the rate but for some noise. Raises
    UserError if no rate keeps the budget.
    """
    safe: Trial | None = None
    unsafe: Trial | None = None
    rate = FIRST_RATE
    last: Trial | None = None
    for _ in range(_MOST_TRIALS):
        last = trial(rate)
        if last.value <= budget.limit:
            safe = last
        else:
            unsafe = last
        if safe is not None and unsafe is not None:
            if max(safe.rate, unsafe.rate) <= _PRECISION * min(safe.rate, unsafe.rate):
                break
            rate = _between(budget.limit, safe, unsafe)
            continue
        towards_low = (safe is None) == budget.safe_is_low
        following = rate / _STEP if towards_low else rate * _STEP
        if not LEAST_RATE <= following <= MOST_RATE:
            break
        rate = following
    if safe is None:
        assert last is not None
        remedy = "raise the limit, or compile with --scheme dense" if budget.kind == "drop" else "raise the limit"
        raise UserError(f"{budget.flag} cannot be kept: the best found is {last.text}", remedy)
    return safe


def _between(limit: float, safe: Trial, unsafe: Trial) -> float:
    """A rate between two, where a straight line over the logarithms meets the limit, not too near to either end."""
    share = 0.5
    if safe.value > 0 and limit > 0 and unsafe.value > safe.value:
        share = math.log(limit / safe.value) / math.log(unsafe.value / safe.value)
    share = min(max(share, 0.25), 0.75)
    return math.exp(math.log(safe.rate) * (1 - share) + math.log(unsafe.rate) * share)


class AccuracyCheck:
    """Top-1 accuracy lost against the network before compression, on images that calibration did not take if there
    are enough.

    `module` is the network (level onnx or esc). With labels (`y` in the .npz) right answers are counted, without
    them answers that stay the same.
    """

    def __init__(self, module: ModuleOp, path: str, taken: int, seed: int):
        from passes.math.calibration import sample_rows

        x, labels = _load(path)
        rows = np.setdiff1d(np.arange(len(x)), sample_rows(len(x), taken, seed))
        self.held_out = len(rows) >= _FEW_IMAGES
        rows = rows[:_MOST_IMAGES] if self.held_out else np.arange(len(x))[:_MOST_IMAGES]
        self._x = x[rows]
        answers = _answers(module, self._x)
        self._labels = answers if labels is None else labels[rows]
        self._labelled = labels is not None
        self._before = answers == self._labels

    def drop(self, program: Program) -> tuple[float, float]:
        """Points lost, and the standard error of that figure."""
        import os

        from emulator.evaluate import classes, predict
        from emulator.machine import Machine

        classes(program)
        now = predict(Machine(program), self._x, os.cpu_count() or 1) == self._labels
        lost = self._before.astype(np.float64) - now
        return 100 * float(lost.mean()), 100 * float(lost.std()) / math.sqrt(len(lost))

    def describe(self) -> str:
        """What the drop was measured on."""
        count = f"{len(self._x)} {'held-out ' if self.held_out else ''}calibration images"
        return f"of top-1 on {count}" if self._labelled else f"of answers changed on {count}"


def _load(path: str) -> tuple[Array, Array | None]:
    """Inputs and labels, if any, of calibration data that the passes have accepted."""
    with np.load(path, allow_pickle=False) as archive:
        names = [n for n in archive.files if n != "y"]
        x: Array = archive["x" if "x" in names else names[0]]
        y: Array | None = archive["y"] if "y" in archive.files else None
    if y is None:
        return x, None
    if y.dtype.kind not in "iu" or y.size != len(x):
        raise UserError(
            f"{Path(path)}: y is {y.dtype}{list(y.shape)}; requires integers [{len(x)}], one for each image of x"
        )
    return x, y.reshape(-1).astype(np.int64)


def _answers(module: ModuleOp, x: Array) -> NDArray[np.int64]:
    """Index of the largest output of a network for every input."""
    from dialects.interpreters.run import run_module

    step = max(1, min(64, _BATCH_ELEMENTS // x[0].size))
    parts: list[Array] = []
    for n in range(0, len(x), step):
        part = x[n : n + step].astype(np.float32)
        parts.append(run_module(module, [part])[0].reshape(len(part), -1).argmax(axis=1))
    return np.concatenate(parts)


def cycles_of(program: Program) -> int:
    """Cycles of the sample that the binary carries."""
    from emulator.host import split_sample
    from emulator.machine import Machine

    result = Machine(program).run_stored(split_sample(program.inputs, program.sample), stats=True)
    assert result.statistics is not None
    return int(result.statistics.data["totals"]["cycles"])


@dataclass
class BudgetSearch:
    """Compiles candidates of one network: `before` and `after` are the passes around `decompose`.

    `announce` is told a line about each candidate.
    """

    context: Context
    before: Sequence[ModulePass]
    decompose: DecomposeConvPass
    after: Sequence[ModulePass]
    announce: Callable[[str], None]

    def run(self, module: ModuleOp, budget: Budget) -> DecomposeConvPass:
        """The pass with the rate that keeps the budget; the module stays as it is. Raises UserError if none does."""
        check: AccuracyCheck | None = None
        if budget.kind == "drop":
            if self.decompose.calibration is None:
                raise UserError(
                    "--max-drop needs images to measure on", "give --calibration, with labels y if there are any"
                )
            check = AccuracyCheck(module, self.decompose.calibration, self.decompose.samples, self.decompose.seed)
        start = module.clone()
        run_passes(self.context, start, self.before)

        def trial(rate: float) -> Trial:
            rate = float(f"{rate:.3g}")  # short to write down, and the same again
            candidate = start.clone()
            run_passes(self.context, candidate, (self._at(rate, budget), *self.after))
            found = _measure(rate, to_program(candidate), budget, check)
            self.announce(found.text)
            return found

        return self._at(find_rate(budget, trial).rate, budget)

    def _at(self, rate: float, budget: Budget) -> DecomposeConvPass:
        if budget.kind == "cycles":
            return replace(self.decompose, rate=0.0, cycle_rate=rate)
        return replace(self.decompose, rate=rate, cycle_rate=0.0)


def _measure(rate: float, program: Program, budget: Budget, check: AccuracyCheck | None) -> Trial:
    constants = len(program.rodata)
    text = f"rate {rate:g}: {constants:,} bytes of constants, {4 * program.original_weights / constants:.1f}x smaller"
    if check is not None:
        drop, error = check.drop(program)
        # One standard error of safety: the images at hand are not those of the user.
        return Trial(rate, drop + error, f"{text}, {drop:.2f} +- {error:.2f} points {check.describe()}")
    if budget.kind == "bytes":
        return Trial(rate, constants, text)
    cycles = cycles_of(program)
    return Trial(rate, cycles, f"{text}, {cycles:,} cycles")
