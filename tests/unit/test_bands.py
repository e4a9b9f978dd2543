"""Layers side by side in bands of rows: which ones, equal bits, rings of rows, and what a fault in them is told."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tile_models import MAIN, Draw, Graph, lower
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue
from xdsl.utils.exceptions import DiagnosticException

from dialects.bfs import BandsOp, ProgramOp
from dialects.eisa import to_program
from dialects.esc import shape_of
from dialects.interpreters.run import run_module
from emulator.machine import Machine
from escc.irtext import make_context, parse_module, print_module
from isa.errors import UserError
from isa.formats import TensorFormat
from isa.program import Program
from isa.target import Target, load_target
from passes.layers.pool import PoolWork
from passes.tiling import planning
from passes.tiling.bands import Segment, segments
from passes.tiling.bfs_module import bfs_program
from passes.tiling.geometry import ChannelMap, steps, window_span
from passes.tiling.problem import InputSource, TilingProblem
from passes.tiling.records import LayerRecord

SPLIT = MAIN.index("lower-to-eisa")


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A machine whose ACT holds a few rows of the tensors here."""
    path: Path = tmp_path_factory.mktemp("targets") / "small.toml"
    path.write_text('base = "esc1"\nname = "small"\n[scratchpad]\nact = 6000\n')
    return str(path)


def block() -> ModuleOp:
    """Expand, depthwise with stride, project; then the same without stride and with a residual."""
    g = Graph(20, 12, 8)
    x = g.conv(g.x, 40, (1, 1), pads=(0, 0, 0, 0))
    x = g.conv(x, 40, strides=(2, 2), groups=40)
    a = g.conv(x, 16, (1, 1), pads=(0, 0, 0, 0), signed=True)
    x = g.conv(a, 64, (1, 1), pads=(0, 0, 0, 0))
    x = g.conv(x, 64, groups=64)
    return g.module(g.conv(x, 16, (1, 1), pads=(0, 0, 0, 0), signed=True, residual=a))


def stage() -> ModuleOp:
    """A stem with pooling, then decomposed layers with a residual."""
    g = Graph(24, 14, 3)
    x = g.pool(g.conv(g.x, 16), False, (3, 3), (2, 2), (1, 1, 1, 1))
    y = g.decomposed(x, 16, 4)
    return g.module(g.decomposed(y, 16, 4, residual=x))


def tiled(module: ModuleOp, target: str, stages: int = SPLIT) -> ProgramOp:
    return bfs_program(lower(module, target, MAIN[:stages]))


def bands(program: ProgramOp) -> list[BandsOp]:
    return [op for op in program.body.block.ops if isinstance(op, BandsOp)]


def assert_equal_bits(module: ModuleOp, program: Program) -> None:
    """What the interpreter computes, the machine computes, for two random inputs."""
    port = program.inputs[0]
    random = np.random.default_rng(1)
    low, high = (-128, 128) if port.tensor.signed else (0, 256)
    x = random.integers(low, high, (2, *port.shape[1:])).astype(np.float32)
    for want, got in zip(run_module(module, [x]), Machine(program).run([x]).outputs, strict=True):
        np.testing.assert_array_equal(want, got)


@pytest.mark.parametrize("model", [block, stage])
def test_layers_side_by_side_compute_the_same_and_move_less(model, small: str) -> None:
    moved: list[int] = []
    for together in (False, True):
        program = to_program(lower(model(), small, bands=together))
        assert_equal_bits(model(), program)
        result = Machine(program).run_sample(stats=True).statistics
        assert result is not None
        moved.append(sum(result.data["totals"]["dram_bytes"][f"activations_{way}"] for way in ("in", "out")))
    assert bands(tiled(model(), small))
    assert moved[1] < 0.8 * moved[0]


def wide() -> ModuleOp:
    """Expand, depthwise, project, with tensors that do not fit ACT."""
    g = Graph(64, 56, 16)
    x = g.conv(g.conv(g.x, 96, (1, 1), pads=(0, 0, 0, 0)), 96, groups=96)
    return g.module(g.conv(x, 16, (1, 1), pads=(0, 0, 0, 0)))


def test_bands_are_chosen_where_they_are_faster_as_emulated() -> None:
    """On tensors that do not fit, the layers side by side take fewer cycles and less energy."""
    found: list[tuple[float, float]] = []
    for together in (True, False):
        result = Machine(to_program(lower(wide(), bands=together))).run_sample(stats=True).statistics
        assert result is not None
        found.append((result.data["totals"]["cycles"], result.data["totals"]["energy_uj"]["total"]))
    assert [len(op.layers) for op in bands(tiled(wide(), "esc1"))] == [3]
    assert found[0][0] < 0.7 * found[1][0] and found[0][1] < 0.7 * found[1][1]


