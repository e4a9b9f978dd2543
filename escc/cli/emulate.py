"""`esc-emu`: run a binary on the emulated machine."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from escc.cli.common import CommandParser, run
from escc.cli.values import positive, threads
from escc.console import Console
from escc.files import ClashError, write_output
from isa.errors import UserError
from isa.files import read_file
from isa.text import printable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from emulator.inputs import Source
    from emulator.machine import Machine, RunResult
    from emulator.statistics import Statistics
    from isa.hosted import HostPort
    from isa.program import Port

DESCRIPTION = """\
Run a compiled model on the emulated accelerator: the same bits as the compiler's reference, and with --stats the
cycles, energy and memory traffic of every layer (docs/performance.md defines each number).

examples:
  esc-emu model.bin                          the embedded sample
  esc-emu model.bin --input cat.jpg --stats  an image, with statistics
  esc-emu model.bin --stats-json -           the same numbers as JSON
  esc-emu model.bin --trace run.json         a timeline for Perfetto
  esc-emu model.bin --eval test.npz          top-1 and top-5 over x, y
  esc-emu model.bin --report run.html        charts of all that, in one file"""

_MEASURED = 4
"""As `emulator.evaluate.MEASURED`, which is too heavy for --help."""
_TOP = 5
_SHOWN = 20
"""Integers of an output that are printed one by one."""

Files: TypeAlias = "list[tuple[str, bytes | str]]"
"""What is to be written, and where."""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `esc-emu`."""
    parser = make_parser()
    # One BLAS thread: products are small, and --eval runs batches in parallel instead. Set before NumPy loads.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    return run(parser, _body, argv)


def make_parser() -> CommandParser:
    """The command line of `esc-emu`."""
    parser = CommandParser("esc-emu", DESCRIPTION)
    parser.add_argument("model", metavar="MODEL.bin", help="a binary of escc or esc-as; - reads standard input")
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--input",
        metavar="X.npy|X.npz|IMAGE",
        action="append",
        help="float input(s) [N,C,H,W], .npz or .npy: the array that is called like the input, else x, else the only "
        "one beside y; or an image file, which is scaled and cut to size; NAME=FILE gives one of "
        "several inputs, again for each (default: the embedded sample; example: --input cat.jpg)",
    )
    parser.add_argument(
        "--output",
        metavar="Y.npy",
        help="write the output as .npy, several as .npz by name, in the shape that the model declares, N images as "
        "[N,...]; not with --eval (default: none; example: --output y.npy)",
    )
    parser.add_argument(
        "--stats", action="store_true", help="print a table of statistics, 80 columns wide (flag; default off)"
    )
    parser.add_argument(
        "--wide", action="store_true", help="all columns of --stats, however long a line gets (flag; default off)"
    )
    parser.add_argument(
        "--stats-json",
        metavar="FILE",
        help="write the statistics as JSON; - writes them, and nothing else, to stdout (default: none; example: "
        "--stats-json stats.json)",
    )
    parser.add_argument(
        "--report",
        metavar="FILE.html",
        help="write the statistics as a page of charts and tables that needs no network; needs the extra escc[report] "
        "(default: none; example: --report run.html)",
    )
    parser.add_argument(
        "--trace",
        metavar="FILE.json",
        help="write a timeline of the queues for Perfetto (default: none; example: --trace run.json)",
    )
    source.add_argument(
        "--eval",
        metavar="DATA.npz",
        help="top-1 and top-5 accuracy over inputs, found as for --input, and integer labels y; with --stats also the "
        f"mean statistics of the first {_MEASURED} images (default: none; example: --eval test.npz)",
    )
    parser.add_argument(
        "--confusion",
        action="store_true",
        help="with --eval: print which classes are taken for which (flag; default off)",
    )
    parser.add_argument(
        "--limit",
        type=positive,
        metavar="N",
        help="use only the first N images (integer; default: all; example: --limit 100)",
    )
    parser.add_argument(
        "--jobs",
        type=threads,
        metavar="N",
        help="threads for --eval (integer; default: one for each processor; example: --jobs 2)",
    )
    parser.add_common_arguments()
    writes = ["output", "stats_json", "report", "trace"]
    parser.add_files(reads=["model", "input", "eval"], writes=writes, streams=["model", *writes])
    parser.set_defaults(usage_error=parser.error, check_inputs=parser.check_inputs)
    return parser


