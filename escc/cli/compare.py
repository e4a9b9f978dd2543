"""`esc-compare`: our schemes and the accelerators of the literature side by side, on the same tensors."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from escc.cli.common import EXIT_OK, CommandParser, run
from escc.cli.values import above_zero, add_input_shape, machines, natural, not_negative, positive, schemes
from escc.console import Console
from escc.files import write_output

if TYPE_CHECKING:
    from escc.compare.figures import Comparison
    from escc.compare.run import Request

DESCRIPTION = """\
Compare a network on our accelerator with the accelerators of the literature: the same activations, the same DRAM, clock
and event energies; for machines that gain from zeros, weights pruned at equal accuracy (docs/comparison.md).

examples:
  esc-compare model.onnx --data test.npz --calibration train.npz
  esc-compare model.onnx --data test.npz --schemes dense,escalate:basis=6
  esc-compare model.onnx model.bin --data test.npz --sparse-model pruned.onnx
  esc-compare --diff before.json after.json  which layers changed, and why"""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `esc-compare`."""
    parser = make_parser()
    return run(parser, lambda args: _body(parser, args), argv)


def make_parser() -> CommandParser:
    """The command line of `esc-compare`."""
    parser = CommandParser("esc-compare", DESCRIPTION)
    parser.add_argument(
        "models",
        nargs="*",
        metavar="MODEL",
        help="networks as .onnx files; binaries of escc beside a network, or alone without any baseline",
    )
    parser.add_argument(
        "--diff",
        nargs=2,
        metavar=("A.json", "B.json"),
        help="instead: what changed between two files of --json, or of esc-emu --stats-json (example: "
        "--diff a.json b.json)",
    )
    parser.add_argument(
        "--json",
        metavar="FILE",
        help="write everything as JSON; - writes it to stdout, and no table (default: none; example: --json c.json)",
    )
    parser.add_argument(
        "--report",
        metavar="FILE.html",
        help="write a page of charts and tables that needs no network; needs the extra escc[report] (default: none; "
        "example: --report c.html)",
    )
    parser.add_argument(
        "--wide", action="store_true", help="all columns of the tables, however long a line gets (flag; default off)"
    )
    parser.add_argument("--list-machines", action="store_true", help="list the installed baselines (flag; default off)")
    add_input_shape(parser)
    _add_data(parser)
    _add_sides(parser)
    parser.add_common_arguments()
    parser.add_files(
        reads=["models", "data", "calibration", "sparse_model", "diff", "target"],
        writes=["json", "report"],
        streams=["models", "json", "report"],
    )
    return parser


def _add_data(parser: CommandParser) -> None:
    group = parser.add_argument_group("data")
    group.add_argument(
        "--data",
        metavar="X.npz",
        action="append",
        default=[],
        help="float inputs [N,C,H,W] and, for accuracies, labels y; once, or once for each network in their order "
        "(required; example: --data test.npz)",
    )
    group.add_argument(
        "--calibration",
        metavar="X.npz",
        action="append",
        default=[],
        help="inputs for quantising, compressing and pruning; once, or once for each network (default: --data, with a "
        "warning; example: --calibration train.npz)",
    )
    group.add_argument(
        "--samples",
        type=positive,
        default=256,
        metavar="N",
        help="calibration inputs at most (integer; default: 256; example: --samples 128)",
    )
    group.add_argument(
        "--images",
        type=positive,
        default=4,
        metavar="N",
        help="images to time, the first ones (integer; default: 4; example: --images 1)",
    )
    group.add_argument(
        "--limit",
        type=positive,
        default=1024,
        metavar="N",
        help="images to classify at most (integer; default: 1024; example: --limit 200)",
    )
    group.add_argument(
        "--seed", type=natural, default=0, metavar="N", help="seed (integer; default: 0; example: --seed 7)"
    )


