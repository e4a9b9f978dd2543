"""What `escc` and `escc.compile` share: from what was asked for to passes, and from passes to a program.

A command makes a request before it looks for its files, so what takes long to load is imported where it is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from escc import driver
from escc.budget_limit import Budget, Kind
from escc.universe import multiverse
from isa.errors import UserError
from passes.pipelines import LEVELS, PipelineOptions, behind, build, parse

if TYPE_CHECKING:
    from xdsl.context import Context
    from xdsl.dialects.builtin import ModuleOp
    from xdsl.passes import ModulePass

    from isa.program import Program

P = TypeVar("P")


@dataclass(frozen=True)
class CompileRequest:
    """What is to be made of a module: options of the default pipeline, or the text of another one.

    `kind` is what is made, as `--emit` calls it. A `budget` finds how each layer is compressed. `tune`: tilings of each
    layer that are emulated to find the fastest schedule; 1 takes what is best by the estimate.
    """

    options: PipelineOptions
    kind: str = "bin"
    pipeline: str | None = None
    budget: Budget | None = None
    tune: int = 1

    def conflict(self) -> str:
        """What is wrong with options that exclude each other, "" if nothing is."""
        if self.budget is None:
            return ""
        if self.options.rate is not None or self.options.cycle_rate is not None:
            return (
                "a budget (--max-drop, --max-bytes, --max-cycles, --max-energy) finds the rates: leave --rate, "
                "--cycle-rate out"
            )
        if self.options.scheme == "dense":
            return "argument --scheme: dense compresses nothing, a budget needs another scheme"
        return ""

    def check_scheme_options(self) -> None:
        """Raise UserError if the scheme does not take its own options: better known before the work than after it."""
        if not self.options.options:
            return
        from isa.target import load_target
        from passes.decompose_conv import DecomposeConvPass
        from passes.decomposition.scheme import load_scheme, own_options

        step = DecomposeConvPass()
        name, target = self.options.scheme or step.scheme, self.options.target or step.target
        own_options(name, load_scheme(name), self.options.options, load_target(target))

    def idle_options(self, spelled: Callable[[str], str] = str) -> str:
        """A warning of options that were given and that the scheme ignores, "" if it reads them all.

        `spelled` is how the user writes an option that the pass decompose-conv has.
        """
        from passes.decompose_conv import DecomposeConvPass
        from passes.decomposition.scheme import GENERAL, load_scheme, unread_options

        given = [option for option in GENERAL if getattr(self.options, option) is not None]
        if not given or self.pipeline is not None:
            return ""
        name = self.options.scheme or DecomposeConvPass().scheme
        return unread_options(name, load_scheme(name), given, spelled, self.options.options or ())

    def passes(self, module: ModuleOp | None, name: str) -> tuple[ModulePass, ...]:
        """Passes to run on a module, or on any ONNX model where there is none; `name` is how errors call the module."""
        registry = multiverse().all_passes
        if self.pipeline is not None:
            return parse(registry, self.pipeline)
        level = driver.level_for(self.kind)
        done: tuple[str, ...] = ()
        if module is not None:
            start = driver.level_of(module)
            if LEVELS.index(start) > LEVELS.index(level):
                raise UserError(f"{name}: stands at level '{start}', below --emit {self.kind}", f"use --emit {start}")
            done = _done(module)
        return build(registry, self.options, level, done)

    def within_budget(
        self,
        context: Context,
        module: ModuleOp,
        passes: Sequence[ModulePass],
        announce: Callable[[str], None],
        begin: Callable[[str], None],
    ) -> tuple[ModulePass, ...]:
        """The passes, with settings of compression that keep the budget; the module stays as it is.

        `announce` is told a line about each choice that is tried, `begin` what is begun. Raises UserError if none does.
        """
        budget = self.budget
        if budget is None:
            return tuple(passes)
        from escc.budget import BudgetSearch
        from passes.decompose_conv import DecomposeConvPass

        found = _first(passes, DecomposeConvPass)
        if found is None:
            raise UserError(f"{budget.flag} needs the pass decompose-conv ahead", "start from the ONNX model")
        at, step = found
        after = self._behind(module, passes, at)
        kept = BudgetSearch(context, passes[:at], step, after, announce, begin).run(module, budget)
        begin(f"compiling with what was found for {budget.flag}")
        return tuple(kept if p is step else p for p in passes)

    def tuned(
        self, module: ModuleOp, passes: Sequence[ModulePass], report: Callable[[str], None]
    ) -> tuple[ModulePass, ...]:
        """The passes, with the one that tiles emulating its choices if these are to be tuned; `report` is told what was
        found. Raises UserError if none of them tiles.
        """
        if self.tune == 1:
            return tuple(passes)
        from escc.tuning import TunedTiling
        from passes.tile_basis_first import TileBasisFirstPass

        found = _first(passes, TileBasisFirstPass)
        if found is None:
            raise UserError(
                f"--tune needs the pass {TileBasisFirstPass.name} ahead",
                "start from the ONNX model or from IR of level esc, and compile at least to level bfs",
            )
        at, step = found
        after = self._behind(module, passes, at)
        return (*passes[:at], TunedTiling.of(step, self.tune, after, report), *passes[at + 1 :])

    def _behind(self, module: ModuleOp, passes: Sequence[ModulePass], at: int) -> Sequence[ModulePass]:
        """The passes that lead from pass number `at` to a program: those given if they do, else the usual ones."""
        if driver.level_for(self.kind) == LEVELS[-1] and passes[at + 1 :]:
            return passes[at + 1 :]
        done = [p.name for p in passes[: at + 1]]
        return build(multiverse().all_passes, self.options, done=(*_done(module), *done))


def _first(passes: Sequence[ModulePass], kind: type[P]) -> tuple[int, P] | None:
    """The first pass of a kind, with its number among the passes."""
    return next(((i, step) for i, step in enumerate(passes) if isinstance(step, kind)), None)


def _done(module: ModuleOp) -> tuple[str, ...]:
    """Names of the passes that a module has behind it."""
    return behind(driver.level_of(module), driver.provenance(module))


def budget_of(
    max_drop: float | None, max_bytes: float | None, max_cycles: float | None, max_energy: float | None
) -> Budget | None:
    """The one limit that is given, None if there is none."""
    kinds: dict[Kind, float | None] = {
        "drop": max_drop,
        "bytes": max_bytes,
        "cycles": max_cycles,
        "energy": max_energy,
    }
    return next((Budget(kind, limit) for kind, limit in kinds.items() if limit is not None), None)


def run_request(
    request: CompileRequest,
    context: Context,
    module: ModuleOp,
    source: str | bytes,
    passes: Sequence[ModulePass],
    observers: Sequence[driver.Observer] = (),
    progress: Callable[[str], None] = lambda text: None,
) -> tuple[Program | None, list[driver.Timing]]:
    """Run the passes on a module that came from `source`: its program if they lead to the last level, and their times.

    Raises UserError if they end at another level than the request needs, `PassError` with the IR before the pass that
    fails.
    """
    try:
        timings = driver.run_passes(context, module, passes, observers, progress)
    except driver.PassError as error:
        driver.attach_input(error, context, source, passes)
        raise
    driver.require_level(module, request.kind)
    return driver.to_program(module) if driver.level_of(module) == LEVELS[-1] else None, timings


def constant_outputs_observer(warn: Callable[[str], None], warned: Sequence[str] = ()) -> driver.Observer:
    """Observer that warns of outputs which the compressed network gives for every input.

    Of an output that `warned`, the warnings so far, tell the same of before compression, nothing more is said.
    """
    from dialects.interpreters.run import main_function
    from passes.analysis.constant_outputs import constant_outputs

    def observe(step: ModulePass, module: ModuleOp) -> None:
        if step.name != "esc-legalize":
            return
        for name in constant_outputs(main_function(module)):
            if not any(text.startswith(f"output '{name}' does not depend on the input") for text in warned):
                warn(
                    f"output '{name}' does not depend on the input once the network is compressed: too little of it "
                    "is left; look at --rate, or at what a budget is measured on"
                )

    return observe
