"""A setting for each layer so that a network keeps a budget: accuracy drop, bytes, cycles or energy.

What each layer could be is found once, on the network as it is (`escc.compress.database`). A dynamic programme over
these rows says which to take (`escc.compress.allocation`). Errors and costs of layers do not quite add up, and a layer
is fitted anew to what the layers before it have become. So the choice is compiled and measured: bytes are those of
.rodata, cycles and energy those of the emulator on the binary's own sample, accuracy that of images that the
compression has not seen. If that misses the budget, the programme is asked again, with what was learnt.

The programme takes the best of many estimates, which is better in the estimate than in truth. Its choice is therefore
compared with plain ones: all layers at one rate, and, where several schemes are asked, the rows at one rate of the
scheme that promises most by itself, so that a mixture is not worse than the best single form. Where the budget is one
of accuracy, the choice of fewer bytes is taken; else the one whose outputs are nearest to those of the network with
int8 weights.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dialects.interpreters.run import main_function
from dialects.signature import given_inputs, inputs_of
from escc.accuracy import AccuracyCheck, Drop, Fold, output_error
from escc.budget_limit import Budget
from escc.budget_trials import (
    FEWER,
    Trial,
    Try,
    nearest_of,
    size_distance,
    try_drops,
    try_rates,
    try_sizes,
    try_smaller,
)
from escc.compress.allocation import Frontier
from escc.compress.database import Database, Measure, Rates, given_options
from escc.driver import run_passes, to_program
from escc.printing import times_smaller
from isa.elementary import exp2
from isa.errors import UserError
from isa.target import load_target
from passes.analysis.progress import listening
from passes.decompose_conv import DecomposeConvPass
from passes.decomposition.answers import Answers
from passes.decomposition.scheme import Scheme, SchemeOptions, general_options, load_scheme
from passes.decomposition.setting import DENSE, InTurn, Setting
from passes.math.calibration import load_inputs

if TYPE_CHECKING:
    from xdsl.context import Context
    from xdsl.dialects.builtin import ModuleOp
    from xdsl.passes import ModulePass
    from xdsl.utils.arg_spec import ArgSpec

    from isa.program import Program
    from isa.target import Target

_RATES = tuple(float(f"{float(exp2(n / 4)):.3g}") for n in range(-40, 41))
"""Rates of which a network of about so many bytes takes one; short to write down, and the same again."""
_EVEN_RATES = tuple(float(f"{float(exp2(n / 16)):.3g}") for n in range(-160, 161))
"""Rates of which all layers take one."""
_FEW_LOST = 3
"""Images that a limit of points should allow to be lost, or more."""
_MOST_COMPARED = 64
"""Samples whose outputs are compared."""

Choice = tuple[Trial, DecomposeConvPass]
"""What was tried, and the pass that gives it."""
Plain = tuple[Callable[[int], DecomposeConvPass], Callable[[float], float]]
"""The pass of a rate by its number, and what layers are expected to cost at a rate."""


def totals_of(program: Program) -> Mapping[str, Any]:
    """Totals of the statistics of the sample that the binary carries, as in `emulator.statistics.Statistics`."""
    from emulator.machine import Machine

    result = Machine(program).run_sample(stats=True)
    assert result.statistics is not None
    return result.statistics.data["totals"]


@dataclass(frozen=True)
class _Remembering(DecomposeConvPass):
    """The pass with the answers of its earlier runs on the same network. As text it is that pass."""

    answers: Answers = field(default_factory=Answers)

    @classmethod
    def of(cls, step: DecomposeConvPass) -> DecomposeConvPass:
        """The same pass, with no answers yet."""
        return cls(**{option.name: getattr(step, option.name) for option in fields(DecomposeConvPass)})

    def in_turn(self, target: Target) -> Scheme:
        return InTurn(self.layers, target, self.answers)

    def spec(self, *, include_default: bool = False) -> ArgSpec:
        plain = {option.name: getattr(self, option.name) for option in fields(DecomposeConvPass)}
        return DecomposeConvPass(**plain).spec(include_default=include_default)


@dataclass
class BudgetSearch:
    """Keeps budgets of one network: `before` and `after` are the passes around `decompose`.

    A choice is compiled several times, and layers of two choices may be the same. So the pass that is found keeps the
    forms of the layers, and gives them again where it is asked for the same on the same data.

    `announce` is told a line about each choice that is compiled, `begin` what is begun.
    """

    context: Context
    before: Sequence[ModulePass]
    decompose: DecomposeConvPass
    after: Sequence[ModulePass]
    announce: Callable[[str], None]
    begin: Callable[[str], None] = lambda text: None
    _begun: int = 0

    def __post_init__(self) -> None:
        self.decompose = _Remembering.of(self.decompose)

    def run(self, module: ModuleOp, budget: Budget) -> DecomposeConvPass:
        """The pass with the settings that keep the budget; the module stays as it is. Raises UserError if none do."""
        calibration = self.decompose.calibration
        check: AccuracyCheck | None = None
        if budget.kind == "drop":
            if calibration is None:
                raise UserError(
                    "--max-drop needs images to measure on", "give --calibration, with labels y if there are any"
                )
            self.begin("measuring the network before compression")
            check = AccuracyCheck(module, calibration, self.decompose.samples, self.decompose.seed)
            warn_of_few_images(budget, check.images, self.decompose.samples)
        start = self._start(module)
        if self.decompose.has_nothing_to_do(start):
            only = self._try(start, 0, self.decompose, budget, check)
            if only.value > budget.limit:
                raise self._missed([only], budget)
            return self.decompose
        if check is not None:
            return self._accurate(start, budget, check)
        return self._sized(start, budget)

    def _accurate(self, start: ModuleOp, budget: Budget, check: AccuracyCheck) -> DecomposeConvPass:
        """The pass that keeps a budget of points."""
        database = self.database(start, Rates())
        front = database.frontier("bytes")
        tried = self._tried(
            lambda at: self._step(database, front, at),
            lambda trial: try_drops(front, budget.limit, check.expected, trial),
            start,
            budget,
            check,
        )
        known = min(_kept(tried, budget), key=lambda choice: choice[0].nbytes, default=(None,))[0]
        near = float(front.costs[known.at if known else max(t.at for t, _ in tried)])
        most = near - (1 - FEWER) * known.nbytes if known else near

        def smaller(sizes: Sequence[float], trial: Try) -> list[Trial]:
            first = sum(size > most for size in sizes)
            return try_smaller(sizes, first, budget.limit, known.nbytes if known else math.inf, trial)

        for step, expected in self._plain(database, "bytes", near):
            sizes = [expected(rate) for rate in _EVEN_RATES]
            tried += self._tried(step, partial(smaller, sizes), start, budget, check)
        kept = _kept(tried, budget)
        if not kept:
            raise self._missed([trial for trial, _ in tried], budget)
        return min(kept, key=lambda choice: choice[0].nbytes)[1]

    def _sized(self, start: ModuleOp, budget: Budget) -> DecomposeConvPass:
        """The pass that keeps a budget of bytes, cycles or energy."""
        dense = replace(self.decompose, scheme=DENSE, options=())
        whole = self._try(start, 0, dense, budget, None)
        if whole.value <= budget.limit:
            return dense
        database = self.database(start, Rates(of_cycles=budget.kind != "bytes"))
        front = database.frontier(budget.measure)
        beside = whole.value - database.dense(budget.measure)
        tried = self._tried(
            lambda at: self._step(database, front, at),
            lambda trial: try_sizes(front, budget.limit, beside, trial),
            start,
            budget,
        )
        choices = sorted(_kept(tried, budget), key=lambda choice: choice[0].at)[-1:]
        for step, expected in self._plain(database, budget.measure, budget.limit - beside):
            sizes = [beside + expected(rate) for rate in _EVEN_RATES]
            plain = self._tried(step, partial(try_rates, sizes, budget.limit), start, budget)
            choices += sorted(_kept(plain, budget), key=lambda choice: choice[0].at)[:1]
            tried += plain
        if not choices:
            raise self._missed([trial for trial, _ in tried], budget)
        if len(choices) == 1:
            return choices[0][1]
        return min(choices, key=lambda choice: self._error(start, whole, choice[0]))[1]

    def _tried(
        self,
        step: Callable[[int], DecomposeConvPass],
        search: Callable[[Try], list[Trial]],
        start: ModuleOp,
        budget: Budget,
        check: AccuracyCheck | None = None,
    ) -> list[Choice]:
        """What a search tries, where `step` is the pass of a number."""
        trials = search(lambda at: self._try(start, at, step(at), budget, check))
        return [(trial, step(trial.at)) for trial in trials]

    def _plain(self, database: Database, measure: Measure, most: float) -> Iterator[Plain]:
        """Choices without a programme, by the number of a rate, and what layers are expected to cost at a rate.

        They are the scheme at one rate for all layers, if it reads one, and the rows of the best single scheme that can
        cost as little as `most`, if there are several.
        """
        if "rate" in general_options(load_scheme(self.decompose.scheme)):
            yield (
                lambda at: self._even(database, _EVEN_RATES[at]),
                lambda rate: database.at_rate(rate, measure),
            )
        if (single := database.single(_EVEN_RATES, measure, most)) is not None:
            self.begin(f"looking at what '{single.scheme}' gives alone")
            yield (
                lambda at: replace(self.decompose, layers=single.chosen(single.priced(_EVEN_RATES[at]))),
                lambda rate: single.at_rate(rate, measure),
            )

    def _error(self, start: ModuleOp, whole: Trial, found: Trial) -> float:
        """How far the outputs of a trial are from those of the whole network, on calibration samples."""
        assert whole.program is not None and found.program is not None
        samples = min(self.decompose.samples, _MOST_COMPARED)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is wrong with the data has been said by the compression
            inputs = load_inputs(
                self.decompose.calibration, inputs_of(main_function(start)), samples, self.decompose.seed + 1
            )
        error = output_error(whole.program, found.program, given_inputs(start, inputs))
        self.announce(f"{found.text}: relative error {error:.2%} of the outputs on {len(inputs[0])} samples")
        return error

    def _even(self, database: Database, rate: float) -> DecomposeConvPass:
        """The pass that asks the scheme for the same at every layer."""
        step = self.decompose
        own = dict(option.split("=", 1) for option in step.options)
        general = given_options(SchemeOptions(basis=step.basis, planes=step.planes))
        setting = Setting.made(step.scheme, {**general, **own, **database.rates.named(rate)})
        return replace(step, layers=(str(setting),) * len(database.layers))

    def _step(self, database: Database, front: Frontier, at: int) -> DecomposeConvPass:
        return replace(self.decompose, layers=database.chosen(front.rows(at)))

    def nearest_rate(self, module: ModuleOp, nbytes: float) -> float:
        """The rate whose constants come nearest to a number of bytes, of a few that are compiled.

        The first one is the nearest by what can be expected.
        """
        start = self._start(module)
        if self.decompose.has_nothing_to_do(start):
            return 0.0
        database = self.database(start, Rates())
        dense = self.compiled(start, replace(self.decompose, scheme=DENSE, options=()))
        beside = len(dense.rodata) - database.dense("bytes")

        def expected(at: int) -> float:
            return beside + database.at_rate(_RATES[at], "bytes")

        def size(at: int) -> float:
            return len(self.compiled(start, replace(self.decompose, rate=_RATES[at])).rodata)

        first = min(range(len(_RATES)), key=lambda at: size_distance(expected(at), nbytes))
        self.begin("compiling at the rate that comes near to the bytes wanted")
        at, found = nearest_of(first, len(_RATES) - 1, size, nbytes)
        self.announce(f"rate {_RATES[at]:.3g}: {round(found):,} bytes of constants")
        return _RATES[at]

    def _start(self, module: ModuleOp) -> ModuleOp:
        start = module.clone()
        run_passes(self.context, start, self.before)
        return start

    def database(self, start: ModuleOp, rates: Rates) -> Database:
        """What each layer of a quantised network could be."""
        self.begin("looking at what each layer could be")
        database = Database(self.decompose.scheme, rates, load_target(self.decompose.target))
        with listening(self.begin):
            self.decompose.visit(self.context, start.clone(), database)
        return database

    def compiled(self, start: ModuleOp, step: DecomposeConvPass) -> Program:
        """The program with the weights that a pass gives the layers."""
        candidate = start.clone()
        run_passes(self.context, candidate, (step, *self.after))
        return to_program(candidate)

    @staticmethod
    def _missed(trials: Sequence[Trial], budget: Budget) -> UserError:
        """What to say if none of the trials keeps the budget."""
        best = min(trials, key=lambda t: t.value)
        return UserError(f"{budget.flag} cannot be kept: the best found is {best.text}", budget.remedy())

    def _try(
        self, start: ModuleOp, at: int, step: DecomposeConvPass, budget: Budget, check: AccuracyCheck | None
    ) -> Trial:
        self._begun += 1
        self.begin(f"trial {self._begun}: compiling a choice")
        found = self._size(start, at, step, budget) if check is None else self._drop(start, at, step, check)
        self.announce(f"trial {self._begun}: {found.text}")
        return found

    def _size(self, start: ModuleOp, at: int, step: DecomposeConvPass, budget: Budget) -> Trial:
        program = self.compiled(start, step)
        text = _describe(program, step)
        if budget.kind == "bytes":
            return Trial(at, len(program.rodata), 0.0, text, program)
        totals = totals_of(program)
        if budget.kind == "energy":
            energy = totals["energy_uj"]["total"]
            return Trial(at, energy, 0.0, f"{text}, {energy:,.5g} uJ", program)
        return Trial(at, totals["cycles"], 0.0, f"{text}, {totals['cycles']:,} cycles", program)

    def _drop(self, start: ModuleOp, at: int, step: DecomposeConvPass, check: AccuracyCheck) -> Trial:
        def measure(fold: Fold) -> tuple[NDArray[np.float64], int, str]:
            program = self.compiled(start, replace(step, calibration=fold.calibration))
            return check.lost(program, fold), len(program.rodata), _describe(program, step)

        with ThreadPoolExecutor(len(check.folds)) as pool:
            found = list(pool.map(measure, check.folds))
        drop = Drop.of([lost for lost, _, _ in found])
        nbytes = sum(size for _, size, _ in found) / len(found)
        return Trial(at, drop.least_sure, drop.points, f"{found[-1][2]}, {drop} {check.describe()}", nbytes=nbytes)


def warn_of_few_images(budget: Budget, images: int, calibrating: int) -> None:
    """Warn if a limit of points is too few of the images that it is measured on, beside which others calibrate."""
    lost = images * budget.limit / 100
    if 0 < lost < _FEW_LOST:
        enough = math.ceil(100 * _FEW_LOST / budget.limit) + calibrating
        warnings.warn(
            f"{budget.flag}: that is {lost:.2g} of the {images} images that measure it, too few to tell what others "
            f"lose; give {enough:,} or more with --calibration, {calibrating} of which calibrate",
            UserWarning,
            stacklevel=2,
        )


def _kept(choices: Sequence[Choice], budget: Budget) -> list[Choice]:
    """The choices that keep a budget."""
    return [choice for choice in choices if choice[0].value <= budget.limit]


def _describe(program: Program, step: DecomposeConvPass) -> str:
    constants = len(program.rodata)
    weights = 4 * program.original_weights
    ratio = f", {times_smaller(weights, constants)}" if constants and weights else ""
    forms = ""
    if len(step.layers) > 1 and set(step.layers) == {step.layers[0]}:
        forms = f"all layers by {step.layers[0]}, "
    elif step.layers:
        others = sum(text != DENSE for text in step.layers)
        forms = f"{others} of {len(step.layers)} layers in other forms, "
    return f"{forms}{constants:,} bytes of constants{ratio}"
