"""`escc`: compile an ONNX model, or IR text of any level, to a binary or to any level below."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from escc.cli.common import EXIT_OK, CommandParser, run
from escc.cli.compile_options import PIPELINE_FLAGS, idle_options, make_parser
from escc.console import Console
from escc.files import write_output
from isa.errors import UserError
from isa.text import printable

if TYPE_CHECKING:
    from xdsl.context import Context
    from xdsl.dialects.builtin import ModuleOp
    from xdsl.passes import ModulePass

    from escc.driver import Observer
    from escc.report import Report
    from escc.verify import Verification
    from isa.program import Program
    from passes.pipelines import PipelineOptions

_SUFFIXES = {"bin": ".bin", "qdq": ".qdq.onnx"}
"""Ends of the names of files for what is no text."""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `escc`."""
    parser = make_parser()
    return run(parser, lambda args: _body(parser, args), argv)


def _body(parser: CommandParser, args: argparse.Namespace) -> int:
    if args.list_targets or args.print_target or args.supported_ops:
        _print_information(args)
        return EXIT_OK
    if args.model is None and not args.dump_pass_pipeline:
        parser.error("the following argument is required: MODEL")
    if args.model == "-" and args.output is None and args.emit in _SUFFIXES and not args.dump_pass_pipeline:
        parser.error("what is made of standard input needs a name: -o FILE")
    return _compile(parser, args)


def _print_information(args: argparse.Namespace) -> None:
    if args.list_targets:
        from isa.target import list_targets

        for name, description in list_targets().items():
            print(printable(f"{name:12} {description}"))
    if args.print_target:
        from isa.storage import operand_memory_text
        from isa.target import load_target

        target = load_target(args.target)
        print(target.annotated + operand_memory_text(target), end="")
    if args.supported_ops:
        from escc.onnx_import import supported_ops

        print(supported_ops(), end="")


def _options(args: argparse.Namespace) -> PipelineOptions:
    from passes.pipelines import PipelineOptions

    return PipelineOptions(target=args.target, **{field: getattr(args, flag) for field, flag in PIPELINE_FLAGS.items()})


def _plan(args: argparse.Namespace, module: ModuleOp | None) -> tuple[ModulePass, ...]:
    """Passes to run on a module, or on any ONNX model where there is none."""
    from escc.driver import level_for, level_of
    from escc.universe import multiverse
    from passes.pipelines import LEVELS, build, parse

    registry = multiverse().all_passes
    if args.passes is not None:
        return parse(registry, args.passes)
    level = level_for(args.emit)
    done: tuple[str, ...] = ()
    if module is not None:
        start = level_of(module)
        if LEVELS.index(start) > LEVELS.index(level):
            raise UserError(f"{args.model}: stands at level '{start}', below --emit {args.emit}", f"use --emit {start}")
        done = _done(module)
    return build(registry, _options(args), level, done)


def _done(module: ModuleOp) -> tuple[str, ...]:
    """Names of the passes that a module has behind it."""
    from escc.driver import level_of, provenance
    from passes.pipelines import before

    return (*before(level_of(module)), *provenance(module))


def _has_budget(args: argparse.Namespace) -> bool:
    return any(limit is not None for limit in (args.max_drop, args.max_bytes, args.max_cycles, args.max_energy))


def _within_budget(
    args: argparse.Namespace, context: Context, module: ModuleOp, passes: Sequence[ModulePass]
) -> tuple[ModulePass, ...]:
    """The passes, with the rate of compression that keeps the budget that was asked for."""
    if not _has_budget(args):
        return tuple(passes)
    from escc.budget import Budget, BudgetSearch, Kind
    from escc.universe import multiverse
    from passes.decompose_conv import DecomposeConvPass
    from passes.pipelines import build

    kinds: dict[Kind, float | None] = {
        "drop": args.max_drop,
        "bytes": args.max_bytes,
        "cycles": args.max_cycles,
        "energy": args.max_energy,
    }
    budget = next(Budget(kind, limit) for kind, limit in kinds.items() if limit is not None)
    at = next((i for i, step in enumerate(passes) if isinstance(step, DecomposeConvPass)), None)
    step = None if at is None else passes[at]
    if not isinstance(step, DecomposeConvPass):
        raise UserError(f"{budget.flag} needs the pass decompose-conv ahead", "start from the ONNX model")
    names = [p.name for p in passes[: at + 1]] if at is not None else []
    console: Console = args.console
    after = build(multiverse().all_passes, _options(args), done=(*_done(module), *names))
    found = BudgetSearch(context, passes[:at], step, after, console.info, console.step).run(module, budget)
    console.step(f"compiling with the rate found for {budget.flag}")
    return tuple(found if p is step else p for p in passes)