def _add_sides(parser: CommandParser) -> None:
    ours = parser.add_argument_group("our side")
    ours.add_argument(
        "--schemes",
        type=schemes,
        default="dense,auto",
        metavar="A,B,...",
        help="compression schemes, each with options such as escalate:basis=6:planes=1, auto:rate=0.1:cycle-rate=0.1; "
        "none where only binaries are compared (default: dense,auto; example: --schemes dense)",
    )
    ours.add_argument(
        "--target",
        default="esc1",
        metavar="NAME|FILE",
        help="machine: an installed target or a .toml file; its DRAM, clock and energies are those of the "
        "baselines too (default: esc1; example: --target small.toml)",
    )
    theirs = parser.add_argument_group("baselines")
    theirs.add_argument(
        "--machines",
        type=machines,
        metavar="A,B,...",
        help="installed baselines, none for our side alone (default: the standard ones, see --list-machines; example: "
        "--machines eyeriss)",
    )
    weights = theirs.add_mutually_exclusive_group()
    weights.add_argument(
        "--sparse-model",
        metavar="PRUNED.onnx",
        help="weights of the sparse machines as they are (default: pruned here; example: --sparse-model p.onnx)",
    )
    weights.add_argument(
        "--max-drop",
        type=not_negative,
        default=1.0,
        metavar="POINTS",
        help="top-1 that pruning may lose on the data (number; default: 1; example: --max-drop 0.5)",
    )
    weights.add_argument(
        "--sparse-price",
        type=above_zero,
        metavar="P",
        help="prune at this price instead of searching one; a comparison names the price that it found (number; "
        "default: none; example: --sparse-price 0.7)",
    )


def _body(parser: CommandParser, args: argparse.Namespace) -> int:
    if args.list_machines:
        _list_machines()
        return EXIT_OK
    if args.diff:
        if args.models:
            parser.error("argument --diff: takes no model")
        if others := parser.changed(args, "json", "report", "data", *_OF_NETWORKS, *_OF_BASELINES):
            parser.error(f"argument --diff: prints what differs in two files alone; goes without {', '.join(others)}")
        parser.check_inputs(args)
        from escc.compare.diff import difference

        print("\n".join(difference(*args.diff)))
        return EXIT_OK
    if not args.models:
        parser.error("the following argument is required: MODEL")
    if not args.data:
        parser.error("the following argument is required: --data")
    parser.check_inputs(args)
    _compare(parser, args)
    return EXIT_OK


_OF_BASELINES = ("machines", "sparse_model", "max_drop", "sparse_price")
_OF_NETWORKS = ("schemes", "calibration", "samples", "seed", "target")
"""Options that binaries alone have no use for; `_OF_BASELINES` likewise."""


def _idle(parser: CommandParser, args: argparse.Namespace, networks: bool) -> str:
    """A warning of options that were given and change nothing; empty if there are none."""
    if networks and args.machines != ():
        return ""
    names = _OF_BASELINES[1:] if networks else (*_OF_NETWORKS, *_OF_BASELINES)
    flags = parser.changed(args, *(name for name in names if getattr(args, name) != ()))
    reason = "no baseline is compared" if networks else "binaries alone are compared"
    return f"{', '.join(flags)} {'has' if len(flags) == 1 else 'have'} no effect: {reason}" if flags else ""


def _compare(parser: CommandParser, args: argparse.Namespace) -> None:
    from emulator.tables import TextTable
    from escc.compare.run import compare, networks_of
    from escc.compare.tables import lines_of
    from isa.jsonform import published

    console: Console = args.console
    if args.report:
        from escc.reports.vega import require

        require()  # better to learn of a missing library now than after minutes
    networks = bool(networks_of(args.models))
    if idle := _idle(parser, args, networks):
        console.warn(idle)
    if not args.calibration and networks:
        console.warn("no --calibration: networks are quantised and pruned on the very images that are classified")
    found = compare(_request(args), console.step)
    console.progress("")
    page = _page(found) if args.report else None
    if args.json:
        write_output(args.json, published(found, indent=1))
    if page is not None:
        write_output(args.report, page)
    if "-" not in (args.json, args.report):
        print("\n".join(lines_of(found, args.wide, TextTable.shown)))


def _page(found: Comparison) -> str:
    from escc.reports.compared import page

    return page(found).html()


def _request(args: argparse.Namespace) -> Request:
    from escc.compare.network import CompareSettings
    from escc.compare.run import ComparedScheme, Request

    return Request(
        tuple(args.models),
        tuple(args.data),
        tuple(args.calibration),
        tuple(ComparedScheme(*scheme) for scheme in args.schemes),
        args.machines,
        args.sparse_model,
        args.max_drop,
        args.sparse_price,
        CompareSettings(args.target, "", args.samples, args.seed, args.images, args.limit, dict(args.input_shape)),
    )


def _list_machines() -> None:
    from escc.baselines.machine import BaselineMachine
    from escc.baselines.registry import installed, load_baseline

    for name in installed():
        baseline = load_baseline(name)
        size = ""
        if isinstance(baseline, BaselineMachine):
            memory = f"{baseline.memory_bytes / 1024:.0f} KiB"
            size = f"; {baseline.multipliers} multipliers, {memory}, {baseline.weights} weights"
        print(f"{name:20}{'*' if baseline.standard else ' '} {baseline.description}{size}")


if __name__ == "__main__":
    raise SystemExit(main())
