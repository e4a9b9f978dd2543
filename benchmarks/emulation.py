"""How many times slower emulation is than running the network: `python benchmarks/emulation.py [ROW...]`.

Emulation is one image with full statistics, in process, of a loaded binary, on one thread; the peer is onnxruntime on
one image in float32, on one thread. Both are measured in turn, as processor time, so that other programs on the machine
matter little; each time with another random image. The ratio is that of the medians. The goal is 30 for light networks
and 10 for ResNet-18 and ResNet-50. A row is printed as soon as it is measured. Its binary is compiled before, once,
which takes most of the time and is told on standard error; --keep FOLDER finds it there again. Networks of the data
folder ($ESCC_DATA, else ../shared/data) are left out where it is not.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from run import BIN, DATA, ROOT, calibration, onnxruntime_call

from escc.cli.common import script


class EmulationRow(NamedTuple):
    """A network: the file, or the arguments of benchmarks/synthetic.py; options of `escc`; the most it may take."""

    source: Path | tuple[str, ...]
    options: tuple[str, ...]
    goal: int


ROWS = {
    "resnet20": EmulationRow(DATA / "models/resnet20_cifar10.onnx", ("--scheme", "dense"), 30),
    "resnet20-v6": EmulationRow(DATA / "models/resnet20_cifar10.onnx", ("--scheme", "escalate"), 30),
    "resnet20-v6-ternary": EmulationRow(
        DATA / "models/resnet20_cifar10.onnx", ("--scheme", "escalate", "--basis", "6", "--planes", "1"), 30
    ),
    "squeezenet": EmulationRow(DATA / "models/squeezenet_imagenet_pruned.onnx", ("--scheme", "dense"), 30),
    "mobilenet-v2": EmulationRow(DATA / "models/mobilenet_v2_imagenet.onnx", ("--scheme", "dense"), 30),
    "resnet18": EmulationRow(("resnet18", "--bases", "0"), ("--scheme", "dense"), 10),
    "resnet18-v6": EmulationRow(("resnet18", "--bases", "6"), ("--scheme", "dense"), 10),
    "resnet50": EmulationRow(("resnet50", "--bases", "0"), ("--scheme", "dense"), 10),
}
HEAD = ("row", "emulation ms", "onnxruntime ms", "ratio", "goal")


def compiled(name: str, row: EmulationRow, folder: Path) -> tuple[Path, Path]:
    """The network and its binary, which is compiled unless it lies in the folder."""
    start = time.monotonic()
    model, binary = folder / f"{name}.onnx", folder / f"{name}.bin"
    if not binary.exists():
        print(f"{name}: compiling", file=sys.stderr, flush=True)
    if isinstance(row.source, Path):
        model = row.source
    elif not model.exists():
        made = [sys.executable, str(ROOT / "benchmarks/synthetic.py"), row.source[0], str(model), *row.source[1:]]
        subprocess.run(made, check=True)
    if not binary.exists():
        options = [*row.options, *calibration(model, folder), "-q"]
        subprocess.run([str(BIN / "escc"), str(model), "-o", str(binary), *options], check=True)
        print(f"{name}: compiled in {time.monotonic() - start:.0f} s, measuring", file=sys.stderr, flush=True)
    return model, binary


def in_turn(ours: Callable[[], object], peer: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Median seconds of processor time of both, which run once more before; the peer ten times for each of ours."""
    times: tuple[list[float], list[float]] = ([], [])
    for repeat in range(repeats + 1):
        for run, found, count in ((ours, times[0], 1), (peer, times[1], 10)):
            for _ in range(count):
                start = time.process_time()
                run()
                if repeat:
                    found.append(time.process_time() - start)
    return statistics.median(times[0]), statistics.median(times[1])


def measure(model: Path, binary: Path, repeats: int) -> tuple[float, float]:
    """Seconds of an emulation and of a run of onnxruntime."""
    import numpy as np

    from emulator.model import load

    loaded, rng = load(binary), np.random.default_rng(0)
    shape = loaded.inputs[0].shape
    return in_turn(
        lambda: loaded.stats(rng.standard_normal(shape, dtype=np.float32)), onnxruntime_call(model, 1), repeats
    )


def line(name: str, seconds: tuple[float, float], goal: int) -> str:
    """A line of the table."""
    cells = (f"{seconds[0] * 1e3:.1f}", f"{seconds[1] * 1e3:.3f}", f"{seconds[0] / seconds[1]:.1f}", f"{goal}")
    return f"{name:16}" + "".join(f"{cell:>16}" for cell in cells)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)} (default: all)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--keep", type=Path, help="folder of the binaries (default: one that is removed)")
    args = parser.parse_args()
    if unknown := [name for name in args.rows if name not in ROWS]:
        parser.error(f"unknown row '{unknown[0]}'; requires one of {', '.join(ROWS)}")
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # before NumPy is loaded
    print(f"{HEAD[0]:16}" + "".join(f"{head:>16}" for head in HEAD[1:]), flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder: Path = args.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        for name in args.rows or ROWS:
            row = ROWS[name]
            if isinstance(row.source, Path) and not row.source.exists():
                print(f"{name:16}  left out: {row.source} is not there", flush=True)
                continue
            print(line(name, measure(*compiled(name, row, folder), args.repeats), row.goal), flush=True)


if __name__ == "__main__":
    script(main)
