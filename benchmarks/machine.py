"""Measure the machine: `python benchmarks/machine.py [ROW...]`.

Printed is the table of docs/performance.md, "The machine in figures". Each row is a network, compiled and emulated by
the commands that --commands prints. Networks of random coefficients come from benchmarks/synthetic.py, the others
from the data folder ($ESCC_DATA, else ../shared/data); rows without their data are left out. Figures are of one
image, the embedded sample; top-1 is that of the folder's test images.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from commanded import cells, table

from escc.cli.common import script

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("ESCC_DATA", ROOT / "../shared/data"))
BIN = Path(sys.executable).parent


class MachineRow(NamedTuple):
    """A network: how to make it, how to compile it, thousands of cycles on the machine before, and the goal."""

    title: str
    network: str  # of synthetic.py if there is a density, else a model of the data folder
    density: str
    options: tuple[str, ...]
    earlier: str
    goal: str
    accuracy: bool = False


_DENSE = ("--scheme", "dense")
_SIX = ("--scheme", "escalate", "--basis", "6", "--planes", "1")
_LEVELS = ("--scheme", "escalate", "--basis", "6", "--scheme-option", "levels=4", "--rate", "0.5")

ROWS: Mapping[str, MachineRow] = {
    "vgg-02": MachineRow("VGG-16 CIFAR, V=6, d=.02", "vgg16_cifar", "0.02", _DENSE, "201.9", "58"),
    "vgg-05": MachineRow("VGG-16 CIFAR, V=6, d=.05", "vgg16_cifar", "0.05", _DENSE, "202.4", "58"),
    "vgg-10": MachineRow("VGG-16 CIFAR, V=6, d=.10", "vgg16_cifar", "0.1", _DENSE, "203.2", "58"),
    "resnet18-cifar": MachineRow("ResNet-18 CIFAR, V=6, d=.05", "resnet18_cifar", "0.05", _DENSE, "224", "75, then 58"),
    "resnet18": MachineRow("ResNet-18 at 224x224, V=6, d=.05", "resnet18", "0.05", _DENSE, "660", "330"),
    "resnet20-dense": MachineRow("ResNet-20, dense", "resnet20_cifar10", "", _DENSE, "72.9", "50", True),
    "resnet20-v6": MachineRow("ResNet-20, V=6", "resnet20_cifar10", "", _SIX, "49.8", "24", True),
    "resnet20-levels": MachineRow("ResNet-20, V=6 of levels 4", "resnet20_cifar10", "", _LEVELS, "49.8", "24", True),
    "squeezenet": MachineRow("SqueezeNet, dense", "squeezenet_imagenet_pruned", "", _DENSE, "1648", "1000"),
    "mobilenetv2": MachineRow("MobileNetV2, dense", "mobilenet_v2_imagenet", "", _DENSE, "1390", "700"),
}
HEAD = ("network", "earlier, K cycles", "now", "goal", "uJ", "efficiency", "bound, K cycles", "binds", "top-1")


def commands(name: str, row: MachineRow, out: Path) -> list[list[str]]:
    """Command lines that measure a row: they leave OUT/NAME.json, and the last one prints the accuracy if asked for."""
    stem, python = out / name, sys.executable
    calibration = stem.with_suffix(".npz")
    if row.density:
        model = stem.with_suffix(".onnx")
        made = [python, str(ROOT / "benchmarks/synthetic.py"), row.network, str(model), "--bases", "6"]
        found = [[*made, "--density", row.density]]
    else:
        model = DATA / f"models/{row.network}.onnx"
        found = [[python, str(DATA / "prepare.py"), row.network, str(calibration), "--split", "calib"]]
    binary, statistics = f"{stem}.bin", f"{stem}.json"
    compile_ = [str(BIN / "escc"), str(model), "--calibration", str(calibration), *row.options, "-q", "-o", binary]
    found += [compile_, [str(BIN / "esc-emu"), binary, "--stats-json", statistics]]
    if row.accuracy:
        test = f"{stem}-test.npz"
        found += [
            [python, str(DATA / "prepare.py"), row.network, test],
            [str(BIN / "esc-emu"), binary, "--eval", test],
        ]
    return found


def measure(name: str, row: MachineRow, out: Path) -> tuple[dict[str, Any], str]:
    """Statistics of a row, and what its last command printed if that is an accuracy."""
    printed = ""
    for command in commands(name, row, out):
        printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    totals = json.loads((out / f"{name}.json").read_text())["totals"]
    return totals, printed.split("\n")[0].removeprefix("top-1").strip() if row.accuracy else ""


def line(row: MachineRow, totals: Mapping[str, Any], accuracy: str) -> str:
    """A line of the table."""
    bound = totals["lower_bound"]
    values = (
        row.title,
        row.earlier,
        f"{totals['cycles'] / 1e3:.1f}",
        row.goal,
        f"{totals['energy_uj']['total']:.1f}",
        f"{bound['efficiency']:.2f}",
        f"{bound['cycles'] / 1e3:.1f}",
        bound["binding"].replace("_", " "),
        accuracy,
    )
    return cells(values)


def measured(name: str, row: MachineRow, out: Path) -> str | None:
    """The line of a row, None where its data are missing."""
    if not row.density and not (DATA / f"models/{row.network}.onnx").exists():
        return None
    return line(row, *measure(name, row, out))


def main() -> None:
    """The command line."""
    table(__doc__, ROWS, "out/machine", HEAD, commands, measured)


if __name__ == "__main__":
    script(main)