def _check_names(parser: CommandParser, args: argparse.Namespace) -> None:
    """Usage errors that argparse does not find."""
    if _has_budget(args):
        if args.rate is not None or args.cycle_rate is not None:
            parser.error(
                "a budget (--max-drop, --max-bytes, --max-cycles, --max-energy) finds the rate: leave --rate, "
                "--cycle-rate out"
            )
        if args.scheme == "dense":
            parser.error("argument --scheme: dense compresses nothing, a budget needs another scheme")
    if not (args.print_ir_after or args.passes):
        return
    from escc.universe import multiverse
    from passes.pipelines import parse

    known = multiverse().all_passes
    unknown = [name for name in args.print_ir_after if name not in known]
    if unknown:
        parser.error(f"argument --print-ir-after: no pass '{unknown[0]}'")
    try:
        parse(known, args.passes or "")
    except UserError as e:
        parser.error("; ".join(e.causes))


def _printers(args: argparse.Namespace) -> list[Observer]:
    from escc.printing import print_after, write_after

    observers: list[Observer] = []
    if args.print_ir_after_all:
        observers.append(print_after(sys.stderr, None))
    elif args.print_ir_after:
        observers.append(print_after(sys.stderr, args.print_ir_after))
    if args.print_ir_tree_dir:
        observers.append(write_after(Path(args.print_ir_tree_dir)))
    return observers


def _constant_outputs(console: Console) -> Observer:
    """Observer that warns of outputs which the compressed network gives for every input."""
    from dialects.interpreters.run import main_function
    from passes.analysis.constant_outputs import constant_outputs

    def observe(step: ModulePass, module: ModuleOp) -> None:
        if step.name != "esc-legalize":
            return
        for name in constant_outputs(main_function(module)):
            if not any(text.startswith(f"output '{name}' does not depend on the input") for text in console.warnings):
                console.warn(
                    f"output '{name}' does not depend on the input once the network is compressed: too little of it "
                    "is left; look at --rate, or at what a budget is measured on"
                )

    return observe


def _report(args: argparse.Namespace, observers: list[Observer]) -> Report | None:
    if not args.report:
        return None
    from escc.report import Report
    from escc.reports.vega import require

    if any(Path(path).suffix == ".html" for path in args.report):
        require()  # better to learn of a missing library now than after minutes
    report = Report()
    observers.append(report.observe)
    return report


def _verification(args: argparse.Namespace, module: ModuleOp, observers: list[Observer]) -> Verification | None:
    if not args.verify_numerics:
        return None
    from escc.verify import Verification

    verification = Verification(module, args.calibration, args.seed or 0, args.tolerance)
    observers.append(verification.observe)
    return verification


def _finish_verification(verification: Verification, program: Program | None, stream: TextIO, console: Console) -> None:
    """Print what was compared. Raises InternalError if levels that must agree do not."""
    print(verification.finish(program), file=stream)
    for text in verification.warnings:
        console.warn(text)
    if verification.fault is not None:
        raise verification.fault


def _output(args: argparse.Namespace) -> str:
    if args.output is not None:
        return args.output
    return f"{Path(args.model).stem}{_SUFFIXES[args.emit]}" if args.emit in _SUFFIXES else "-"


def _compile(parser: CommandParser, args: argparse.Namespace) -> int:
    from escc import driver
    from escc.irtext import make_context
    from escc.printing import summary, timing_table
    from isa.target import load_target
    from passes.pipelines import LEVELS, to_text

    console: Console = args.console
    _check_names(parser, args)
    load_target(args.target)  # better to learn of a wrong target now than after minutes
    if args.model is None:
        print(printable(to_text(_plan(args, None))))
        return EXIT_OK
    output = _output(args)
    if args.output is None and not args.dump_pass_pipeline:
        parser.claim_output(args.files, "-o/--output", output)
    start = time.perf_counter()
    context = make_context()
    module = driver.load(context, args.model)
    driver.set_image_options(module, driver.ImageOptions(args.image_mean, args.image_std, args.channel_order))
    load_time = time.perf_counter() - start
    passes = _plan(args, module)
    if args.dump_pass_pipeline:
        print(printable(to_text(passes)))
        return EXIT_OK
    for text in idle_options(args, passes):
        console.warn(text)
    observers = [*_printers(args), _constant_outputs(console)]
    report = _report(args, observers)
    verification = _verification(args, module, observers)
    passes = _within_budget(args, context, module, passes)
    console.detail(f"{args.model}: {to_text(passes)}")
    try:
        timings = driver.run_passes(context, module, passes, observers, console.progress)
    except driver.PassError as error:
        driver.attach_input(error, context, args.model, passes)
        raise
    driver.require_level(module, args.emit)
    start = time.perf_counter()
    program = driver.to_program(module) if driver.level_of(module) == LEVELS[-1] else None
    result = driver.result_of(module, program, args.emit)
    files = [(output, result)]
    for path in args.report:
        assert report is not None
        files.append((path, report.text(program, Path(path).suffix, Path(args.model).name)))
    emit_time = time.perf_counter() - start
    if verification is not None:
        _finish_verification(verification, program, sys.stderr if output == "-" else sys.stdout, console)
    for path, data in files:
        write_output(path, data)
    if args.timing:
        print(timing_table(timings, load_time, emit_time), file=sys.stderr)
    console.info(summary(output, len(result), program, len(console.warnings)))
    return EXIT_OK


if __name__ == "__main__":
    raise SystemExit(main())
