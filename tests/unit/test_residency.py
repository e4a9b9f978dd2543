"""Tensors that stay in ACT: which ones, where they lie, what a program with a fault in that is told, and equal bits."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import chain as joined
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tile_models import MAIN, Graph, lower
from xdsl.dialects.builtin import ModuleOp
from xdsl.utils.exceptions import DiagnosticException

from dialects.bfs import ProgramOp
from dialects.eisa import to_program
from emulator.machine import Machine
from escc.irtext import make_context, parse_module, print_module
from isa.errors import UserError
from isa.formats import TensorFormat
from isa.target import load_target
from passes.layers.pool import PoolWork
from passes.tiling.bfs_module import bfs_program
from passes.tiling.geometry import ChannelMap
from passes.tiling.memory import Interval, taken_by, with_act
from passes.tiling.planning import _Planner, plan
from passes.tiling.problem import InputSource, TilingProblem
from passes.tiling.records import LayerRecord
from passes.tiling.residency import layer_cycles, tensor_lives

SPLIT = MAIN.index("lower-to-eisa")


def chain() -> ModuleOp:
    """Three convolutions, the last one with the first one's output as residual."""
    g = Graph(12, 12, 16)
    a = g.conv(g.x, 16)
    return g.module(g.conv(g.conv(a, 16), 16, residual=a))


def branches() -> ModuleOp:
    g = Graph(10, 11, 24, signed=False)
    a, b = g.conv(g.x, 24), g.pool(g.x, False, (3, 3), (1, 1), (1, 1, 1, 1))
    y = g.concat(a, b, g.add(a, b, False))
    y = g.conv(g.slice(y, (0, 0, 8), (1, 1), (10, 11, 40)), 40, groups=40)
    return g.module(g.decomposed(y, 30, 4, signed=True))


def tiled(module: ModuleOp, target: str = "esc1", stages: int = SPLIT) -> ProgramOp:
    return bfs_program(lower(module, target, MAIN[:stages]))


def residents(program: ProgramOp) -> set[str]:
    return {name for name, tensor in program.tensors.items() if tensor.resident is not None}


def test_what_is_computed_and_read_on_the_chip_stays_there() -> None:
    program = tiled(chain())
    assert residents(program) == {"t1", "t2"}
    text = str(program)
    assert text.count("bfs.load_tile") == 1 and text.count("bfs.store_tile") == 1


def test_the_density_of_inputs_does_not_depend_on_where_they_lie(tmp_path: Path) -> None:
    path = tmp_path / "small.toml"
    path.write_text('base = "esc1"\nname = "small"\n[scratchpad]\nact = 9000\n')
    found: list[list[tuple[str, float | None]]] = []
    for target in ("esc1", str(path)):
        result = Machine(to_program(lower(branches(), target, bands=False))).run_sample(stats=True)
        assert result.statistics is not None
        found.append([(d["kind"], d["input_density"]) for d in result.statistics.data["layers"]])
    for (kind, stays), (_, travels) in zip(*found, strict=True):
        if kind in ("dense", "depthwise", "escalate"):
            assert stays is not None and 0 < stays <= 1 and travels == pytest.approx(stays, abs=0.1)
        else:
            assert stays is None and travels is None


def test_nothing_stays_where_there_is_no_room(tmp_path: Path) -> None:
    path = tmp_path / "small.toml"
    path.write_text('base = "esc1"\nname = "small"\n[scratchpad]\nact = 3000\n')
    assert not residents(bfs_program(lower(chain(), str(path), MAIN[:SPLIT], bands=False)))


@pytest.mark.parametrize("model", [chain, branches])
@pytest.mark.parametrize("act", [4096, 9000, 131072])
def test_the_bits_do_not_depend_on_what_stays(model: Callable[[], ModuleOp], act: int, tmp_path: Path) -> None:
    def outputs(size: int) -> tuple[int, np.ndarray]:
        path = tmp_path / f"{size}.toml"
        path.write_text(f'base = "esc1"\nname = "sized"\n[scratchpad]\nact = {size}\n')
        program = tiled(model(), str(path))
        machine = Machine(to_program(lower(model(), str(path))))
        result = machine.run_sample(stats=True)
        assert result.statistics is not None
        stored = result.statistics.data["totals"]["dram_bytes"]["activations_out"]
        return len(residents(program)), np.array([stored, *result.outputs[0].reshape(-1)])

    (few, plain), (many, kept) = outputs(2600), outputs(act)
    assert many >= few
    np.testing.assert_array_equal(plain[1:], kept[1:])
    if many > few:
        assert kept[0] < plain[0]


def test_every_stage_with_residents_round_trips() -> None:
    for stages in range(1, SPLIT + 1):
        module = lower(branches(), passes=MAIN[:stages])
        assert residents(bfs_program(module))
        text = print_module(module)
        assert print_module(parse_module(make_context(), text, "m.mlir")) == text


# Faults ---------------------------------------------------------------------------------------------------------------


