"""Time compiler and emulator against onnxruntime on the same machine: `python benchmarks/run.py [MODEL.onnx...]`.

Models default to three networks of the data folder ($ESCC_DATA, else ../shared/data) and to our ResNet-8. Times are
wall clock, the median of --repeats runs after one that warms caches. Printed for each model:

compile        `escc MODEL -o model.bin --scheme dense --calibration IMAGES`, the whole process (128 images of the data
               folder; calibration.npz beside our own model)
emulate        `esc-emu model.bin --stats`: one image with full statistics, the whole process
emulate, warm  the same inside a running process: what each further image costs
onnxruntime    one image, float, --threads threads: the peer
x ort          emulate, warm / onnxruntime: how many times slower a cycle-level run is than running the network itself
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
    """Options that calibrate a model: the file beside it, else images of the data folder for a model of that folder."""
    beside = model.with_name("calibration.npz")
    if beside.exists():
        return ["--calibration", str(beside)]
    if model.resolve().parent != (DATA / "models").resolve():
        return []
    images = scratch / f"{model.stem}.npz"
    command = [sys.executable, str(DATA / "prepare.py"), model.stem, str(images), "--split", "calib", "--limit", "128"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return ["--calibration", str(images)]


def in_process(binary: Path) -> Callable[[], object]:
    """`esc-emu BINARY --stats` inside this process, output discarded."""
    import contextlib
    import io

    from escc.cli.emulate import main as emulate

    def once() -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            code = emulate([str(binary), "--stats"])
        if code:
            raise SystemExit(f"error: esc-emu {binary.name} --stats ended with exit code {code}")

    return once


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
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of onnxruntime (default: all)")
    parser.add_argument("--scheme", default="dense", help="compression scheme to compile with (default: dense)")
    args = parser.parse_args()
    shared = ("resnet20_cifar10", "mobilenet_v2_imagenet", "squeezenet_imagenet_pruned")
    defaults = [*(DATA / f"models/{name}.onnx" for name in shared), ROOT / "examples/models/resnet8_cifar10.onnx"]
    models: list[Path] = args.models or [m for m in defaults if m.exists()]
    head = ("model", "compile s", "emulate s", "emulate, warm s", "onnxruntime ms", "x ort")
    print(f"{head[0]:24}" + "".join(f"{h:>17}" for h in head[1:]))
    with tempfile.TemporaryDirectory() as scratch:
        for model in models:
            binary = Path(scratch) / f"{model.stem}.bin"
            options = ["--scheme", args.scheme, *calibration(model, Path(scratch)), "-q"]
            compile_s = median_seconds(command("escc", str(model), "-o", str(binary), *options), args.repeats)
            emulate_s = median_seconds(command("esc-emu", str(binary), "--stats"), args.repeats)
            warm_s = median_seconds(in_process(binary), args.repeats)
            peer_s = median_seconds(onnxruntime_call(model, args.threads), max(20, args.repeats))
            print(
                f"{model.stem:24}{compile_s:17.2f}{emulate_s:17.2f}{warm_s:17.3f}{peer_s * 1e3:17.3f}"
                f"{warm_s / peer_s:17.1f}"
            )


if __name__ == "__main__":
    main()
