"""Compare patterns of sparse weights: `python benchmarks/patterns.py [ROW...]`.

Printed is the table of docs/schemes/sparse.md. Each row is ResNet-20 of the data folder ($ESCC_DATA, else
../shared/data), compiled and emulated by the commands that --commands prints. Top-1 is that of the folder's test
images; all else is of one image, the embedded sample. `conflicts` and `imbalance` are shares of the cycles that
multipliers spend gathering; `compute` are cycles in which the compute unit works.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from commanded import cells, table

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("ESCC_DATA", ROOT / "../shared/data"))
BIN = Path(sys.executable).parent
MODEL = "resnet20_cifar10"


def _at_70(scheme: str, *own: str) -> str:
    return " ".join([f"--scheme {scheme}", *(f"--scheme-option {option}" for option in ("sparsity=0.7", *own))])


ROWS: Mapping[str, str] = {
    "dense": "--scheme dense",
    "unstructured": _at_70("unstructured"),
    "unstructured-4": _at_70("unstructured", "bundle=4"),
    "unstructured-4-scatter": _at_70("unstructured", "bundle=4", "scatter=yes"),
    "gs": _at_70("gs"),
    "gs-hybrid": _at_70("gs", "orientation=hybrid"),
    "gs-horizontal": _at_70("gs", "orientation=horizontal"),
    "gs-16-banks": _at_70("gs", "banks=16"),
    "bank-balanced": _at_70("bank-balanced"),
    "patdnn": _at_70("patdnn"),
    "block-4x1": _at_70("block"),
    "block-1x16": _at_70("block", "block=1x16"),
    "gs-rate": "--scheme gs --rate 0.2",
    "gs-budget": "--scheme gs --max-drop 1",
}
"""Options of each row."""
HEAD = ("options", "top-1", "conflicts", "imbalance", "compute", "cycles", ".rodata", "uJ")


def commands(name: str, options: str, out: Path) -> list[list[str]]:
    """Command lines that measure a row: they leave OUT/NAME.json, and the last one prints the accuracy."""
    calibration, test = str(out / "calibration.npz"), str(out / "test.npz")
    stem, prepare = out / name, [sys.executable, str(DATA / "prepare.py"), MODEL]
    compile_ = [str(BIN / "escc"), str(DATA / f"models/{MODEL}.onnx"), "--calibration", calibration, *options.split()]
    emulator = [str(BIN / "esc-emu"), "-q", f"{stem}.bin"]
    return [
        [*prepare, calibration, "--split", "calib"],
        [*prepare, test],
        [*compile_, "-q", "--report", f"{stem}.report.json", "-o", f"{stem}.bin"],
        [*emulator, "--stats-json", f"{stem}.json"],
        [*emulator, "--eval", test],
    ]


def measured(name: str, options: str, out: Path) -> str | None:
    """The line of a row, None where the data folder is missing."""
    if not (DATA / f"models/{MODEL}.onnx").exists():
        return None
    printed = ""
    for command in commands(name, options, out):
        printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    totals = json.loads((out / f"{name}.json").read_text())["totals"]
    report = json.loads((out / f"{name}.report.json").read_text())["totals"]
    gather = totals["gather_cycles"]
    whole = sum(gather.values())
    lost = [f"{100 * gather[what] / whole:.1f} %" if whole else "-" for what in ("conflict", "imbalance")]
    values = (
        f"`{options}`",
        printed.split("(")[0].removeprefix("top-1").strip(),
        *lost,
        f"{totals['compute_cycles']:,}",
        f"{totals['cycles']:,}",
        f"{report['constant_bytes']:,}",
        f"{totals['energy_uj']['total']:.1f}",
    )
    return cells(values)


def main() -> None:
    """The command line."""
    table(__doc__, ROWS, "out/patterns", HEAD, commands, measured)


if __name__ == "__main__":
    main()
