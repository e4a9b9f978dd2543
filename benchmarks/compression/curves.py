"""Accuracy against bytes: measure models at many rates of compression, plot and tabulate what came out.

    python benchmarks/compression/curves.py measure [MODEL...]   compile, run all test images, append the points
    python benchmarks/compression/curves.py trained FILE.onnx --model MODEL --label TEXT
    python benchmarks/compression/curves.py plot                 docs/compression.svg
    python benchmarks/compression/curves.py table                the points as text
    python benchmarks/compression/curves.py layers REPORT.json   packed sizes of the layers, from `escc --report`

Models and images are those of the data folder ($ESCC_DATA, else ../shared/data). Points are kept in
docs/data/compression.jsonl, one JSON object a line; those that are there are not measured again, so that a run that was
stopped goes on where it was. Fields of a point:

model, options          the network, and the options of `escc` beside --calibration; a trained one has `label` instead
bytes, compression      of .rodata; float32 bytes of the original weights / bytes
top1, float_top1        shares in percent of the test images, by the emulator and of the original by onnxruntime
drop, drop_error        points of top-1 lost, and the standard error of that difference over the images
images, calibration     test images; calibration images that the decomposition saw
seconds, cpu_seconds    of the compilation: wall clock, and of all threads together
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from escc.cli.common import script

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("ESCC_DATA", ROOT / "../shared/data"))
BIN = Path(sys.executable).parent
POINTS = ROOT / "docs/data/compression.jsonl"
PLOT = ROOT / "docs/compression.svg"

Point = dict[str, Any]


@dataclass(frozen=True)
class Study:
    """What is measured of a model: rates, and other options of escc."""

    title: str
    rates: tuple[float, ...]
    others: tuple[str, ...]

    @property
    def options(self) -> list[str]:
        """Options of escc, one text a point."""
        return [*(f"--rate {rate:g}" for rate in self.rates), *self.others]


_CIFAR_RATES = (0.03, 0.1, 0.2, 0.4, 0.7, 1, 1.5, 2.5, 5)
_PLANES = ("--scheme dense", "--scheme escalate --basis 9 --planes 1", "--scheme escalate --basis 9 --planes 2")
STUDIES = {
    "resnet20_cifar10": Study("ResNet-20, CIFAR-10", _CIFAR_RATES, (*_PLANES, "--scheme auto --max-drop 1")),
    "resnet8_cifar10": Study("ResNet-8, CIFAR-10", _CIFAR_RATES, (*_PLANES, "--scheme auto --max-drop 1")),
    "mobilenet_v2_imagenet": Study(
        "MobileNetV2, ImageNet", (0.05, 0.1, 0.2, 0.4), ("--scheme dense", "--scheme auto --max-drop 2")
    ),
}


# Points ---------------------------------------------------------------------------------------------------------------


def load(path: Path) -> list[Point]:
    """The points of a file; none if it does not exist."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def key(point: Point) -> tuple[str, str]:
    """What a point is the only one of."""
    return point["model"], point.get("label") or point["options"]


def add(path: Path, point: Point) -> None:
    """Write a point, in place of one with the same key; the file is sorted."""
    from isa.files import write_atomic

    kept = {key(p): p for p in load(path)}
    kept[key(point)] = point
    ordered = sorted(kept.values(), key=lambda p: (p["model"], "label" in p, p["compression"], key(p)))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, "".join(json.dumps(p) + "\n" for p in ordered))


# Measuring ------------------------------------------------------------------------------------------------------------


def prepared(model: str, split: str, scratch: Path) -> Path:
    """Images of the data folder in the input domain of a model."""
    path = scratch / f"{model}.{split}.npz"
    if not path.exists():
        command = [sys.executable, str(DATA / "prepare.py"), model, str(path), "--split", split]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return path


def float_answers(model: Path, x: NDArray[np.float32]) -> NDArray[np.int64]:
    """Class that onnxruntime gives every image."""
    import onnxruntime as ort

    session = ort.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    free = not isinstance(session.get_inputs()[0].shape[0], int)
    step = 64 if free else 1
    parts = [session.run(None, {name: x[n : n + step]})[0] for n in range(0, len(x), step)]
    return np.concatenate([np.asarray(p).reshape(-1, np.asarray(p).shape[-1]).argmax(axis=1) for p in parts])


