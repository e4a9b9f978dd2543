"""`escc`: compile an ONNX model, or IR text of any level, to a binary or to any level below."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from escc.cli.common import EXIT_OK, CommandParser, flag_of, run
from escc.cli.compile_options import PIPELINE_FLAGS, idle_options, make_parser
from escc.console import Console
from escc.files import write_output
from isa.errors import UserError
from isa.text import printable

if TYPE_CHECKING:
    from xdsl.dialects.builtin import ModuleOp

    from escc.compilation import CompileRequest
    from escc.driver import Observer
    from escc.report import Report
    from escc.verify import Verification
    from isa.arrays import Arrays
    from isa.program import Program

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
        from isa.area import area_text, event_energy_text
        from isa.storage import operand_memory_text
        from isa.target import load_target

        target = load_target(args.target)
        print(target.annotated + operand_memory_text(target) + area_text(target) + event_energy_text(target), end="")
    if args.supported_ops:
        from escc.onnx_import import supported_ops

        print(supported_ops(), end="")


def _request(args: argparse.Namespace) -> CompileRequest:
    from escc.compilation import CompileRequest, budget_of
    from passes.pipelines import PipelineOptions

    options = PipelineOptions(
        target=args.target, **{field: getattr(args, flag) for field, flag in PIPELINE_FLAGS.items()}
    )
    return CompileRequest(
        options,
        args.emit,
        args.passes,
        budget_of(args.max_drop, args.max_bytes, args.max_cycles, args.max_energy),
        args.tune,
    )


def _check_names(parser: CommandParser, args: argparse.Namespace, request: CompileRequest) -> None:
    """Usage errors that argparse does not find."""
    if conflict := request.conflict():
        parser.error(conflict)
    try:
        request.check_scheme_options()
    except UserError as error:
        parser.refuse(error)
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


def _with_host(
    args: argparse.Namespace, request: CompileRequest, module: ModuleOp
) -> tuple[CompileRequest, str | Arrays | None]:
    """The request and calibration data for the part of a network that the machine computes; says what the host does."""
    from dataclasses import replace

    from dialects.eisa import host_of
    from escc.host_fallback import machine_samples, refuse_drop
    from isa.hosted import described, unpack

    if args.max_drop is not None:
        refuse_drop(module)
    calibration = machine_samples(module, args.calibration, args.samples, args.seed)
    host = host_of(module)
    said = (
        described(unpack(host).work.figures()) if host else "has nothing to compute: the machine runs all of the model"
    )
    args.console.info(f"the host {said}")
    return replace(request, options=replace(request.options, calibration=calibration)), calibration


def _verification(
    args: argparse.Namespace, module: ModuleOp, observers: list[Observer], calibration: str | Arrays | None
) -> Verification | None:
    if not args.verify_numerics:
        return None
    from escc.verify import Verification

    verification = Verification(module, calibration, args.seed or 0, args.tolerance)
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
    from isa.target import load_target
    from passes.pipelines import to_text

    console: Console = args.console
    request = _request(args)
    load_target(args.target)  # better to learn of a wrong target now than after minutes
    _check_names(parser, args, request)
    if args.model is None:
        print(printable(to_text(request.passes(None, ""))))
        return EXIT_OK
    parser.check_inputs(args)
    from escc import driver
    from escc.compilation import constant_outputs_observer, run_request
    from escc.irtext import make_context
    from escc.printing import summary, timing_table  # loads what the passes need

    output = _output(args)
    if args.output is None and Path(output) == Path(args.model):
        raise UserError(
            f"{args.model}: has the name that its own binary would get",
            "escc takes .onnx and .mlir files; or give -o FILE",
        )
    if args.output is None and not args.dump_pass_pipeline:
        parser.claim_output(args.files, "-o/--output", output)
    start = time.perf_counter()
    context = make_context()
    module = driver.load(context, args.model, "", dict(args.input_shape), args.host_fallback)
    driver.set_image_options(module, driver.ImageOptions(args.image_mean, args.image_std, args.channel_order))
    load_time = time.perf_counter() - start
    passes = request.passes(module, args.model)
    if args.dump_pass_pipeline:
        print(printable(to_text(passes)))
        return EXIT_OK
    for text in filter(None, (*idle_options(args, passes), request.idle_options(flag_of))):
        console.warn(text)
    observers = [*_printers(args), constant_outputs_observer(console.warn, console.warnings)]
    report = _report(args, observers)
    calibration: str | Arrays | None = args.calibration
    if args.host_fallback:
        request, calibration = _with_host(args, request, module)
        passes = request.passes(module, args.model)
    verification = _verification(args, module, observers, calibration)
    passes = request.within_budget(context, module, passes, console.info, console.step)
    passes = request.tuned(module, passes, console.info)
    console.detail(f"{args.model}: {to_text(passes)}")
    program, timings = run_request(request, context, module, args.model, passes, observers, console.progress)
    start = time.perf_counter()
    result = driver.result_of(module, program, args.emit)
    files = [(output, result)]
    for path in args.report:
        assert report is not None
        files.append((path, report.text(program, Path(path).suffix, Path(args.model).name)))
    emit_time = time.perf_counter() - start
    if verification is not None:
        stream = sys.stderr if output == "-" else sys.stdout
        _finish_verification(verification, program, stream, console)
        if args.host_fallback and program is not None and program.host:
            from escc.host_fallback import compare

            whole = compare(args.model, dict(args.input_shape), program, args.calibration, args.seed or 0)
            print(whole, file=stream)
    for path, data in files:
        write_output(path, data)
    if args.timing:
        print(timing_table(timings, load_time, emit_time), file=sys.stderr)
    console.info(summary(output, len(result), program, len(console.warnings)))
    return EXIT_OK


if __name__ == "__main__":
    raise SystemExit(main())
