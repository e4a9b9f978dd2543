"""`esc-emu`: run a binary on the emulated machine."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from escc.cli.common import CommandParser, run
from escc.cli.values import positive
from escc.console import Console
from escc.files import check_output, read_input, write_output
from isa.errors import UserError
from isa.text import printable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from emulator.machine import Machine
    from emulator.statistics import Statistics
    from isa.program import Port

DESCRIPTION = """\
Run a compiled model on the emulated accelerator: the same bits as the compiler's reference, and with --stats the
cycles, energy and memory traffic of every layer (docs/performance.md defines each number).

examples:
  esc-emu model.bin                                 the embedded sample
  esc-emu model.bin --input cat.jpg --stats         an image, with statistics
  esc-emu model.bin --stats-json - --trace t.json   numbers as JSON, a timeline for Perfetto
  esc-emu model.bin --eval test.npz --jobs 2        top-1 accuracy over x, y"""

_TOP = 5
_MEASURED = 4
"""Images whose statistics are averaged when there are many."""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `esc-emu`."""
    parser = CommandParser("esc-emu", DESCRIPTION)
    parser.add_argument("model", metavar="MODEL.bin", help="a binary of escc or esc-as; - reads standard input")
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--input",
        metavar="X.npy|X.npz|IMAGE",
        help="float input(s) [N,C,H,W]: .npy, .npz with key x or the names of the inputs, or an image file, which is "
        "scaled and cut to size (default: the embedded sample)",
    )
    parser.add_argument(
        "--output", metavar="Y.npy", help="write the output as .npy, several as .npz by name; not with --eval"
    )
    parser.add_argument("--stats", action="store_true", help="print a table of statistics (flag; default off)")
    parser.add_argument(
        "--stats-json", metavar="FILE", help="write the statistics as JSON; - writes them, and nothing else, to stdout"
    )
    parser.add_argument("--trace", metavar="FILE.json", help="write a timeline of the queues for Perfetto")
    source.add_argument(
        "--eval",
        metavar="DATA.npz",
        help=f"top-1 accuracy over inputs x and integer labels y; with --stats also the mean statistics of the first "
        f"{_MEASURED} images",
    )
    parser.add_argument(
        "--limit", type=positive, metavar="N", help="use only the first N images (integer; default all)"
    )
    parser.add_argument(
        "--jobs", type=positive, metavar="N", help="threads for --eval (integer; default: one for each processor)"
    )
    parser.add_common_arguments()
    parser.set_defaults(usage_error=parser.error)
    # One BLAS thread: products are small, and --eval runs batches in parallel instead. Set before NumPy loads.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    return run(parser, _body, argv)


def _body(args: argparse.Namespace) -> None:
    if args.eval and args.output:
        args.usage_error("argument --output: not allowed with argument --eval")
    for path in filter(None, (args.output, args.stats_json, args.trace)):
        check_output(path)
    from emulator.machine import Machine
    from isa.container import read_elf

    name = "stdin" if args.model == "-" else args.model
    program = read_elf(read_input(args.model), name)
    with _blame(name):
        machine = Machine(program)
    if args.eval:
        _evaluate(machine, args)
    else:
        _run(machine, args)


def _run(machine: Machine, args: argparse.Namespace) -> None:
    """Run inputs from a file, or the sample."""
    from emulator.host import quantise, split_sample

    ports = machine.program.inputs
    if args.input:
        from emulator.inputs import load_inputs

        arrays = load_inputs(args.input, ports)
        with _blame(args.input):
            stored = [quantise(p, x)[: args.limit] for p, x in zip(ports, arrays, strict=True)]
    else:
        stored = split_sample(ports, machine.program.sample)
    wanted = bool(args.stats or args.stats_json or args.trace)
    result = machine.run_stored(stored, stats=wanted and _images(stored) == 1)
    if args.output:
        _save(args.output, machine.program.outputs, result.outputs)
    if args.stats_json != "-":
        for port, y in zip(machine.program.outputs, result.outputs, strict=True):
            print("\n".join(map(printable, _describe(port, y))))
    if wanted:
        _publish(machine, [result.statistics] if result.statistics else _measure(machine, stored), args)


