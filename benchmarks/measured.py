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
class MeasuredModel:
    """`top1` as esc-emu prints it; totals of `--stats-json` and of the compiler's report; CPU seconds of escc."""

    top1: str
    totals: Mapping[str, Any]
    report: Mapping[str, Any]
    compile_seconds: float


def commands(name: str, model: str, options: str, out: Path) -> list[list[str]]:
    """Command lines that measure a model of the data folder as `measure` wants them, its images prepared first."""
    calibration, test = out / f"{model}.calibration.npz", out / f"{model}.test.npz"
    prepare = [sys.executable, str(DATA / "prepare.py"), model]
    return [
        [*prepare, str(calibration), "--split", "calib"],
        [*prepare, str(test)],
        *run_commands(out / name, DATA / f"models/{model}.onnx", calibration, test, options),
    ]


def run_commands(stem: Path, model: Path, calibration: Path, test: Path, options: str) -> list[list[str]]:
    """Command lines that leave STEM.json and STEM.report.json, of which the last one prints the accuracy."""
    compile_ = [str(BIN / "escc"), str(model), "--calibration", str(calibration), *options.split()]
    emulator = [str(BIN / "esc-emu"), "-q", f"{stem}.bin"]
    return [
        [*compile_, "-q", "--report", f"{stem}.report.json", "-o", f"{stem}.bin"],
        [*emulator, "--stats-json", f"{stem}.json"],
        [*emulator, "--eval", str(test)],
    ]


def measure(stem: Path, lines: Sequence[Sequence[str]], limit_s: float | None = None) -> MeasuredModel:
    """What the command lines, of which the last ones are those of `run_commands`, find.

    Raises subprocess.TimeoutExpired if one takes more than `limit_s` seconds, CalledProcessError if one fails.
    """
    printed, seconds = "", dict[str, float]()
    for line in lines:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        printed = subprocess.run(line, check=True, stdout=subprocess.PIPE, text=True, timeout=limit_s).stdout
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds[Path(line[0]).name] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return MeasuredModel(
        printed.split("(")[0].removeprefix("top-1").strip(),
        json.loads(Path(f"{stem}.json").read_text())["totals"],
        json.loads(Path(f"{stem}.report.json").read_text())["totals"],
        seconds["escc"],
    )
