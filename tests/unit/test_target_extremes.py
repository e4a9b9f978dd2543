"""Every number of a target at both ends of its range: a program is refused in one line, or runs with finite figures."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from tile_models import Graph, lower

from dialects.eisa import to_program
from emulator.machine import Machine
from isa.container import read_elf, write_elf
from isa.errors import UserError
from isa.program import Program
from isa.target import load_target, parse_target

ESC1 = load_target("esc1")
SHAPE = (
    "scratchpad.",
    "array.chunk",
    "array.ic_bits",
    "array.coefficient_registers",
    "dram.tREFI",
    "dram.tRFCab",
    "isa_version",
)
"""What a program is compiled for, and what other numbers limit."""


@pytest.fixture(scope="module")
def program() -> Program:
    """Layers on every unit of the machine."""
    g = Graph(9, 9, 20)
    x = g.decomposed(g.x, 40, 5)
    y = g.conv(x, 40, groups=40, table=True)
    z = g.conv(x, 40, (1, 1), pads=(0, 0, 0, 0), residual=y)
    return to_program(lower(g.module(g.pool(z, True, (2, 2), (1, 1)))))


def parameters() -> Iterator[tuple[int, str, tuple[str, str]]]:
    """Line, name and the ends of the range of every number."""
    table = ""
    for number, line in enumerate(ESC1.annotated.splitlines()):
        if line.startswith("["):
            table = f"{line[1:-1]}."
        elif found := re.match(r"(\w+) = \S+  # (\S+)\.\.(\d+)[ :]", line):
            yield number, table + found[1], (found[2], found[3])


def run(program: Program, lines: list[str]) -> None:
    changed = read_elf(write_elf(replace(program, target=parse_target("\n".join(lines)))))
    statistics = Machine(changed).run_sample(stats=True).statistics
    assert statistics is not None and statistics.data["totals"]["cycles"] > 0
    json.dumps(statistics.data, allow_nan=False)


def test_one_number_at_an_end_of_its_range(program: Program) -> None:
    ran = 0
    for number, name, ends in parameters():
        for end in ends:
            lines = ESC1.text.splitlines()
            lines[number] = f"{name.rpartition('.')[2]} = {end}"
            try:
                run(program, lines)
                ran += 1
            except UserError as e:
                assert name.startswith((*SHAPE, "array.blocks", "dram.burst", "dram.page")), e
    assert ran > 90


@pytest.mark.parametrize("which", [0, 1])
def test_all_numbers_at_an_end_of_their_ranges(program: Program, which: int) -> None:
    lines = ESC1.text.splitlines()
    for number, name, ends in parameters():
        if not name.startswith((*SHAPE, "array.blocks" if which == 0 else "none")):
            lines[number] = f"{name.rpartition('.')[2]} = {ends[which]}"
    run(program, lines)