def partial_sums(module: ModuleOp) -> list[list[tuple[int, int]]]:
    """The bytes of PSUM that each layer of the only bands uses, as [low, high); none for a layer without."""
    (op,) = bands(tiled(module, "esc1"))
    psum = [[b for b in layer.buffers if b.space == "psum"] for layer in op.layers]
    return [[(min(b.places), max(b.places) + b.nbytes) for b in each] for each in psum]


def test_layers_with_partial_sums_have_a_half_each_and_one_alone_has_all() -> None:
    g = Graph(112, 112, 8)
    ((low, high),), pooling = partial_sums(g.module(g.pool(g.conv(g.x, 64), False, (3, 3), (2, 2), (1, 1, 1, 1))))
    assert not pooling and high - low > 16384
    first, second, third = (each for (each,) in partial_sums(wide()))
    assert first[1] <= 16384 <= second[0] and third[1] <= 16384


def test_a_tensor_between_layers_needs_the_place_of_a_few_rows(small: str) -> None:
    program = tiled(block(), small)
    rings = {name: tensor for name, tensor in program.tensors.items() if tensor.ring is not None}
    assert rings
    for tensor in rings.values():
        h, w, c = tensor.extents
        assert tensor.ring is not None and tensor.resident_bytes == tensor.ring * w * c < h * w * c


def test_layers_side_by_side_are_one_layer_of_the_program(small: str) -> None:
    program = to_program(lower(block(), small))
    together = [layer for layer in program.layers if layer.kind == "bands"]
    assert together and all(len(layer.nodes) > 1 for layer in together)
    alone = to_program(lower(block(), small, bands=False))
    names = [layer.name for layer in alone.layers]
    for layer in together:
        first, last = layer.name.split("..")
        assert names.index(first) < names.index(last) and first not in {x.name for x in program.layers}
    assert sum(layer.macs for layer in program.layers) == sum(layer.macs for layer in alone.layers)
    assert sum(layer.weights for layer in program.layers) == sum(layer.weights for layer in alone.layers)


def test_no_bands_where_everything_stays() -> None:
    assert not bands(tiled(block(), "esc1"))


def test_every_stage_with_bands_round_trips(small: str) -> None:
    for stages in range(1, SPLIT + 1):
        module = lower(block(), small, MAIN[:stages])
        assert bands(bfs_program(module))
        text = print_module(module)
        assert print_module(parse_module(make_context(), text, "m.mlir")) == text


# Any chain ------------------------------------------------------------------------------------------------------------

_KINDS = ("conv", "dw", "esc", "pool", "add", "lookup", "residual")


def grown(draw: Draw, g: Graph, x: SSAValue, same: SSAValue | None) -> SSAValue:
    """A layer that reads `x`, and perhaps `same`, a tensor of its shape."""
    _, h, w, c = shape_of(x)
    kind = draw(st.sampled_from(_KINDS))
    kernel = (draw(st.integers(1, min(4, h))), draw(st.integers(1, min(3, w))))
    pads = tuple(draw(st.integers(0, kernel[i % 2] - 1)) for i in range(4))
    window = {"kernel": kernel, "strides": (draw(st.integers(1, 3)), draw(st.integers(1, 2))), "pads": pads}
    if kind == "dw":
        return g.conv(x, c, groups=c, **window)
    if kind == "esc":
        return g.decomposed(x, draw(st.sampled_from((8, 20))), 3, **window)
    if kind == "pool":
        return g.pool(x, draw(st.booleans()), **window)
    if kind == "add" and same is not None:
        return g.add(x, same, draw(st.booleans()))
    if kind == "lookup":
        return g.lookup(x, draw(st.booleans()))
    if kind == "residual":
        return g.conv(x, c, (3, 3), residual=x)
    return g.conv(x, draw(st.sampled_from((8, 20))), **window)


