"""Time compiler and emulator against onnxruntime on the same machine: `python benchmarks/run.py [MODEL.onnx...]`.

Models default to three networks of the data folder ($ESCC_DATA, else ../shared/data), our ResNet-8, and ResNet-18 at
224x224 with random weights (benchmarks/synthetic.py), dense and decomposed. Times are wall clock, the median of
--repeats runs after one that warms caches. Printed for each model:

compile        `escc MODEL -o model.bin --scheme dense --calibration IMAGES`, the whole process (128 images of the data
               folder; calibration.npz beside our own model)
emulate        `esc-emu model.bin --stats`: one image with full statistics, the whole process
first image    the same inside a running process: the binary is read, checked, run and measured
each image     what each further image of the loaded binary costs, with full statistics
onnxruntime    one image, float, --threads threads: the peer
x ort          each image / onnxruntime: how many times slower a cycle-level run is than running the network itself

The goal is 30 for light networks and 10 for ResNet-18, with one thread each: the emulator runs an image on one.
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

from escc.cli.common import script

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("ESCC_DATA", ROOT / "../shared/data"))
BIN = Path(sys.executable).parent


def median_seconds(run: Callable[[], object], repeats: int) -> float:
    """Median wall-clock time of `run`, which runs once more before the clock starts."""
    run()
    times: list[float] = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def command(*args: str) -> Callable[[], object]:
    """A call of one of our command lines, output discarded."""
    return lambda: subprocess.run([str(BIN / args[0]), *args[1:]], check=True, stdout=subprocess.DEVNULL)


def calibration(model: Path, scratch: Path) -> list[str]:
    """Options that calibrate a model: a file beside it, else images of the data folder for a model of that folder."""
    for beside in (model.with_suffix(".npz"), model.with_name("calibration.npz")):
        if beside.exists():
            return ["--calibration", str(beside)]
    if model.resolve().parent != (DATA / "models").resolve():
        return []
    images = scratch / f"{model.stem}.npz"
    command = [sys.executable, str(DATA / "prepare.py"), model.stem, str(images), "--split", "calib", "--limit", "128"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return ["--calibration", str(images)]


def in_process(binary: Path) -> tuple[Callable[[], object], Callable[[], object]]:
    """Two calls that measure the embedded sample: of a binary that is read for it, and of one that is loaded."""
    from emulator.model import load

    return lambda: load(binary).stats(), load(binary).stats


def random_networks(folder: Path) -> list[Path]:
    """ResNet-18 at 224x224 with float and with decomposed layers, each beside its images."""
    made: list[Path] = []
    for name, bases in (("resnet18_dense", "0"), ("resnet18_decomposed", "6")):
        made.append(folder / f"{name}.onnx")
        synthetic = [sys.executable, str(ROOT / "benchmarks/synthetic.py"), "resnet18", str(made[-1]), "--bases", bases]
        subprocess.run(synthetic, check=True, stdout=subprocess.DEVNULL)
    return made


def onnxruntime_call(model: Path, threads: int) -> Callable[[], object]:
    """One float image through onnxruntime; symbolic dimensions are 1."""
    import numpy as np
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    feed = {
        i.name: rng.standard_normal([d if isinstance(d, int) else 1 for d in i.shape], dtype=np.float32)
        for i in session.get_inputs()
    }
    return lambda: session.run(None, feed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path, help="ONNX files (default: see above)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="of onnxruntime (default: 1)")
    parser.add_argument("--scheme", default="dense", help="compression scheme to compile with (default: dense)")
    args = parser.parse_args()
    shared = ("resnet20_cifar10", "mobilenet_v2_imagenet", "squeezenet_imagenet_pruned")
    defaults = [*(DATA / f"models/{name}.onnx" for name in shared), ROOT / "examples/models/resnet8_cifar10.onnx"]
    models: list[Path] = args.models or [m for m in defaults if m.exists()]
    head = ("model", "compile s", "emulate s", "first image s", "each image s", "onnxruntime ms", "x ort")
    print(f"{head[0]:28}" + "".join(f"{h:>16}" for h in head[1:]))
    with tempfile.TemporaryDirectory() as scratch:
        for model in models if args.models else [*models, *random_networks(Path(scratch))]:
            binary = Path(scratch) / f"{model.stem}.bin"
            options = ["--scheme", args.scheme, *calibration(model, Path(scratch)), "-q"]
            compile_s = median_seconds(command("escc", str(model), "-o", str(binary), *options), args.repeats)
            emulate_s = median_seconds(command("esc-emu", str(binary), "--stats"), args.repeats)
            first_s, each_s = (median_seconds(run, args.repeats) for run in in_process(binary))
            peer_s = median_seconds(onnxruntime_call(model, args.threads), max(20, args.repeats))
            print(
                f"{model.stem:28}{compile_s:16.2f}{emulate_s:16.2f}{first_s:16.3f}{each_s:16.3f}{peer_s * 1e3:16.3f}"
                f"{each_s / peer_s:16.1f}",
                flush=True,
            )


if __name__ == "__main__":
    script(main)