def compile_binary(arguments: Sequence[str], binary: Path) -> dict[str, Any]:
    """Run escc; returns its times."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([str(BIN / "escc"), *arguments, "-q", "-o", str(binary)], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": round(time.perf_counter() - start, 1), "cpu_seconds": round(cpu, 1)}


def evaluate(binary: Path, original: Path, test: Path) -> Point:
    """Bytes and accuracy of a binary, against the original network on the same images."""
    from emulator.evaluate import predict
    from emulator.machine import Machine
    from isa.container import read_elf

    program = read_elf(binary.read_bytes())
    with np.load(test) as archive:
        x, y = archive["x"], archive["y"]
    before = float_answers(original, x) == y
    now = predict(Machine(program), x, os.cpu_count() or 1) == y
    lost = 100.0 * (before.astype(np.float64) - now)
    return {
        "bytes": len(program.rodata),
        "compression": round(4 * program.original_weights / len(program.rodata), 3),
        "top1": round(100 * float(now.mean()), 2),
        "float_top1": round(100 * float(before.mean()), 2),
        "drop": round(float(lost.mean()), 3),
        "drop_error": round(float(lost.std()) / math.sqrt(len(lost)), 3),
        "images": len(y),
    }


def measure(model: str, options: str, scratch: Path) -> Point:
    """Compile a model of the data folder with some options, and evaluate it."""
    from passes.decompose_conv import DecomposeConvPass

    source = DATA / f"models/{model}.onnx"
    calibration = prepared(model, "calib", scratch)
    with np.load(calibration) as archive:
        images = min(len(archive["y"]), DecomposeConvPass.samples)
    binary = scratch / "model.bin"
    times = compile_binary([str(source), "--calibration", str(calibration), *shlex.split(options)], binary)
    found = evaluate(binary, source, prepared(model, "test", scratch))
    return {"model": model, "options": options, **found, "calibration": images, **times}


def measure_all(models: Sequence[str], options: Sequence[str], again: bool, path: Path, scratch: Path) -> None:
    """Measure the points of models, those of all options where none are given; points that are there, only `again`."""
    known = set[tuple[str, str]]() if again else {key(p) for p in load(path)}
    for model in models:
        for text in options or STUDIES[model].options:
            if (model, text) in known:
                continue
            point = measure(model, text, scratch)
            add(path, point)
            print(describe(point), flush=True)


def describe(point: Point) -> str:
    """A point as a line of text."""
    return (
        f"{point['model']} {point.get('label') or point['options']}: {point['bytes']:,} bytes, "
        f"{point['compression']:.1f}x, top-1 {point['top1']:.2f} % "
        f"({point['drop']:+.2f} +- {point['drop_error']:.2f} points lost), {point['seconds']:.0f} s"
    )


def add_trained(args: argparse.Namespace, scratch: Path) -> None:
    """Evaluate a compressed ONNX file."""
    original = args.original or DATA / f"models/{args.model}.onnx"
    test = args.test or prepared(args.model, "test", scratch)
    binary = scratch / "model.bin"
    times = compile_binary([str(args.file)], binary)
    point = {"model": args.model, "label": args.label, **evaluate(binary, original, test), **times}
    add(args.points, point)
    print(describe(point))


# Showing --------------------------------------------------------------------------------------------------------------


def table(points: Sequence[Point]) -> str:
    """Points as lines of text, models after one another."""
    lines = [f"{'options':42} {'.rodata':>9} {'compression':>11} {'top-1 %':>8} {'points lost':>14} {'CPU s':>6}"]
    for model in dict.fromkeys(p["model"] for p in points):
        mine = _of(points, model)
        lines += ["", f"{model}: float {mine[0]['float_top1']:.2f} % of {mine[0]['images']:,} images"]
        for p in mine:
            lost = f"{p['drop']:.2f} +- {p['drop_error']:.2f}"
            cpu = "-" if "label" in p else f"{p['cpu_seconds']:.0f}"
            lines.append(
                f"{p.get('label') or p['options']:42} {p['bytes']:>9,} {p['compression']:>10.1f}x {p['top1']:>8.2f} "
                f"{lost:>14} {cpu:>6}"
            )
    return "\n".join(lines)


def layer_table(report: Path) -> str:
    """Packed coefficients or weights beside what an ideal code needs, from `escc --report FILE.json`."""
    data = json.loads(report.read_text())
    lines = [f"{'layer':28} {'kind':9} {'density':>7} {'bits/weight':>11} {'packed':>8} {'entropy':>8} {'ratio':>6}"]
    for x in data["layers"]:
        if x["coefficient_entropy_bytes"]:
            bound = x["coefficient_entropy_bytes"]
            lines.append(
                f"{x['name']:28} {x['kind']:9} {x['density']:>7.2f} {x['bits_per_weight']:>11.2f} "
                f"{x['coefficient_bytes']:>8,} {bound:>8,.0f} {x['coefficient_bytes'] / bound:>6.2f}"
            )
    t = data["totals"]
    lines.append(
        f"all constants: {t['constant_bytes']:,} bytes, {t['compression']:.1f}x, {t['bits_per_weight']:.2f} bits/weight"
    )
    return "\n".join(lines)


_KINDS = (
    ("post-training, by rate", "o", "#1f6feb", lambda p: p.get("options", "").startswith("--rate")),
    ("dense, 8 bits", "s", "#57606a", lambda p: p.get("options") == "--scheme dense"),
    ("9 bases, 1 and 2 planes", "^", "#bf5700", lambda p: "escalate" in p.get("options", "")),
    ("found by --max-drop", "D", "#8250df", lambda p: "--max-drop" in p.get("options", "")),
    ("trained", "*", "#1a7f37", lambda p: "label" in p),
)
_LARGEST_DROP = 12.0


def plot(points: Sequence[Point], path: Path) -> None:
    """Draw accuracy lost against compression, one panel a model. Equal points give equal bytes."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    plt.rcParams.update({"svg.hashsalt": "escc", "svg.fonttype": "none", "font.size": 9, "axes.spines.top": False})
    plt.rcParams.update({"axes.spines.right": False, "axes.axisbelow": True})
    models = [m for m in (*STUDIES, *sorted({p["model"] for p in points} - set(STUDIES))) if _of(points, m)]
    figure, panels = plt.subplots(1, len(models), figsize=(4.0 * len(models), 3.7), sharey=True, squeeze=False)
    drawn: dict[str, Any] = {}
    for axes, model in zip(panels[0], models, strict=True):
        mine = _of(points, model)
        for name, marker, colour, fits in _KINDS:
            some = sorted((p for p in mine if fits(p)), key=lambda p: p["compression"])
            if not some:
                continue
            x, y, e = (np.array([p[k] for p in some]) for k in ("compression", "drop", "drop_error"))
            if marker == "o":
                axes.fill_between(x, y - e, y + e, color=colour, alpha=0.2, linewidth=0)
                drawn[name] = axes.plot(x, y, color=colour, marker=marker, markersize=4, linewidth=1.4)[0]
            else:
                size = 9 if marker == "*" else 5.5
                style = {"fmt": marker, "color": colour, "markersize": size, "elinewidth": 1, "capsize": 2}
                drawn[name] = axes.errorbar(x, y, e, **style)
        ticks = [
            t for t in (2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 30, 40, 60, 80, 100, 150, 200, 300, 400, 600) if _in(t, mine)
        ]
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator(ticks))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}x"))
        axes.axhline(0, color="#57606a", linewidth=0.8)
        axes.grid(color="#d0d7de", linewidth=0.6)
        title = STUDIES[model].title if model in STUDIES else model
        axes.set_title(f"{title}: {mine[0]['float_top1']:.1f} % of {mine[0]['images']:,} images", fontsize=9)
    figure.supxlabel("compression: float32 bytes of all weights / bytes of .rodata", y=0.085, fontsize=9)
    low = min((p["drop"] - p["drop_error"] for p in points), default=0.0)
    panels[0][0].set_ylim(_LARGEST_DROP, min(low, 0.0) - 0.3)
    panels[0][0].set_ylabel("points of top-1 lost (down is worse)")
    names = [name for name, *_ in _KINDS if name in drawn]
    figure.legend([drawn[n] for n in names], names, loc="lower center", ncols=len(names), frameon=False)
    figure.tight_layout(rect=(0, 0.03, 1, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, facecolor="white", dpi=110)
    plt.close(figure)


def _of(points: Sequence[Point], model: str) -> list[Point]:
    return [p for p in points if p["model"] == model]


def _in(tick: float, points: Sequence[Point]) -> bool:
    """Whether a tick lies within the shown points."""
    shown = [p["compression"] for p in points if p["drop"] <= _LARGEST_DROP]
    return bool(shown) and min(shown) * 0.95 <= tick <= max(shown) * 1.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=Path, default=POINTS, help="file of the points (default: docs/data/...)")
    commands = parser.add_subparsers(dest="command", required=True)
    measuring = commands.add_parser("measure", help="measure points that are not there yet")
    measuring.add_argument("models", nargs="*", metavar="MODEL", help=f"of {', '.join(STUDIES)} (default: all)")
    measuring.add_argument(
        "--options", action="append", default=[], help="measure only this point, e.g. '--rate 0.3'; repeatable"
    )
    measuring.add_argument("--again", action="store_true", help="measure points that are there too")
    training = commands.add_parser("trained", help="add a compressed ONNX file")
    training.add_argument("file", type=Path, metavar="FILE.onnx")
    training.add_argument("--model", required=True, help="what it was made from")
    training.add_argument("--label", required=True, help="text that says how")
    training.add_argument("--original", type=Path, help="the float ONNX model (default: MODEL of the data folder)")
    training.add_argument("--test", type=Path, help=".npz of x and y (default: test images of the data folder)")
    plotting = commands.add_parser("plot", help="draw docs/compression.svg")
    plotting.add_argument("-o", "--output", type=Path, default=PLOT, help="SVG or PNG file")
    commands.add_parser("table", help="print the points")
    layering = commands.add_parser("layers", help="print the packed sizes of the layers of a report")
    layering.add_argument("report", type=Path, metavar="REPORT.json")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if args.command == "measure":
            unknown = sorted(set(args.models) - set(STUDIES))
            if unknown:
                parser.error(f"unknown models: {', '.join(unknown)}; choose from {', '.join(STUDIES)}")
            measure_all(args.models or list(STUDIES), args.options, args.again, args.points, Path(folder))
        elif args.command == "trained":
            add_trained(args, Path(folder))
        elif args.command == "plot":
            plot(load(args.points), args.output)
        elif args.command == "table":
            print(table(load(args.points)))
        else:
            print(layer_table(args.report))


if __name__ == "__main__":
    script(main)