def refused(old: str, new: str, stages: int = SPLIT) -> str:
    """What a program is told in which the first match of a pattern is replaced."""
    text = print_module(lower(chain(), passes=MAIN[:stages]))
    changed = re.sub(old, new, text, count=1)
    assert changed != text
    with pytest.raises((UserError, DiagnosticException)) as caught:
        lower(parse_module(make_context(), changed, "m.mlir"), passes=MAIN[stages:])
    return str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (r"(@t2 : .* resident at) \d+", r"\1 16", "tensor @t2 at [16, 2320) of act overlaps tensor @t1 at [0, 2304)"),
        (r"(@t2 : .* resident at) \d+", r"\1 130000", "lie outside the 131072 bytes of act"),
        (r"(%act = bfs.buffer act \d+ at) \[\d+", r"\1 [0", "which is still needed"),
        (r"(@t2 : .*) resident", r"\1", "@t2 is not a resident bfs.tensor"),
        (r"(@t0 : .* raw)", r"\1 resident", "port 'x': @t0 is resident; the host reads DRAM"),
        (r"%out = bfs.resident @t2", "%out = bfs.buffer act 2304 at [100000]", "requires a bfs.resident of it"),
        (r"bfs.load_tile %act, @t0", "bfs.load_tile %act, @t1", "@t1, which is resident"),
        (r"bfs.load_tile %act, @t0", "bfs.load_tile %out, @t0", "bfs.load_tile fills @t1, which is resident"),
        (r"bfs.requant %out(, .* residual) %\w+", r"bfs.requant %out\1 %out", "reads an output tile as an input"),
        (r"bfs.conv (%\w+), %act", r"bfs.conv \1, %out", "bfs.conv reads @t1 against its role"),
        (r"bfs.requant %out", "bfs.requant %act", "writes over a tile that was loaded"),
    ],
)
def test_faults_of_residents_are_named(old: str, new: str, message: str) -> None:
    assert message in refused(old, new)


def test_a_resident_output_must_be_computed_whole() -> None:
    module = lower(chain(), passes=MAIN[:SPLIT])
    requant = next(op for op in bfs_program(module).layers[0].walk() if op.name == "bfs.requant")
    requant.detach()
    requant.erase()
    with pytest.raises(UserError, match="row 0 of the output @t1 is not stored whole"):
        lower(module, passes=MAIN[SPLIT:])


# The planner ----------------------------------------------------------------------------------------------------------


def record(output: str, *reads: str, size: int = 32, k: int = 16) -> LayerRecord:
    sources = tuple(InputSource(k, TensorFormat.RAW, ChannelMap(0, k, 0, 1), 1.0) for _ in reads)
    return LayerRecord(TilingProblem(PoolWork(), size, size, size, size, k, sources), reads, output)


def test_lives_reach_from_the_first_to_the_last_layer() -> None:
    layers = [record("a", "x"), record("b", "a"), record("c", "a"), record("d", "c")]
    assert tensor_lives(layers) == [Interval("a", 16384, 0, 2), Interval("c", 16384, 2, 3)]


def test_what_is_taken_reaches_to_the_end_of_the_highest_tensor() -> None:
    items = [Interval("a", 100, 0, 1), Interval("b", 50, 1, 2)]
    assert taken_by(items, {"a": 0, "b": 112}, 4) == [112, 176, 176, 0]


def test_outputs_and_large_tensors_do_not_stay() -> None:
    target = load_target()
    layers = [record("a", "x"), record("b", "a"), record("c", "b", size=100), record("d", "c", size=100)]
    found = plan(layers, {"b"}, target, bands=False)
    assert found.tensors == {"a"}
    assert found.taken == (16384, 16384, 0, 0)


@settings(max_examples=300, deadline=None)
@given(
    sizes=st.lists(st.sampled_from([8, 16, 24, 32, 40]), min_size=2, max_size=6),
    second=st.lists(st.integers(0, 5), min_size=6, max_size=6),
)
def test_the_cheapest_choice_of_resident_tensors_is_found(sizes: list[int], second: list[int]) -> None:
    """Tries all sets of tensors as if they lay without gaps; the plan, whose tensors have places, is not below that."""
    target = with_act(load_target(), 131072 - 40000)
    layers = [record("t0", "x", size=sizes[0])]
    for i, size in enumerate(sizes[1:], 1):
        same = [n for n in range(i - 1) if sizes[n] == sizes[i - 1] and n == second[i - 1]]
        layers.append(record(f"t{i}", f"t{i - 1}", *(f"t{n}" for n in same), size=size))
    lives = tensor_lives(layers)
    costs: dict[frozenset[str], float] = {}
    for names in joined.from_iterable(combinations(lives, n) for n in range(len(lives) + 1)):
        taken = [sum(item.nbytes for item in names if item.first <= i <= item.last) for i in range(len(layers))]
        if max(taken) < target.scratchpad.act:
            resident = frozenset(item.name for item in names)
            found = [layer_cycles(layer, resident, n, target) for layer, n in zip(layers, taken, strict=True)]
            if None not in found:
                costs[resident] = sum(n for n in found if n is not None)
    best = min(costs.values())
    assert _Planner(layers, frozenset(), target).cheapest({}).cycles == pytest.approx(best)
    assert best * (1 - 1e-9) <= plan(layers, frozenset(), target, bands=False).cycles <= costs[frozenset()]


def test_statistics_know_what_was_not_moved() -> None:
    program = to_program(lower(chain()))
    statistics = Machine(program).run_sample(stats=True).statistics
    assert statistics is not None
    dram = statistics.data["totals"]["dram_bytes"]
    assert dram["activations_in"] == dram["activations_out"] == 12 * 12 * 16
