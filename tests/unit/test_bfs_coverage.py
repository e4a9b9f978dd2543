"""Tiled programs with a line or a number changed: refused with one clear line, or the same results as before."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from tile_models import MAIN, Graph, lower
from xdsl.dialects.builtin import ModuleOp
from xdsl.utils.exceptions import DiagnosticException, ParseError

from dialects.eisa import to_program
from emulator.machine import Machine
from escc.irtext import make_context, parse_module, print_module
from isa.errors import UserError
from isa.program import Program

SPLIT = MAIN.index("lower-to-eisa")
SMALL = "[scratchpad]\nact = 2560\ncoef = 600\npar = 512\npsum = 512\n"
ROOMY = SMALL.replace("act = 2560", "act = 6000")
"""A machine on which tensors stay in ACT."""


def residual() -> ModuleOp:
    g = Graph(6, 7, 12)
    y = g.conv(g.x, 12, (1, 1), pads=(0, 0, 0, 0))
    y = g.conv(y, 12, groups=12, residual=y, table=True)
    return g.module(g.decomposed(y, 9, 3, residual=None, signed=True))


def branches() -> ModuleOp:
    g = Graph(6, 6, 8)
    a, b = g.lookup(g.x, True), g.lookup(g.x, True)
    y = g.slice(g.concat(a, b, g.add(a, b, True)), (0, -1, -3), (2, 1), (3, 7, 28))
    return g.module(g.pool(y, True, (2, 2), (1, 1)), g.pool(y, False, (2, 2), (1, 2)))


def window_in_parts() -> ModuleOp:
    g = Graph(12, 12, 24)
    return g.module(g.conv(g.x, 6, (9, 9), pads=(0, 0, 0, 0)))


def deep() -> ModuleOp:
    g = Graph(4, 4, 300)
    return g.module(g.conv(g.x, 6, (1, 1), pads=(0, 0, 0, 0)))


@pytest.fixture(
    scope="module",
    params=[(residual, SMALL), (branches, SMALL), (window_in_parts, SMALL), (deep, SMALL), (residual, ROOMY)],
)
def tiled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Text of a tiled, placed and packed program for a machine on which layers take several tiles."""
    build: Callable[[], ModuleOp] = request.param[0]
    path: Path = tmp_path_factory.mktemp("target") / "small.toml"
    path.write_text(f'base = "esc1"\nname = "small"\n{request.param[1]}')
    return print_module(lower(build(), str(path), MAIN[:SPLIT]))


def assembled(text: str) -> Program | None:
    """The program of a text; None if it is refused."""
    try:
        program = to_program(lower(parse_module(make_context(), text, "m.mlir"), passes=MAIN[SPLIT:]))
        Machine(program)
    except (UserError, DiagnosticException, ParseError) as e:
        assert str(e).strip()
        return None
    return program


def results(program: Program) -> list[np.ndarray]:
    return Machine(program).run_sample().outputs


def lines_to_delete(text: str) -> Iterator[int]:
    for number, line in enumerate(text.splitlines()):
        if re.match(r"\s+(bfs|%\w+ = (bfs|arith))", line) and not line.rstrip().endswith("{"):
            yield number


def test_a_program_that_lacks_a_line_is_refused_or_means_the_same(tiled: str) -> None:
    program = assembled(tiled)
    assert program is not None
    want, lines = results(program), tiled.splitlines()
    refused = 0
    for number in lines_to_delete(tiled):
        short = assembled("\n".join(lines[:number] + lines[number + 1 :]))
        if short is None:
            refused += 1
            continue
        got = results(short)
        assert len(got) == len(want), lines[number]
        for a, b in zip(got, want, strict=True):
            np.testing.assert_array_equal(a, b, lines[number])
    assert refused > 20