def _body(args: argparse.Namespace) -> None:
    for flag, needs in (
        ("jobs", ("eval",)),
        ("limit", ("eval", "input")),
        ("confusion", ("eval",)),
        ("wide", ("stats",)),
    ):
        if getattr(args, flag) not in (None, False) and not any(getattr(args, n) for n in needs):
            args.console.warn(f"--{flag} has no effect without {' or '.join(f'--{n}' for n in needs)}")
    if args.eval and args.output:
        args.usage_error("argument --output: not allowed with argument --eval")
    args.check_inputs(args, "input")
    from emulator.model import load

    if args.report:
        from escc.reports.vega import require

        require()  # better to learn of a missing library now than after a run
    name = "stdin" if args.model == "-" else args.model
    machine = load(read_file(args.model), name).machine
    if args.eval:
        _evaluate(machine, args)
    else:
        _run(machine, args)


def _run(machine: Machine, args: argparse.Namespace) -> None:
    """Run inputs from a file, or the sample."""
    import numpy as np

    from emulator.evaluate import InputRange, batch_size, measure
    from isa.program import Port

    program = machine.program
    wanted = _measured(args)
    if args.output and not args.output.endswith(".npz") and len(machine.outputs) != 1:
        raise UserError(
            f"{args.output}: the model has {len(machine.outputs)} outputs", "give a file name ending in .npz"
        )
    if args.input:
        source = _given(machine, args)
        images, batches = source.count, source.batches(batch_size(program))
    else:
        images, batches = 1, iter(())
    first: list[NDArray[Any]] = []
    ranges = [InputRange(port) if isinstance(port, Port) else None for port in machine.inputs]
    results: list[RunResult] = [] if args.input else [machine.run_sample(stats=wanted)]
    with _progress(images, args.console) as advance:
        for arrays in batches:
            if not first or len(first[0]) < _MEASURED:
                earlier = first or [x[:0] for x in arrays]
                first = [np.concatenate([a, x])[:_MEASURED] for a, x in zip(earlier, arrays, strict=True)]
            for given, x in zip(ranges, arrays, strict=True):
                if given is not None:
                    given.add(x)
            results.append(machine.run(arrays, stats=wanted and images == 1))
            advance(len(arrays[0]))
    for given in ranges:
        if given is not None and given.values and (fault := given.fault()):
            args.console.warn(
                f"input '{given.port.name}': {fault}: look at mean, standard deviation and channel order of the inputs"
            )
    outputs = [np.concatenate(parts) for parts in zip(*(r.outputs for r in results), strict=True)]
    files: Files = []
    if args.output:
        files.append((args.output, _arrays_file(args.output, machine.outputs, outputs)))
    lines = [printable(text) for port, y in zip(machine.outputs, outputs, strict=True) for text in _describe(port, y)]
    if wanted:
        statistics = results[0].statistics
        lines += _publish(machine, [statistics] if statistics else measure(machine, machine.stored(first)), args, files)
    _show(files, lines, args)


def _given(machine: Machine, args: argparse.Namespace) -> Source:
    """The inputs that --input names: a file for all of them, or one for each. Raises UserError."""
    from emulator.inputs import files_by_name, open_inputs, open_inputs_by_name

    ports = machine.inputs
    named = files_by_name(args.input, ports)
    try:
        for path in named.values():
            args.files.reads("--input", path)
    except ClashError as e:
        args.usage_error(e.causes[0])
    return open_inputs_by_name(named, ports, args.limit) if named else open_inputs(args.input[0], ports, args.limit)


def _evaluate(machine: Machine, args: argparse.Namespace) -> None:
    """Top-1 accuracy over a file of inputs and labels."""
    from emulator.evaluate import BLOCKS_IN_MEMORY, MEASURED, TOP, batch_size, classes, evaluate, measure
    from emulator.inputs import wanted
    from isa.arrays import open_samples

    count = classes(machine)
    samples = open_samples(args.eval, [wanted(machine.inputs[0])])
    labels = samples.classes(count, args.limit)
    images = len(labels)
    jobs = min(args.jobs or os.cpu_count() or 1, images)
    step = BLOCKS_IN_MEMORY * jobs * batch_size(machine.program)
    begin = time.perf_counter()
    with _progress(images, args.console) as advance:
        blocks = enumerate(samples.inputs[0].blocks(step, images))
        found = evaluate(machine, ((x, labels[n * step : n * step + len(x)]) for n, x in blocks), jobs, advance)
    seconds = time.perf_counter() - begin
    args.console.info(f"{images:,} images emulated in {seconds:.1f} s: {images / seconds:,.0f} images/s")
    if found.fault:
        args.console.warn(
            f"{args.eval}: the accuracy is that of guessing among {count} classes, and {found.fault}: look at mean, "
            "standard deviation and channel order of the inputs"
        )
    files: Files = []
    lines = [f"top-1 {100 * found.top1:.2f} % ({found.right} of {images})"]
    if count > TOP:
        lines.append(f"top-5 {100 * found.top5:.2f} % ({found.among_best} of {images})")
    if args.confusion:
        from emulator.confusion import confused

        lines += ["", *confused(found).shown(args.wide)]
    if _measured(args):
        first = samples.inputs[0].read(slice(min(MEASURED, images)))
        statistics = measure(machine, machine.stored([first]))
        lines += _publish(machine, statistics, args, files, found.top1)
    _show(files, lines, args)