def chain(draw: Draw) -> ModuleOp:
    g = Graph(draw(st.integers(9, 40)), draw(st.integers(3, 12)), draw(st.sampled_from((3, 8))), draw(st.booleans()))
    values = [g.x]
    for _ in range(draw(st.integers(2, 6))):
        like = [v for v in values[:-1] if shape_of(v) == shape_of(values[-1])]
        values.append(grown(draw, g, values[-1], draw(st.sampled_from(like)) if like else None))
    return g.module(values[-1])


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever fits runs side by side."""
    cycles = planning.layer_cycles

    def dear(
        layer: LayerRecord, resident: frozenset[str], taken: int, target: Target, over: str | None = None
    ) -> float | None:
        found = cycles(layer, resident, taken, target, over)
        return None if found is None else 1000 * found

    monkeypatch.setattr(planning, "layer_cycles", dear)
    yield


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), act=st.sampled_from([2000, 4001, 7000]))
def test_any_chain_keeps_its_bits(eager: None, tmp_path: Path, data: st.DataObject, act: int) -> None:
    path = tmp_path / f"{act}.toml"
    path.write_text(f'base = "esc1"\nname = "sized"\n[scratchpad]\nact = {act}\n')
    module = chain(data.draw)
    try:
        lower(module, str(path), MAIN[:1], bands=False)
    except UserError as e:
        assert "its smallest tile needs" in str(e)
        return
    assert_equal_bits(module, to_program(lower(module, str(path))))


# Faults ---------------------------------------------------------------------------------------------------------------

EXAMPLE = Path(__file__).parents[1] / "lit/lower-to-eisa/bands.mlir"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (r"rows 6", "rows 4", "layer '/second': a tile reads rows 1..3; 2..5 are loaded"),
        (r"rows 6", "rows 5", "computes rows 4..5; its ring of 5 rows holds rows up to 3 and requires the next ones"),
        (r"i64: 0, 1>", "i64: 1, 0>", "layer '/second': a tile reads tensor @t1, of which no row has been computed"),
        (r"size %c8 step 2", "size %c2 step 2", "layer '/second': a tile reads rows 1..3; 0..1 are loaded"),
    ],
)
def test_faults_of_bands_are_named(old: str, new: str, message: str) -> None:
    text = EXAMPLE.read_text()
    changed = re.sub(old, new, text, count=1)
    assert changed != text
    module = parse_module(make_context(), changed, "m.mlir")
    with pytest.raises((UserError, DiagnosticException)) as caught:
        lower(module, passes=["plan-memory", "lower-to-eisa"])
    assert message in str(caught.value)


# The planner ----------------------------------------------------------------------------------------------------------


def record(output: str, *reads: str, rows: int = 64, window: tuple[int, int, int] = (3, 1, 1)) -> LayerRecord:
    """A pooling of 16 columns and 16 channels; `rows` of its output, `window`: kernel, stride and pad of rows."""
    kernel, stride, pad = window
    height = (rows - 1) * stride + kernel - 2 * pad
    sources = tuple(InputSource(16, TensorFormat.RAW, ChannelMap(0, 16, 0, 16), 1.0) for _ in reads)
    p = TilingProblem(PoolWork(), height, 16, rows, 16, 16, sources, (kernel, 1), (stride, 1), (pad, 0))
    return LayerRecord(p, reads, output)


def test_runs_of_layers_whose_tensors_nothing_else_reads() -> None:
    layers = [record("a", "x"), record("b", "a"), record("c", "b", "a"), record("d", "c")]
    found = {(s.first, len(s.layers)) for s in segments(layers, {"c"}, load_target())}
    assert found == {(0, 3), (1, 2)}


@pytest.mark.parametrize("window", [(3, 1, 1), (3, 2, 1), (1, 1, 0), (5, 1, 0), (4, 3, 2), (1, 2, 0)])
def test_rows_are_there_when_they_are_read(window: tuple[int, int, int]) -> None:
    """Replays the steps: every row that a tile reads has been computed, and its place is not yet another row's."""
    reader = record("b", "a", rows=40, window=window)
    layers = [record("a", "x", rows=reader.problem.h), reader]
    choices = list(Segment(layers, 0, 2, load_target()).choices(frozenset(), 0))
    assert choices
    for bands in choices:
        end, done = 0, 0
        ring = bands.rings["a"] or layers[0].problem.oh
        mine, its = (list(steps(0, x.problem.oh, n)) for x, n in zip(layers, bands.rows, strict=True))
        for step in range(len(mine) + len(its) + max(bands.delays)):
            if step < len(mine):
                assert mine[step].first % ring + mine[step].extent <= ring
                end = mine[step].end
            if 0 <= step - bands.delays[1] < len(its):
                kernel, stride, pad = window
                need = window_span(its[step - bands.delays[1]], kernel, stride, pad, layers[0].problem.oh)
                assert end - ring <= need.first and need.end <= end
                done += 1
        assert done == len(its)


def test_layers_of_different_pace_do_not_run_side_by_side() -> None:
    """One reader of the first layer moves by two rows of it, the other by one."""
    layers = [record("a", "x", rows=65), record("b", "a", rows=33, window=(1, 2, 0)), record("c", "a", "b", rows=65)]
    assert not list(Segment(layers, 0, 3, load_target()).choices(frozenset(), 0))
