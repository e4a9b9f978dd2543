"""Ratios to accelerators of the literature on wide networks: `python benchmarks/literature.py [ROW...]`.

Printed is the table of docs/comparison.md, "Wide networks". A network of random coefficients (benchmarks/synthetic.py)
runs on our machine as it is. The same layers with random dense weights run on an Eyeriss, and with weights of which one
in ten is not zero on a SparTen. `esc-compare` takes all three; --commands prints what is run.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from commanded import cells, table

from escc.cli.common import script

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent


class LiteratureRow(NamedTuple):
    """A network of synthetic.py, and the density of its coefficients."""

    title: str
    network: str
    density: str


DENSE, SPARSE = "eyeriss", "sparten"
KEPT = "0.1"
"""Share of the weights that the sparse machine is given."""
ROWS: Mapping[str, LiteratureRow] = {
    "vgg-02": LiteratureRow("VGG-16 CIFAR, V=6, d=.02", "vgg16_cifar", "0.02"),
    "vgg-05": LiteratureRow("VGG-16 CIFAR, V=6, d=.05", "vgg16_cifar", "0.05"),
    "vgg-10": LiteratureRow("VGG-16 CIFAR, V=6, d=.10", "vgg16_cifar", "0.1"),
    "resnet18-cifar": LiteratureRow("ResNet-18 CIFAR, V=6, d=.05", "resnet18_cifar", "0.05"),
}
HEAD = (
    "network", f"ours, {DENSE}, {SPARSE}: K cycles", "uJ",
    f"latency over {DENSE}", f"over {SPARSE}", f"energy over {DENSE}", f"over {SPARSE}",
)  # fmt: skip
GOALS = ("published, other machine", "", "", "17.9", "2.16", "8.3", "3.77")
"""What the paper states of its own machine, networks and baselines."""


def commands(name: str, row: LiteratureRow, out: Path) -> list[list[str]]:
    """Command lines that leave OUT/NAME.json."""
    stem, generate = out / name, [sys.executable, str(ROOT / "benchmarks/synthetic.py"), row.network]
    model, data, binary = f"{stem}.onnx", f"{stem}.npz", f"{stem}.bin"
    dense, sparse = f"{stem}-dense.onnx", f"{stem}-sparse.onnx"
    return [
        [*generate, model, "--bases", "6", "--density", row.density],
        [*generate, dense, "--bases", "0"],
        [*generate, sparse, "--bases", "0", "--kept", KEPT],
        [str(BIN / "escc"), model, "--calibration", data, "--scheme", "dense", "-q", "-o", binary],
        [
            str(BIN / "esc-compare"), dense, binary, "--schemes", "none", "--data", data, "--calibration", data,
            "--machines", f"{DENSE},{SPARSE}", "--sparse-model", sparse, "-q", "--json", f"{stem}.json",
        ],
    ]  # fmt: skip


def measure(name: str, row: LiteratureRow, out: Path) -> dict[str, Any]:
    """The comparison of a row, as `esc-compare --json` writes it."""
    for command in commands(name, row, out):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return json.loads((out / f"{name}.json").read_text())


def line(row: LiteratureRow, comparison: Mapping[str, Any]) -> str:
    """A line of the table."""
    totals = {system["name"]: system["total"] for system in comparison["networks"][0]["systems"]}
    ours, *theirs = (next(t for n, t in totals.items() if fits(n)) for fits in (_is_ours, DENSE.__eq__, SPARSE.__eq__))
    cycles = [total["cycles"] for total in (ours, *theirs)]
    energy = [sum(part["value"] for part in total["energy_uj"]) for total in (ours, *theirs)]
    ratios = [f"{value / values[0]:.2f}" for values in (cycles, energy) for value in values[1:]]
    values = (row.title, ", ".join(f"{c / 1e3:.1f}" for c in cycles), ", ".join(f"{e:.1f}" for e in energy), *ratios)
    return cells(values)


def _is_ours(name: str) -> bool:
    return name not in (DENSE, SPARSE)


def measured(name: str, row: LiteratureRow, out: Path) -> str:
    """The line of a row."""
    return line(row, measure(name, row, out))


def main() -> None:
    """The command line."""
    table(__doc__, ROWS, "out/literature", HEAD, commands, measured, GOALS)


if __name__ == "__main__":
    script(main)
