"""The script that says what the banks of tensors matter: tensors in the banks that are drawn, apart, and equal bits."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
from tile_models import MAIN, Graph, lower
from xdsl.dialects.builtin import ModuleOp

from dialects.eisa import to_program
from emulator.machine import Machine
from isa.target import load_target
from passes.plan_memory import intervals
from passes.tiling.bfs_module import bfs_program

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import banks

PLACED = MAIN.index("plan-memory") + 1


def placed() -> ModuleOp:
    """A network whose tensors are too large to stay in ACT."""
    g = Graph(96, 96, 16)
    return lower(g.module(g.conv(g.conv(g.conv(g.x, 24), 24), 16)), passes=MAIN[:PLACED])


def test_tensors_begin_in_the_banks_that_are_drawn_and_lie_apart() -> None:
    module, dram = placed(), load_target().dram
    count = banks.draw_banks(module, np.random.default_rng(3))
    program = bfs_program(module)
    sizes = {item.name: item.nbytes for item in intervals(program)[0]}
    assert count == len(sizes) >= 2
    spans: list[tuple[int, int]] = []
    for name, nbytes in sizes.items():
        offset = program.stored[name].offset
        assert offset is not None and offset.value.data % dram.page_bytes == 0
        spans.append((offset.value.data, offset.value.data + nbytes))
    assert all(end <= begin for (_, end), (begin, _) in pairwise(sorted(spans)))
    assert program.arena is not None and program.arena.value.data >= max(end for _, end in spans)
    assert len({begin // dram.page_bytes % dram.banks for begin, _ in spans}) > 1


def test_the_bits_do_not_depend_on_the_banks() -> None:
    module, found = placed(), list[np.ndarray]()
    for drawn in (module.clone(), module.clone()):
        if found:
            banks.draw_banks(drawn, np.random.default_rng(3))
        machine = Machine(to_program(lower(drawn, passes=MAIN[PLACED:])))
        found.append(machine.run_sample().outputs[0])
    np.testing.assert_array_equal(found[0], found[1])


def test_the_cycles_are_those_of_the_whole_network() -> None:
    module = placed()
    statistics = Machine(to_program(lower(module, passes=MAIN[PLACED:]))).run_sample(stats=True).statistics
    assert statistics is not None
    assert banks.cycles(module) == statistics.data["totals"]["cycles"]