def _evaluate(machine: Machine, args: argparse.Namespace) -> None:
    """Top-1 accuracy over a file of inputs and labels."""
    from emulator.evaluate import check_labels, classes, predict
    from emulator.host import quantise
    from emulator.inputs import load_archive, pick

    count = classes(machine.program)
    arrays = load_archive(args.eval)
    x, y = (
        pick(arrays, args.eval, "x", "x (inputs) and y (labels)"),
        pick(arrays, args.eval, "y", "x (inputs) and y (labels)"),
    )
    port = machine.program.inputs[0]
    with _blame(args.eval):
        quantise(port, x[:1] if x.ndim else x)
    labels = check_labels(y, len(x), count, args.eval)[: args.limit]
    x = x[: args.limit]
    jobs = min(args.jobs or os.cpu_count() or 1, len(x))
    with _blame(args.eval), _progress(len(x), args.console) as advance:
        best = predict(machine, x, jobs, advance)
    right = int((best == labels).sum())
    if args.stats_json != "-":
        print(f"top-1 {100 * right / len(x):.2f} % ({right} of {len(x)})")
    if args.stats or args.stats_json or args.trace:
        _publish(machine, _measure(machine, [quantise(port, x[:_MEASURED])]), args)


def _measure(machine: Machine, stored: Sequence[NDArray[np.uint8]]) -> list[Statistics]:
    """Statistics of the first few images, one run each."""
    images = min(_MEASURED, _images(stored))
    runs = [machine.run_stored([x[i : i + 1] for x in stored], stats=True) for i in range(images)]
    return [r.statistics for r in runs if r.statistics is not None]


def _images(stored: Sequence[NDArray[np.uint8]]) -> int:
    """Number of images; a program without inputs runs once."""
    return len(stored[0]) if stored else 1


def _publish(machine: Machine, statistics: Sequence[Statistics], args: argparse.Namespace) -> None:
    """Print and write the statistics that the options ask for; the trace shows the first image."""
    from emulator.report import table
    from emulator.statistics import average
    from emulator.trace import trace
    from isa.jsonform import published

    data = statistics[0].data if len(statistics) == 1 else average([s.data for s in statistics])
    if args.stats and args.stats_json != "-":
        print(f"\n{table(data)}", end="")
    if args.stats_json:
        write_output(args.stats_json, published(data, indent=1))
    if args.trace:
        write_output(args.trace, trace(machine.program, statistics[0].timeline))


def _describe(port: Port, y: NDArray[np.float32]) -> list[str]:
    """A short readable form of an output [N, ...]."""
    import numpy as np

    flat = y.reshape(len(y), -1)
    if flat.shape[1] != max(y.shape[1:], default=0):
        shape = "x".join(map(str, y.shape))
        return [f"{port.name}: {shape}, from {flat.min():.6g} to {flat.max():.6g}, mean {flat.mean():.6g}"]
    order = np.argsort(-flat, axis=1, kind="stable")
    if len(flat) > 1:
        return [f"{port.name}[{i}]: class {k[0]}, score {flat[i, k[0]]:.6g}" for i, k in enumerate(order)]
    return [f"{port.name}: class, score", *(f"{k:>6}  {flat[0, k]:.6g}" for k in order[0, :_TOP])]


def _save(path: str, ports: Sequence[Port], outputs: Sequence[NDArray[np.float32]]) -> None:
    """Write outputs as .npy, or as .npz with the names of the ports."""
    import io
    import zipfile

    import numpy as np

    buffer = io.BytesIO()
    if path.endswith(".npz"):
        # np.savez takes the names of arrays as keywords, of which it has some itself.
        with zipfile.ZipFile(buffer, "w") as archive:
            for port, y in zip(ports, outputs, strict=True):
                member = io.BytesIO()
                np.save(member, y)
                archive.writestr(zipfile.ZipInfo(f"{printable(port.name)}.npy"), member.getvalue())
    elif len(outputs) != 1:
        raise UserError(f"{path}: the model has {len(outputs)} outputs", "give a file name ending in .npz")
    else:
        np.save(buffer, outputs[0])
    write_output(path, buffer.getvalue())


@contextmanager
def _blame(path: str) -> Generator[None]:
    """Put the name of the file before the causes of what is wrong with its contents."""
    try:
        yield
    except UserError as e:
        raise UserError([f"{path}: {cause}" for cause in e.causes], e.note) from e


@contextmanager
def _progress(total: int, console: Console) -> Generator[Callable[[int], None]]:
    """A progress bar on standard error, only on a terminal."""
    from tqdm import tqdm

    with tqdm(total=total, unit="image", disable=console.quiet or not sys.stderr.isatty()) as bar:

        def advance(images: int) -> None:
            bar.update(images)

        yield advance


if __name__ == "__main__":
    raise SystemExit(main())
