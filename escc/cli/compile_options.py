"""Options of `escc`, each with its type, default, choices and an example."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from escc.cli.common import CommandParser, flag_of
from escc.cli.values import (
    above_zero,
    add_input_shape,
    byte_count,
    divisors,
    folder,
    natural,
    not_negative,
    numbers,
    percentile,
    positive,
    scheme,
)

DESCRIPTION = """\
Compile a trained CNN to a binary for the kernel-decomposition accelerator.

MODEL is an ONNX file, or IR text of any level (a .mlir file, or - for standard input), from which
compilation goes on. Without options: escc model.onnx writes model.bin into the current directory."""

EPILOG = """\
examples:
  escc model.onnx --calibration c.npz               decomposed where that pays
  escc model.onnx --calibration c.npz --max-drop 1  a point of top-1 may go
  escc model.onnx --scheme escalate --basis 9 --planes 2 --report report.html
  escc model.onnx --emit esc | esc-opt -p canonicalize | escc - -o model.bin
  escc model.onnx --calibration c.npz --emit qdq -o small.onnx
  escc model.onnx -p "$(escc model.onnx --dump-pass-pipeline)"

exit codes: 0 done, 1 the input is at fault, 2 usage, 70 a bug of escc (a reproducer is saved)"""

if TYPE_CHECKING:
    from xdsl.passes import ModulePass

DEFAULT_TARGET = "esc1"
DEFAULT_TOLERANCE = 0.05
KINDS = ("onnx", "esc", "qdq", "bfs", "eisa", "asm", "bin")


PIPELINE_FLAGS = {
    "calibration": "calibration",
    "samples": "samples",
    "seed": "seed",
    "method": "range",
    "percentile": "percentile",
    "scheme": "scheme",
    "basis": "basis",
    "planes": "planes",
    "rate": "rate",
    "cycle_rate": "cycle_rate",
    "options": "scheme_option",
}
"""Fields of `PipelineOptions` and the arguments that give them; all but the target, which some pass always takes."""


def idle_options(args: argparse.Namespace, passes: Sequence[ModulePass]) -> list[str]:
    """Warnings of options that were given and change nothing."""
    taken = {f.name for step in passes for f in fields(step)}
    given = {f: flag_of(flag) for f, flag in PIPELINE_FLAGS.items() if getattr(args, flag) is not None}
    if args.verify_numerics:  # which takes these itself
        given = {field: flag for field, flag in given.items() if field not in ("calibration", "seed")}
    texts: list[str] = []
    idle = [flag for field, flag in given.items() if args.passes is not None or field not in taken]
    if idle:
        reason = (
            "-p gives the passes with their options"
            if args.passes is not None
            else f"no pass between {args.model} and --emit {args.emit} takes it"
        )
        texts.append(_no_effect(idle, reason))
    if "target" not in taken and args.target != DEFAULT_TARGET and args.passes is None:
        texts.append(_no_effect(["--target"], f"{args.model} names its target itself"))
    if args.tolerance != DEFAULT_TOLERANCE and not args.verify_numerics:
        texts.append(_no_effect(["--tolerance"], "it belongs to --verify-numerics"))
    if args.percentile is not None and args.range != "percentile":
        texts.append(_no_effect(["--percentile"], "it belongs to --range percentile"))
    return [text for text in texts if text]


def _no_effect(flags: Sequence[str], reason: str) -> str:
    return f"{', '.join(flags)} {'has' if len(flags) == 1 else 'have'} no effect: {reason}"


def _report_file(text: str) -> str:
    if Path(text).suffix not in (".json", ".html"):
        raise argparse.ArgumentTypeError(f"expected a file name ending in .json or .html, found '{text}'")
    return text


def make_parser() -> CommandParser:
    """The command line of `escc`."""
    parser = CommandParser("escc", DESCRIPTION, epilog=EPILOG)
    parser.add_argument(
        "model", nargs="?", metavar="MODEL", help="an .onnx or .mlir file, or - for IR text on standard input"
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="file to write, - for standard output (default: MODEL.bin in the current directory, with --emit qdq "
        "MODEL.qdq.onnx, standard output for the other kinds; example: -o out/model.bin)",
    )
    parser.add_argument(
        "--emit",
        choices=KINDS,
        default="bin",
        help="what to write: IR text of a finished level, the quantised and compressed network as an ONNX model (qdq), "
        "assembly, or the ELF binary (default: bin; example: --emit qdq)",
    )
    parser.add_argument(
        "--target",
        default=DEFAULT_TARGET,
        metavar="NAME|FILE",
        help="machine: an installed target or a .toml file (default: esc1; example: --target small.toml)",
    )
    add_input_shape(parser)
    parser.add_argument(
        "--host-fallback",
        action="store_true",
        help="leave what is unsupported at the beginning and the end of the model to the host: the binary carries it, "
        "and esc-emu runs it with onnxruntime (flag; default off)",
    )
    _add_quantisation(parser)
    _add_compression(parser)
    _add_schedule(parser)
    _add_image(parser)
    _add_inspection(parser)
    _add_information(parser)
    parser.add_common_arguments()
    parser.add_files(reads=["model", "calibration", "target"], writes=["output", "report"], streams=["model", "output"])
    return parser


def _add_quantisation(parser: CommandParser) -> None:
    group = parser.add_argument_group("quantisation")
    group.add_argument(
        "--calibration",
        metavar="DATA.npz",
        help="sample inputs [N,C,H,W], .npz or .npy: the array that is called like the input, else x, else the only "
        "one beside y (default: synthetic, with a warning; example: --calibration images.npz)",
    )
    group.add_argument(
        "--samples",
        type=positive,
        metavar="N",
        help="use at most N of the calibration inputs (integer; default: chosen by each pass; example: --samples 128)",
    )
    group.add_argument(
        "--range",
        choices=("mse", "minmax", "percentile"),
        help="how the range of an activation is chosen (default: mse; example: --range minmax)",
    )
    group.add_argument(
        "--percentile",
        type=percentile,
        metavar="P",
        help="share of the values that --range percentile keeps, in percent (number; default: 99.99; "
        "example: --percentile 99.9)",
    )
    group.add_argument(
        "--seed",
        type=natural,
        metavar="N",
        help="seed of everything random: synthetic inputs, starts of the decomposition (integer; default: 0; "
        "example: --seed 7)",
    )


def _add_compression(parser: CommandParser) -> None:
    group = parser.add_argument_group("compression")
    group.add_argument(
        "--scheme",
        type=scheme,
        metavar="NAME",
        help="dense, escalate (decompose every layer but those that would become slower without becoming smaller), "
        "auto (where it pays), or an installed scheme (default: auto; example: --scheme dense)",
    )
    group.add_argument(
        "--basis",
        type=positive,
        metavar="M",
        help="basis kernels a layer (integer; default: chosen by the scheme; example: --basis 9)",
    )
    group.add_argument(
        "--planes",
        type=positive,
        metavar="P",
        help="ternary planes over the bases (integer; default: chosen by the scheme; example: --planes 2)",
    )
    group.add_argument(
        "--scheme-option",
        action="append",
        metavar="NAME=VALUE",
        help="an option of the scheme's own, for schemes that have some; may be repeated "
        "(default: none; example: --scheme-option groups=4)",
    )
    group.add_argument(
        "--forms",
        dest="scheme_option",
        action="append",
        type=lambda text: f"forms={text}",
        metavar="NAME,...",
        help="schemes of which auto takes the best form for each layer, or all; the same as --scheme-option forms=... "
        "(default: decomposition or int8; example: --forms all)",
    )
    group.add_argument(
        "--rate",
        type=not_negative,
        metavar="R",
        help="trade accuracy for bytes: the relative error of the network's outputs that is worth saving all weights "
        "(number; default: 0 where --cycle-rate is given, else chosen by the scheme; example: --rate 0.3)",
    )
    group.add_argument(
        "--cycle-rate",
        type=not_negative,
        metavar="R",
        help="the same for cycles (number; default: 0 where --rate is given, else chosen by the scheme; "
        "example: --cycle-rate 0.1)",
    )
    budget = group.add_mutually_exclusive_group()
    budget.add_argument(
        "--max-drop",
        type=not_negative,
        metavar="POINTS",
        help="compress as far as top-1 accuracy on the calibration images drops by no more, plus one standard error; "
        "without labels y in the .npz, answers that change count (number; default: no limit; example: --max-drop 1.0)",
    )
    budget.add_argument(
        "--max-bytes",
        type=byte_count,
        metavar="N[K|M]",
        help="compress no further than the constants of the binary need to fit N bytes (default: no limit; "
        "example: --max-bytes 64K)",
    )
    budget.add_argument(
        "--max-cycles",
        type=positive,
        metavar="N",
        help="compress no further than one image needs to take N cycles (integer; default: no limit; "
        "example: --max-cycles 40000)",
    )
    budget.add_argument(
        "--max-energy",
        type=above_zero,
        metavar="UJ",
        help="compress no further than one image needs to take UJ microjoules (number; default: no limit; "
        "example: --max-energy 25)",
    )


def _add_schedule(parser: CommandParser) -> None:
    group = parser.add_argument_group("schedule")
    group.add_argument(
        "--tune",
        type=positive,
        default=1,
        metavar="N",
        help="emulate the network with each of the N best tilings of a layer by the estimate, layer by layer, and with "
        "each tensor that stays in ACT outside of it, and keep what is fastest: a few percent fewer cycles, the same "
        "results (integer; default: 1, all by the estimate; example: --tune 4)",
    )


def _add_image(parser: CommandParser) -> None:
    group = parser.add_argument_group(
        "images", "how esc-emu turns an image into an input: (pixel - mean) / std, pixels 0..255"
    )
    group.add_argument(
        "--image-mean",
        type=numbers,
        default=(),
        metavar="M,...",
        help="mean of each channel (default: unknown; example: --image-mean 123.675,116.28,103.53)",
    )
    group.add_argument(
        "--image-std",
        type=divisors,
        default=(),
        metavar="S,...",
        help="divisor of each channel (default: unknown; example: --image-std 58.395,57.12,57.375)",
    )
    group.add_argument(
        "--channel-order",
        choices=("rgb", "bgr"),
        default="",
        help="order of the input's channels (default: unknown; example: --channel-order bgr)",
    )


def _add_inspection(parser: CommandParser) -> None:
    group = parser.add_argument_group("inspection")
    group.add_argument(
        "--report",
        type=_report_file,
        action="append",
        default=[],
        metavar="FILE.{json,html}",
        help="write sizes, densities and mapping of every layer (repeatable; default: none; example: --report r.html)",
    )
    group.add_argument(
        "--verify-numerics",
        action="store_true",
        help="run one input through every level and print the deviation of every node (flag; default off)",
    )
    group.add_argument(
        "--tolerance",
        type=not_negative,
        default=DEFAULT_TOLERANCE,
        metavar="FRACTION",
        help="mean deviation from float that --verify-numerics accepts, as a share of a tensor's largest value "
        "(number; default: 0.05; example: --tolerance 0.02)",
    )
    group.add_argument(
        "-p",
        "--passes",
        metavar="PIPELINE",
        help='run these passes instead of the default pipeline (example: -p "onnx-canonicalize,onnx-legalize")',
    )
    group.add_argument(
        "--print-ir-after-all",
        action="store_true",
        help="print the IR after every pass to standard error (flag; default off)",
    )
    group.add_argument(
        "--print-ir-after",
        action="append",
        default=[],
        metavar="PASS",
        help="print the IR after this pass to standard error, large constants left out (repeatable; default: none; "
        "example: --print-ir-after=quantize)",
    )
    group.add_argument(
        "--print-ir-tree-dir",
        type=folder,
        metavar="DIR",
        help="write the whole IR after every pass to a file in DIR (default: none; example: --print-ir-tree-dir ir)",
    )
    group.add_argument(
        "--timing", action="store_true", help="print the time of every pass to standard error (flag; default off)"
    )


def _add_information(parser: CommandParser) -> None:
    group = parser.add_argument_group("information (printed on standard output, then exit)")
    group.add_argument(
        "--dump-pass-pipeline",
        action="store_true",
        help="print the pipeline that the other options give; escc -p and esc-opt -p read it",
    )
    group.add_argument("--supported-ops", action="store_true", help="list the ONNX operators and what each requires")
    group.add_argument("--list-targets", action="store_true", help="list the installed targets")
    group.add_argument("--print-target", action="store_true", help="print all parameters of --target")