def _measured(args: argparse.Namespace) -> bool:
    """Whether an option asks for statistics."""
    return bool(args.stats or args.stats_json or args.report or args.trace)


def _publish(
    machine: Machine,
    statistics: Sequence[Statistics],
    args: argparse.Namespace,
    files: Files,
    accuracy: float | None = None,
) -> list[str]:
    """Add the files that the options ask for, and return the lines of the table; the trace shows the first image."""
    from emulator.evaluate import mean_of
    from emulator.report import summary, table
    from emulator.trace import trace
    from isa.jsonform import published

    data = mean_of(statistics)
    if args.stats_json:
        files.append((args.stats_json, published(data, indent=1)))
    if args.report:
        from escc.reports.emulated import page

        title = "standard input" if args.model == "-" else Path(args.model).name
        files.append((args.report, page(machine.program, data, title, accuracy).html()))
    if args.trace:
        files.append((args.trace, trace(machine.program, statistics[0])))
    return ["", *table(data).shown(args.wide), "", *summary(data, args.wide)] if args.stats else []


def _show(files: Files, lines: Sequence[str], args: argparse.Namespace) -> None:
    """Write the files, now that all is known, and print the lines unless one of the files is standard output."""
    for path, data in files:
        write_output(path, data)
    if all(path != "-" for path, _ in files):
        print("\n".join(lines))


def _describe(port: Port | HostPort, y: NDArray[Any]) -> list[str]:
    """A short readable form of an output of N images, [N, ...]."""
    import numpy as np

    from isa.program import Port

    if not y.size:
        return [f"{port.name}: {'x'.join(map(str, y.shape))}, no values"]
    flat = y.reshape(len(y), -1)
    if y.dtype.kind != "f" and y.size <= _SHOWN:  # indices, counts or flags, and no scores
        return [f"{port.name}: {' '.join(map(str, y.ravel()))}"]
    if isinstance(port, Port) and port.arg_max is not None:
        return [f"{port.name}: {_shape_text(port, y)}, {_shares(flat)}"]
    if flat.shape[1] != max(y.shape[1:], default=0):
        return [
            f"{port.name}: {_shape_text(port, y)}, from {flat.min():.6g} to {flat.max():.6g}, mean {flat.mean():.6g}"
        ]
    order = np.argsort(-flat, axis=1, kind="stable")
    if len(flat) > 1:
        return [f"{port.name}[{i}]: class {k[0]}, score {flat[i, k[0]]:.6g}" for i, k in enumerate(order)]
    return [f"{port.name}: class, score", *(f"{k:>6}  {flat[0, k]:.6g}" for k in order[0, :_TOP])]


def _shape_text(port: Port | HostPort, y: NDArray[Any]) -> str:
    """The shape of an output of N images, of one image that of the model: `1x16x16`."""
    from isa.reference import declared

    return "x".join(map(str, declared(y, port.shape).shape))


def _shares(indices: NDArray[Any]) -> str:
    """How often the most frequent of many indices occur: `index 3 in 71.3 %, 0 in 28.7 %`."""
    import numpy as np

    found, counts = np.unique(indices, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    shown = [f"{found[i]} in {100 * counts[i] / indices.size:.1f} %" for i in order[:_TOP]]
    rest = [f"{len(order) - _TOP} more"] if len(order) > _TOP else []
    return "index " + ", ".join([*shown, *rest])


def _arrays_file(path: str, ports: Sequence[Port | HostPort], outputs: Sequence[NDArray[Any]]) -> bytes:
    """Outputs as .npz with the names of the ports, or the only one as .npy; of one image in the shape of the model."""
    import io

    import numpy as np

    from isa.reference import declared

    arrays = {p.name: declared(y, p.shape) for p, y in zip(ports, outputs, strict=True)}
    if path.endswith(".npz"):
        from isa.arrays import npz

        return npz(arrays)
    buffer = io.BytesIO()
    np.save(buffer, arrays[ports[0].name])
    return buffer.getvalue()


@contextmanager
def _progress(total: int, console: Console) -> Generator[Callable[[int], None]]:
    """A progress bar on standard error, only on a terminal."""
    from tqdm import tqdm

    with tqdm(total=total, unit="image", disable=total < 2 or console.quiet or not sys.stderr.isatty()) as bar:

        def advance(images: int) -> None:
            bar.update(images)

        yield advance


if __name__ == "__main__":
    raise SystemExit(main())
