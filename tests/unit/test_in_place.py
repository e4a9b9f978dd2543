"""Tensors that are computed in the place of an operand, or of the input of a depthwise convolution: which ones, equal
bits, and faults.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tile_models import MAIN, Graph, lower
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue
from xdsl.utils.exceptions import DiagnosticException

from dialects.bfs import ProgramOp
from dialects.eisa import to_program
from dialects.interpreters.run import main_function, run_module
from emulator.machine import Machine
from escc.irtext import make_context, parse_module, print_module
from isa.errors import UserError
from isa.target import load_target
from passes.tile_basis_first import PlannedFunction
from passes.tiling.bfs_module import bfs_program
from passes.tiling.memory import Interval, in_one_place, plan_arena
from passes.tiling.search import ranked

PLACED = MAIN.index("plan-memory") + 1
TILED = MAIN.index("tile-basis-first")
SPLIT = MAIN.index("lower-to-eisa")


def blocks() -> ModuleOp:
    """Two blocks with residuals, and an addition: t3 is the first sum, t5 the second one, and t6 that of t5 and t4."""
    g = Graph(12, 12, 16)
    a = g.conv(g.x, 16)
    b = g.conv(g.conv(a, 16), 16, residual=a)
    c = g.conv(b, 16)
    d = g.conv(c, 16, residual=b)
    return g.module(g.conv(g.add(d, c, False), 8))


def read_later() -> ModuleOp:
    """The operand of the first addition is read once more."""
    g = Graph(12, 12, 16)
    a = g.conv(g.x, 16)
    b = g.conv(g.conv(a, 16), 16, residual=a)
    return g.module(g.conv(g.add(g.conv(b, 16), a, False), 8))


def squared() -> ModuleOp:
    """A convolution that reads through windows what it adds."""
    g = Graph(40, 40, 16)
    a = g.conv(g.x, 16)
    return g.module(g.conv(g.conv(a, 16, residual=a), 8))


def stage() -> ModuleOp:
    """Decomposed blocks whose inner tensors have no room beside the others on the small machine."""
    g = Graph(24, 14, 8)
    a = g.conv(g.x, 16)
    for _ in range(2):
        inner: SSAValue = g.decomposed(a, 16, 4)
        a = g.decomposed(inner, 16, 4, residual=a)
    return g.module(g.conv(a, 8, strides=(2, 2)))


def depthwise(second: str = "") -> ModuleOp:
    """A depthwise convolution of 72 channels: plain, with a `table` behind it, with its own input as `residual`, or
    with an input that a `later` layer reads.
    """
    g = Graph(14, 14, 16)
    a = g.conv(g.x, 72, (1, 1), pads=(0, 0, 0, 0))
    table, residual = second == "table", a if second == "residual" else None
    b = g.conv(a, 72, groups=72, table=table, residual=residual)
    if second == "later":
        b = g.add(g.conv(b, 72, groups=72), a, False)
    return g.module(g.conv(b, 16, (1, 1), pads=(0, 0, 0, 0)))


def strided() -> ModuleOp:
    """Depthwise convolutions of other extents, or with several outputs for an input channel."""
    g = Graph(14, 14, 16)
    a = g.conv(g.conv(g.x, 36, (1, 1), pads=(0, 0, 0, 0)), 36, strides=(2, 2), groups=36)
    return g.module(g.conv(g.conv(a, 72, groups=36), 16))


@pytest.fixture(scope="session")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A machine with room for one of the wide tensors of `depthwise`, and for tiles of 20 of its channels."""
    path: Path = tmp_path_factory.mktemp("targets") / "narrow.toml"
    path.write_text('base = "esc1"\nname = "narrow"\n[scratchpad]\nact = 20000\npsum = 16384\n')
    return str(path)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A machine with room for one of the tensors of `stage` and for rows of another one."""
    path: Path = tmp_path_factory.mktemp("targets") / "small.toml"
    path.write_text('base = "esc1"\nname = "small"\n[scratchpad]\nact = 10000\n')
    return str(path)


def placed(module: ModuleOp, target: str = "esc1") -> ProgramOp:
    return bfs_program(lower(module, target, MAIN[:PLACED]))


def assert_equal_bits(model: Callable[[], ModuleOp], target: str) -> None:
    program = to_program(lower(model(), target))
    low, high = (-128, 128) if program.inputs[0].tensor.signed else (0, 256)
    x = np.random.default_rng(1).integers(low, high, (2, *program.inputs[0].shape[1:])).astype(np.float32)
    for want, got in zip(run_module(model(), [x]), Machine(program).run([x]).outputs, strict=True):
        np.testing.assert_array_equal(want, got)


def test_a_sum_lies_where_its_last_operand_did() -> None:
    program = placed(blocks())
    assert program.over == {"t3": "t1", "t5": "t3", "t6": "t4"}
    places = [program.tensors[name].offset for name in ("t1", "t3", "t5")]
    assert len({None if place is None else place.value.data for place in places}) == 1


def test_an_operand_that_is_read_later_or_through_windows_keeps_its_place() -> None:
    assert placed(read_later()).over == {"t5": "t1"}
    assert not placed(squared()).over


@pytest.mark.parametrize("model", [blocks, read_later, squared])
def test_the_bits_are_those_of_the_interpreter(model: Callable[[], ModuleOp]) -> None:
    assert_equal_bits(model, "esc1")


def test_the_last_layer_of_bands_computes_over_what_the_layers_before_have_read(small: str) -> None:
    program = placed(stage(), small)
    assert program.over == {"t3": "t1", "t5": "t3"}
    together = [group for group in program.groups if len(group) > 1]
    assert [[layer.output.string_value() for layer in group] for group in together] == [["t2", "t3"], ["t4", "t5"]]
    assert_equal_bits(stage, small)


@pytest.mark.parametrize("second", ["", "table"])
def test_a_depthwise_convolution_lies_where_its_input_did_if_there_is_no_room_for_both(
    second: str, narrow: str
) -> None:
    program = placed(depthwise(second), narrow)
    assert program.over == {"t2": "t1"}
    assert program.tensors["t1"].offset == program.tensors["t2"].offset
    assert_equal_bits(lambda: depthwise(second), narrow)


def test_a_channel_is_read_whole_before_it_is_written(narrow: str) -> None:
    """Also where partial sums have room for sixteen channels of a row, or for one of all rows."""
    planned = PlannedFunction(main_function(lower(depthwise(), narrow, MAIN[:TILED])), load_target(narrow))
    p, machine = planned.tiled().posed["t2"]
    few = replace(machine, scratchpad=replace(machine.scratchpad, psum=1024))
    assert p.in_place
    assert {(t.rows, t.columns, t.psum_rows, t.psum_channels) for _, t in ranked(p, few)} == {(14, 14, 14, 1)}
    assert min(t.psum_rows for _, t in ranked(replace(p, in_place=False), few)) == 1


@pytest.mark.parametrize("second", ["residual", "later"])
def test_what_is_read_twice_is_not_computed_over(second: str, narrow: str) -> None:
    assert "t2" not in placed(depthwise(second), narrow).over
    assert_equal_bits(lambda: depthwise(second), narrow)


def test_a_depthwise_convolution_of_other_extents_or_channels_has_its_own_place(narrow: str) -> None:
    assert not placed(strided(), narrow).over
    assert_equal_bits(strided, narrow)


def test_every_stage_round_trips() -> None:
    for stages in range(1, SPLIT + 1):
        text = print_module(lower(blocks(), passes=MAIN[:stages]))
        assert " over @t1" in text
        assert print_module(parse_module(make_context(), text, "m.mlir")) == text


def test_tensors_in_one_place_have_the_room_of_one() -> None:
    items = [Interval("a", 64, 0, 2), Interval("b", 64, 2, 4), Interval("c", 64, 4, 5), Interval("d", 32, 1, 3)]
    over = {"b": "a", "c": "b", "d": "elsewhere"}
    assert in_one_place(items, over)["c"] == Interval("a", 64, 0, 5)
    offsets, total = plan_arena(items, 16, over)
    assert offsets["a"] == offsets["b"] == offsets["c"] and total == 96


# Faults ---------------------------------------------------------------------------------------------------------------


def refused(model: Callable[[], ModuleOp], old: str, new: str, stages: int = PLACED) -> str:
    """What a program is told in which the first match of a pattern is replaced."""
    text = print_module(lower(model(), passes=MAIN[:stages]))
    changed = re.sub(old, new, text, count=1)
    assert changed != text
    with pytest.raises((UserError, DiagnosticException)) as caught:
        lower(parse_module(make_context(), changed, "m.mlir"), passes=MAIN[stages:])
    return str(caught.value)


def test_a_tensor_that_is_still_needed_is_not_computed_over() -> None:
    found = refused(read_later, r"(@t3 : \S+ \S+ \S+ raw resident) at \d+", r"\1 over @t1 at 0")
    assert "tensor @t3: is computed over @t1, which group 4 of the layers needs last" in found


def test_only_a_resident_tensor_of_the_same_extents_is_computed_over() -> None:
    assert "@t0 is no resident tensor of its extents" in refused(blocks, "over @t1", "over @t0")


def test_a_tensor_in_dram_is_computed_over_none() -> None:
    assert "requires a resident tensor" in refused(blocks, r"(@t7 : .*?) at", r"\1 over @t1 at")


def test_another_place_that_overlaps_is_told() -> None:
    found = refused(blocks, r"over @t1 at \d+", "over @t1 at 16")
    assert "of act overlaps" in found


def test_a_tile_that_reads_what_has_been_computed_over_is_told() -> None:
    at = r"(@t1 : \S+ \S+ \S+ raw resident at )(\d+)(.*\n.*@t2 : \S+ \S+ \S+ raw resident) at \d+"
    found = refused(squared, at, r"\1\2\3 over @t1 at \2", SPLIT)
    assert "reads bytes of a resident tensor over which the layer has computed its output" in found


def test_tiles_of_some_rows_are_not_computed_over_their_input(narrow: str) -> None:
    over = r"(@t1 : \S+ \S+ \S+ raw resident at )(\d+)(.*\n.*@t2 : \S+ \S+ \S+ raw resident) at \d+"
    found = refused(depthwise, over, r"\1\2\3 over @t1 at \2", SPLIT)
    assert "reads bytes of a resident tensor over which the layer has computed its output" in found
