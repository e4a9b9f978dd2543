"""The script that says how long the blocks stand still between layers."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emulator.timing import DramUse, Timeline
from isa.formats import Queue, TensorFormat
from isa.program import Layer, TensorRef

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
NOTHING = TensorRef("", 0, 1, 1, 1, TensorFormat.RAW, 1, False, 1.0)


def timeline(instructions: list[tuple[Queue, int, int, int]]) -> Timeline:
    """Instructions: queue, start, end, and the one whose end allowed the start."""
    queue, start, end, binder = np.array(instructions, np.int64).T
    return Timeline(queue, start, end, binder, DramUse(0, 0, 0, 0.0), start)


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return import_module("ends")


def test_the_time_between_layers_is_that_between_their_compute_instructions(ends: Any) -> None:
    run = timeline(
        [
            (Queue.LOAD, 0, 10, -1),
            (Queue.COMPUTE, 10, 50, 0),
            (Queue.COMPUTE, 55, 60, 0),  # a pause within a layer is no end
            (Queue.POST, 60, 75, 2),  # a layer without compute instructions
            (Queue.LOAD, 60, 90, -1),
            (Queue.COMPUTE, 90, 100, 4),
            (Queue.POST, 100, 108, 5),
        ]
    )
    layers = [Layer(n, "dense", a, b, (), NOTHING) for n, a, b in (("first", 0, 3), ("pool", 3, 4), ("second", 4, 7))]
    idle = ends.idle_at_ends(layers, run)
    assert [tuple(each) for each in idle] == [("first", 0, 10), ("second", 60, 90), ("", 100, 108)]
    assert {cause: n for cause, n in ends.causes(idle, run).items() if n} == {"load": 40, "drain": 8}


def test_without_files_it_says_what_it_is_for() -> None:
    found = subprocess.run([sys.executable, BENCHMARKS / "ends.py"], capture_output=True, text=True, check=False)
    assert found.returncode == 1 and "MODEL.bin" in found.stderr
