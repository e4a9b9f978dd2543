"""Overlapping tiles of whole rows lie in a ring: no row is loaded twice, and the bits stay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tile_models import Graph, lower
from xdsl.dialects.builtin import ModuleOp

from dialects.eisa import to_program
from dialects.interpreters.run import run_module
from emulator.machine import Machine
from isa.program import Program
from passes.tiling.geometry import Span
from passes.tiling.layer_to_instructions import BufferState, HeldRegion


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A machine whose ACT holds a few rows of the tensors here."""
    path: Path = tmp_path_factory.mktemp("targets") / "small.toml"
    path.write_text('base = "esc1"\nname = "small"\n[scratchpad]\nact = 4000\n')
    return str(path)


def network(kind: str) -> ModuleOp:
    g = Graph(23, 12, 16)
    layers = {
        "dense": lambda: g.conv(g.x, 16),
        "strided": lambda: g.conv(g.x, 16, (5, 3), (2, 1), (2, 1, 2, 1)),
        "depthwise": lambda: g.conv(g.x, 16, groups=16),
        "decomposed": lambda: g.decomposed(g.x, 16, 4),
        "pool": lambda: g.pool(g.x, False, (3, 3), (2, 2), (1, 1, 1, 1)),
    }
    return g.module(layers[kind]())


def loaded_rows(program: Program) -> list[int]:
    """The rows that the loads of activations bring in, in order."""
    loads = [i.values for i in program.instructions if i.spec.mnemonic == "load.act"]
    return [row for v in loads for row in range(v["y"], v["y"] + v["h"])]


@pytest.mark.parametrize("kind", ["dense", "strided", "depthwise", "decomposed", "pool"])
def test_every_row_is_loaded_once(kind: str, small: str) -> None:
    module = network(kind)
    program = to_program(lower(module, small, bands=False))
    rows = loaded_rows(program)
    assert rows == list(range(len(rows))) and len(rows) >= 22
    stores = [i for i in program.instructions if i.spec.mnemonic == "store.act"]
    assert len(stores) > 2  # or the tiles would not overlap
    x = np.random.default_rng(1).integers(-128, 128, (2, 16, 23, 12)).astype(np.float32)
    for want, got in zip(run_module(module, [x]), Machine(program).run([x]).outputs, strict=True):
        np.testing.assert_array_equal(want, got)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 9), st.integers(1, 2), st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9)), max_size=12))
def test_a_ring_holds_the_rows_that_are_wanted(rows: int, instances: int, wanted: list[tuple[int, int]]) -> None:
    """Whatever the order of the regions, row y of a tensor is at place y % ring when it is read."""
    state = BufferState("act", 16 * rows, tuple(16 * rows * i for i in range(instances)))
    ring, memory, loads = rows * instances, dict[int, int](), 0
    for first, extent in wanted:
        y = Span(first, min(extent, ring))
        pieces = state.roll(HeldRegion("t", y, Span(0, 4), c=Span(0, 4), strides=(4, 4), ring=ring))
        for address, span in pieces:
            assert address % 16 == 0 and address + 16 * span.extent <= 16 * ring
            memory |= {address // 16 + i: span.first + i for i in range(span.extent)}
            loads += span.extent
        assert state.address == 0
        assert all(memory[row % ring] == row for row in range(y.first, y.end))
    assert loads <= sum(min(extent, ring) for _, extent in wanted)
