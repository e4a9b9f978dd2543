"""Concatenations and slices without a copy: which of them vanish, what is copied instead, and equal bits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from test_tile_equivalence import check
from tile_models import MAIN, Graph, lower
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation

from dialects.attributes import integer
from dialects.bfs import LayerOp, ProgramOp
from dialects.eisa import to_program
from dialects.interpreters.run import run_module
from dialects.locations import node_names
from emulator.machine import Machine
from escc.irtext import make_context, parse_module, print_module
from isa.errors import UserError
from isa.formats import TensorFormat
from isa.program import Layer
from passes.layers.pool import PoolWork
from passes.layers.table import tile_rules
from passes.tiling.bfs_module import bfs_program
from passes.tiling.geometry import ChannelMap
from passes.tiling.layer_faults import StoredTensor, layer_faults
from passes.tiling.layer_to_instructions import LayerLowering, Ring
from passes.tiling.memory import Interval
from passes.tiling.problem import InputSource, TilingProblem
from passes.tiling.records import LayerRecord
from passes.tiling.residency import tensor_lives

SPLIT = MAIN.index("lower-to-eisa")

SIZES = {
    "chip": "",
    "dram": "[scratchpad]\nact = 6000\n",
    "tight": "[scratchpad]\nact = 3000\ncoef = 2048\npar = 1024\npsum = 2048\n",
    "narrow": "[array]\nblocks = 8\nslices = 3\nchunk = 16\n[scratchpad]\nact = 5000\ncoef = 4096\n",
}


def fire(g: Graph) -> ModuleOp:
    """Two convolutions side by side, twice."""
    x = g.conv(g.x, 16, (1, 1), pads=(0, 0, 0, 0))
    x = g.concat(g.conv(x, 64, (1, 1), pads=(0, 0, 0, 0)), g.conv(x, 64))
    x = g.conv(x, 24, (1, 1), pads=(0, 0, 0, 0))
    return g.module(g.conv(g.concat(g.conv(x, 40), g.decomposed(x, 20, 4)), 10))


def inception(g: Graph) -> ModuleOp:
    """Branches of several kinds, one of them a pooling of what the others read."""
    x = g.conv(g.x, 32)
    a, b = g.conv(x, 16, (1, 1), pads=(0, 0, 0, 0)), g.conv(g.conv(x, 8), 32)
    c = g.conv(g.pool(x, False, (3, 3), (1, 1), (1, 1, 1, 1)), 16, (1, 1), pads=(0, 0, 0, 0))
    return g.module(g.conv(g.concat(a, b, c, g.pool(x, True, (3, 3), (1, 1), (1, 1, 1, 1))), 12))


def dense_block(g: Graph) -> ModuleOp:
    """Every layer reads all tensors before it, concatenated anew each time."""
    tensors = [g.conv(g.x, 16)]
    for _ in range(3):
        x = tensors[0] if len(tensors) == 1 else g.concat(*tensors)
        tensors.append(g.conv(g.conv(x, 24, (1, 1), pads=(0, 0, 0, 0)), 16))
    return g.module(g.conv(g.concat(*tensors), 10))


def nested(g: Graph) -> ModuleOp:
    """Concatenations of concatenations, the inner ones read too."""
    a, b, c = (g.conv(g.x, 16) for _ in range(3))
    inner = g.concat(a, b)
    outer = g.concat(g.conv(inner, 16), inner, c)
    return g.module(g.conv(g.concat(outer, g.conv(outer, 20)), 8))


def sliced(g: Graph) -> ModuleOp:
    """Slices of a concatenation, of a slice and of the input."""
    h, w = 9, 10
    y = g.concat(g.conv(g.x, 16), g.conv(g.slice(g.x, (0, 0, 1), (1, 1), (h, w, 4)), 20))
    part = g.slice(y, (0, 0, 8), (1, 1), (h, w, 24))
    return g.module(g.conv(part, 6), g.conv(g.slice(part, (0, 0, 3), (1, 1), (h, w, 17)), 5))


def shuffled(g: Graph) -> ModuleOp:
    """A split whose second half is computed further and joined with the first one."""
    x = g.conv(g.x, 32)
    first, second = (g.slice(x, (0, 0, c), (1, 1), (9, 10, 16)) for c in (0, 16))
    return g.module(g.conv(g.concat(first, g.conv(second, 16, groups=16)), 8))


def residuals(g: Graph) -> ModuleOp:
    """Parts as both sides of additions, with the result beside them."""
    a, b = g.conv(g.x, 16), g.conv(g.x, 16)
    c = g.add(a, b, False)
    return g.module(g.conv(g.concat(a, c, g.conv(g.concat(a, b), 16, residual=b), b), 8))


def outputs(g: Graph) -> ModuleOp:
    """An output that is concatenated, and a concatenation that is an output."""
    a, b = g.conv(g.x, 16), g.conv(g.x, 20)
    y = g.concat(a, b)
    return g.module(a, y, g.slice(y, (0, 0, 4), (1, 1), (9, 10, 16)), g.conv(g.concat(y, g.conv(a, 16)), 4))


def twice(g: Graph) -> ModuleOp:
    """The same tensor twice, and one tensor in two concatenations."""
    a, b = g.conv(g.x, 16), g.conv(g.x, 16)
    return g.module(g.conv(g.concat(a, a, b), 8), g.conv(g.concat(b, a), 8))


def of_input(g: Graph) -> ModuleOp:
    return g.module(g.conv(g.concat(g.x, g.conv(g.x, 16, signed=True)), 8))


def tables(g: Graph) -> ModuleOp:
    a = g.conv(g.x, 16)
    return g.module(g.conv(g.concat(g.lookup(a, False), a, g.pool(a, False, (3, 3), (1, 1), (1, 1, 1, 1))), 8))


MODELS = {
    make.__name__: make
    for make in (
        fire,
        inception,
        dense_block,
        nested,
        sliced,
        shuffled,
        residuals,
        outputs,
        twice,
        of_input,
        tables,
    )
}
COPIES = {"shuffled": 1, "residuals": 2, "outputs": 3, "twice": 3, "of_input": 1, "tables": 1}
"""Layers that move bytes, of the models that have any."""


def built(make: Callable[[Graph], ModuleOp]) -> ModuleOp:
    return make(Graph(9, 10, 6, signed=True, seed=3))


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder: Path = tmp_path_factory.mktemp("targets")
    for name, text in SIZES.items():
        (folder / f"{name}.toml").write_text(f'base = "esc1"\nname = "{name}"\n{text}')
    return {name: str(folder / f"{name}.toml") for name in SIZES}


def tiled(make: Callable[[Graph], ModuleOp], target: str = "esc1", stages: int = SPLIT) -> ProgramOp:
    return bfs_program(lower(built(make), target, MAIN[:stages]))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("target", SIZES)
def test_the_bits_are_those_of_the_interpreter(model: str, target: str, targets: dict[str, str]) -> None:
    check(built(MODELS[model]), targets[target])


@pytest.mark.parametrize("model", MODELS)
def test_only_what_has_no_place_is_copied(model: str) -> None:
    kinds = [layer.kind.data for layer in tiled(MODELS[model]).layers]
    assert kinds.count("map") == COPIES.get(model, 0)


@pytest.mark.parametrize("model", MODELS)
def test_every_stage_with_parts_round_trips(model: str) -> None:
    module = lower(built(MODELS[model]), passes=MAIN[:1])
    for name in (*MAIN[1:], ""):
        text = print_module(module)
        assert print_module(parse_module(make_context(), text, "m.mlir")) == text
        module = lower(module, passes=(name,)) if name else module
    assert any(layer.output.whole_c for layer in to_program(module).layers)


def test_the_operands_of_a_dense_block_lie_in_one_tensor() -> None:
    program = tiled(dense_block)
    wholes = {tensor.storage for tensor in program.tensors.values() if tensor.whole is not None}
    (name,) = wholes
    assert program.tensors[name].extents[2] == 64
    assert {layer.kind.data for layer in program.layers} == {"dense"}


def test_parts_stay_in_act_together() -> None:
    program = tiled(fire)
    assert sum(text.count("bfs.store_tile") for text in map(str, program.layers)) == 1
    assert all(tensor.resident is not None for tensor in program.tensors.values() if tensor.whole is not None)


@pytest.mark.parametrize(("channels", "format"), [(64, "bitmap"), (40, "raw")])
def test_what_lies_in_dram_has_lines_where_its_parts_are_whole_chunks(
    channels: int, format: str, targets: dict[str, str]
) -> None:
    g = Graph(9, 10, 6)
    y = g.concat(g.conv(g.x, channels), g.conv(g.x, 64))
    module = g.module(y, g.conv(y, 8))
    program = bfs_program(lower(module, targets["dram"], MAIN[:SPLIT]))
    found = {t.format.data for t in program.tensors.values() if t.whole is not None and t.resident is None}
    assert found == {format}
    check(module, targets["dram"])


def in_bands(k: int, kernel: int = 3, stride: int = 1) -> ModuleOp:
    """Two convolutions side by side and a pooling of both, in images too large for ACT."""
    g = Graph(70, 60, 8, seed=5)
    x = g.conv(g.x, 16)
    y = g.concat(g.conv(x, k, (1, 1), pads=(0, 0, 0, 0)), g.conv(x, 16))
    return g.module(g.conv(g.pool(y, False, (kernel, kernel), (stride, stride)), 8))


@pytest.mark.parametrize(("k", "kernel", "stride"), [(16, 3, 2), (20, 2, 2), (40, 3, 1)])
def test_parts_share_a_ring_of_rows(k: int, kernel: int, stride: int, targets: dict[str, str]) -> None:
    module = in_bands(k, kernel, stride)
    tensors = bfs_program(lower(module, targets["chip"], MAIN[:SPLIT])).tensors
    rings = {t.storage for t in tensors.values() if t.whole is not None and tensors[t.storage].ring is not None}
    assert len(rings) == 1
    check(module, targets["chip"])


def test_a_ring_is_read_up_to_the_rows_that_all_parts_have() -> None:
    ring = Ring(4, parts=(Ring(4, 6), Ring(4, 8)))
    assert ring.held == (4, 2)
    assert Ring(4, parts=(Ring(4, 2), Ring(4))).held.extent == 0


def test_whole_lines_give_way_where_a_layer_has_no_room_for_them(targets: dict[str, str]) -> None:
    g = Graph(4, 60, 40)
    x = g.conv(g.x, 40)
    module = g.module(g.conv(g.concat(g.conv(x, 64), g.conv(x, 64)), 8))
    program = bfs_program(lower(module, targets["tight"], MAIN[:SPLIT]))
    assert {t.format.data for t in program.tensors.values() if t.whole is not None} == {"raw"}
    check(module, targets["tight"])


def test_short_parts_in_dram_are_copied(targets: dict[str, str]) -> None:
    g = Graph(20, 20, 6)
    module = g.module(g.conv(g.concat(g.conv(g.x, 12), g.conv(g.x, 12)), 8))
    kinds = [layer.kind.data for layer in bfs_program(lower(module, targets["dram"], MAIN[:1])).layers]
    assert kinds.count("map") == 1
    kinds = [layer.kind.data for layer in bfs_program(lower(module, "esc1", MAIN[:1])).layers]
    assert kinds.count("map") == 0


@pytest.mark.parametrize("target", SIZES)
@pytest.mark.parametrize("model", ["fire", "nested", "residuals"])
def test_every_part_can_be_read_by_itself(model: str, target: str, targets: dict[str, str]) -> None:
    module = built(MODELS[model])
    program = to_program(lower(module, targets[target]))
    x = np.random.default_rng(2).integers(-128, 128, (1, *program.inputs[0].shape[1:])).astype(np.float32)
    values: dict[str, np.ndarray] = {}

    def interpreted(op: Operation, results: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        values.update(dict.fromkeys(node_names(op), results[0]))
        return results

    run_module(module, [x], interpreted)
    seen: set[str] = set()

    def emulated(layer: Layer, tensor: np.ndarray) -> None:
        # (behind the layer's own nodes stand those of vanished concatenations and slices)
        name = next(n for n in reversed(layer.nodes) if values[n].shape == tensor.shape)
        np.testing.assert_array_equal(tensor, values[name])
        seen.add(layer.name)

    Machine(program).run([x], observer=emulated)
    assert len(seen) == len(program.layers)


# The planner ----------------------------------------------------------------------------------------------------------


def record(output: str, reads: tuple[str, ...], storage: dict[str, str], stored_c: int = 0) -> LayerRecord:
    sources = tuple(InputSource(16, TensorFormat.RAW, ChannelMap(0, 16, 0, 1), 1.0) for _ in reads)
    return LayerRecord(TilingProblem(PoolWork(), 8, 8, 8, 8, 16, sources, stored_c=stored_c), reads, output, storage)


def test_a_tensor_lives_from_its_first_part_to_its_last_reader() -> None:
    layers = [
        record("a", ("x",), {"a": "w"}, 32),
        record("b", ("a",), {"a": "w"}),
        record("c", ("b",), {"c": "w"}, 32),
        record("d", ("w",), {}),
    ]
    assert tensor_lives(layers) == [Interval("w", 2048, 0, 3), Interval("b", 1024, 1, 2)]


# Faults ---------------------------------------------------------------------------------------------------------------


def test_a_part_is_computed_whole() -> None:
    module = lower(built(fire), passes=MAIN[:SPLIT])
    layer = next(x for x in bfs_program(module).layers if bfs_program(module).tensors[_output(x)].whole is not None)
    requant = next(op for op in layer.walk() if op.name == "bfs.requant")
    requant.detach()
    requant.erase()
    with pytest.raises(UserError, match=f"row 0 of the output @{_output(layer)} is not stored whole"):
        lower(module, passes=MAIN[SPLIT:])


def _output(layer: LayerOp) -> str:
    return layer.output.string_value()


def test_a_store_beside_its_part_is_refused(targets: dict[str, str]) -> None:
    program = bfs_program(lower(built(nested), targets["dram"], MAIN[:SPLIT]))
    stored = [t for t in program.tensors.values() if t.channels.start and t.resident is None]
    part = stored[0]
    layer = next(x for x in program.layers if _output(x) == part.sym_name.data)
    lowering = LayerLowering(layer, program.tensors, program.constants, program.machine, 4096)
    instructions = lowering.run({operation: rule.lower for operation, rule in tile_rules().items()})
    inputs = [
        StoredTensor(t, lowering.whole(t)) for op in layer.residents if (t := lowering.tensor(op.tensor)) is not part
    ]

    def faults() -> list[str]:
        return layer_faults(instructions, StoredTensor(part, lowering.whole(part)), inputs, 4096, program.machine)

    assert not faults()
    part.first = integer(0)
    assert any(f"stores outside of the tensor @{part.sym_name.data}" in fault for fault in faults())
