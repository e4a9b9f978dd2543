"""A model of the data folder, compiled and emulated by commands, and what they print and write."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("ESCC_DATA", ROOT / "../shared/data"))
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Measured:
    """`top1` as esc-emu prints it; totals of `--stats-json` and of the compiler's report; CPU seconds of escc."""

    top1: str
    totals: Mapping[str, Any]
    report: Mapping[str, Any]
    compile_seconds: float


def commands(name: str, model: str, options: str, out: Path) -> list[list[str]]:
    """Command lines that measure a model: they leave OUT/NAME.json, and the last one prints the accuracy."""
    calibration, test = str(out / f"{model}.calibration.npz"), str(out / f"{model}.test.npz")
    stem, prepare = out / name, [sys.executable, str(DATA / "prepare.py"), model]
    compile_ = [str(BIN / "escc"), str(DATA / f"models/{model}.onnx"), "--calibration", calibration, *options.split()]
    emulator = [str(BIN / "esc-emu"), "-q", f"{stem}.bin"]
    return [
        [*prepare, calibration, "--split", "calib"],
        [*prepare, test],
        [*compile_, "-q", "--report", f"{stem}.report.json", "-o", f"{stem}.bin"],
        [*emulator, "--stats-json", f"{stem}.json"],
        [*emulator, "--eval", test],
    ]


def measure(name: str, model: str, lines: Sequence[Sequence[str]], out: Path) -> Measured | None:
    """What the `lines` of `commands` find; None where the data folder does not have the model."""
    if not (DATA / f"models/{model}.onnx").exists():
        return None
    printed, seconds = "", {}
    for line in lines:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        printed = subprocess.run(line, check=True, stdout=subprocess.PIPE, text=True).stdout
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds[Path(line[0]).name] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Measured(
        printed.split("(")[0].removeprefix("top-1").strip(),
        json.loads((out / f"{name}.json").read_text())["totals"],
        json.loads((out / f"{name}.report.json").read_text())["totals"],
        seconds["escc"],
    )
