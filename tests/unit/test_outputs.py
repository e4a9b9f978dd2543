"""Outputs are what the model declares, in shape, order and name, at every level, for one image and for several."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx_graphs import canonical, model, node, random, reference
from xdsl.dialects.builtin import ModuleOp

from dialects.interpreters.run import run_module
from emulator.machine import Machine
from escc.cli.compile import main as compile_main
from escc.cli.emulate import main as emulate
from escc.driver import run_passes, to_program
from escc.irtext import make_context
from escc.onnx_export import export_model
from escc.onnx_import import import_model
from escc.universe import ESCC_UNIVERSE
from escc.verify import Verification
from isa.assembly import parse_assembly, print_assembly
from isa.container import read_elf, write_elf
from isa.errors import UserError
from isa.program import Program
from isa.reference import declared
from passes.math.rearrangement import Rearrangement
from passes.pipelines import PipelineOptions, build

Array = np.ndarray[Any, np.dtype[Any]]


@settings(max_examples=300, deadline=None)
@given(data=st.data(), shape=st.lists(st.sampled_from([1, 2, 3, 4, 6, 8]), max_size=4))
def test_a_rearrangement_is_the_chain_of_its_steps(data: st.DataObject, shape: list[int]) -> None:
    x = np.arange(math.prod(shape)).reshape(shape)
    y, chain = x, Rearrangement(shape)
    for _ in range(data.draw(st.integers(0, 5))):
        if data.draw(st.booleans()):
            perm = data.draw(st.permutations(range(y.ndim)))
            y = y.transpose(perm)
            chain.transpose(perm)
            continue
        target = data.draw(shapes_of(y.size))
        try:
            chain.reshape(target)
        except ValueError:
            assert chain.view[1]  # without a transpose every reshape can be expressed
            return
        y = y.reshape(target)
    view, perm = chain.view
    found = x.reshape(view).transpose(perm) if perm else x
    assert chain.shape == y.shape
    np.testing.assert_array_equal(found.reshape(y.shape), y)


@settings(max_examples=300, deadline=None)
@given(data=st.data(), shape=st.lists(st.sampled_from([1, 2, 3, 4]), min_size=2, max_size=4))
def test_a_marked_axis_is_followed(data: st.DataObject, shape: list[int]) -> None:
    """Sums along an axis, then rearranged, are the sums along the axis that it became, if it became one."""
    before, after, chain, axis = np.arange(math.prod(shape)).reshape(shape), np.zeros(0), Rearrangement(shape), None
    for step in range(5):
        if step == 2:
            axis = data.draw(st.integers(0, before.ndim - 1))
            after = before.cumsum(axis=axis)
            chain.mark(axis)
        if data.draw(st.booleans()):
            perm = data.draw(st.permutations(range(before.ndim)))
            before, after = before.transpose(perm), after.transpose(perm) if step >= 2 else after
            chain.transpose(perm)
            continue
        target = data.draw(shapes_of(before.size))
        try:
            chain.reshape(target)
        except ValueError:
            return
        before, after = before.reshape(target), after.reshape(target) if step >= 2 else after
    if chain.marked is not None:
        np.testing.assert_array_equal(before.cumsum(axis=chain.marked), after)


@st.composite
def shapes_of(draw: st.DrawFn, size: int) -> list[int]:
    """Extents whose product is `size`."""
    shape: list[int] = []
    while size > 1 and draw(st.integers(0, 3)):
        shape.append(draw(st.sampled_from([d for d in range(1, size + 1) if size % d == 0])))
        size //= shape[-1]
    return [*shape, size]


WEIGHTS = {"w": random(8, 3, 3, 3, seed=1, scale=0.3), "b": random(8, seed=2)}
CONV = node("Conv", ["x", "w", "b"], ["c"], pads=[1] * 4)
POOL = node("GlobalAveragePool", ["c"], ["g"])


def constants(**values: Sequence[int]) -> dict[str, Array]:
    return {**WEIGHTS, **{name: np.asarray(v, np.int64) for name, v in values.items()}}


TAILS = {
    "squeeze of a pool": ([CONV, POOL, node("Squeeze", ["g"], ["y"])], {}, (8,)),
    "view(C, -1)": ([CONV, node("Reshape", ["c", "s"], ["y"])], {"s": [8, -1]}, (8, 36)),
    "flatten(axis=2)": ([CONV, node("Flatten", ["c"], ["y"], axis=2)], {}, (8, 36)),
    "flatten(axis=0)": ([CONV, node("Flatten", ["c"], ["y"], axis=0)], {}, (1, 288)),
    "flatten(axis=4)": ([CONV, node("Flatten", ["c"], ["y"], axis=4)], {}, (288, 1)),
    "view(-1)": ([CONV, node("Reshape", ["c", "s"], ["y"])], {"s": [-1]}, (288,)),
    "squeeze(0)": ([CONV, node("Squeeze", ["c", "s"], ["y"])], {"s": [0]}, (8, 6, 6)),
    "channels last": ([CONV, node("Transpose", ["c"], ["y"], perm=[0, 2, 3, 1])], {}, (1, 6, 6, 8)),
    "batch inside": ([CONV, node("Transpose", ["c"], ["y"], perm=[1, 2, 0, 3])], {}, (8, 6, 1, 6)),
    "relu of channels last": (
        [CONV, node("Transpose", ["c"], ["t"], perm=[0, 2, 3, 1]), node("Relu", ["t"], ["y"])],
        {},
        (1, 6, 6, 8),
    ),
    "boxes": (
        [CONV, node("Transpose", ["c"], ["t"], perm=[0, 2, 3, 1]), node("Reshape", ["t", "s"], ["y"])],
        {"s": [1, -1, 4]},
        (1, 72, 4),
    ),
    "anchors": (
        [
            CONV,
            node("Reshape", ["c", "s"], ["r"]),
            node("Transpose", ["r"], ["t"], perm=[0, 1, 3, 4, 2]),
            node("Sigmoid", ["t"], ["y"]),
        ],
        {"s": [1, 2, 4, 6, 6]},
        (1, 2, 6, 6, 4),
    ),
    "softmax of pixels": (
        [CONV, node("Transpose", ["c"], ["t"], perm=[0, 2, 3, 1]), node("Softmax", ["t"], ["y"], axis=3)],
        {},
        (1, 6, 6, 8),
    ),
    "log softmax of pixels": (
        [CONV, node("Transpose", ["c"], ["t"], perm=[0, 2, 3, 1]), node("LogSoftmax", ["t"], ["y"], axis=3)],
        {},
        (1, 6, 6, 8),
    ),
    "softmax, then channels last": (
        [CONV, node("Softmax", ["c"], ["t"], axis=1), node("Transpose", ["t"], ["y"], perm=[0, 2, 3, 1])],
        {},
        (1, 6, 6, 8),
    ),
    "softmax of the first axis": (
        [CONV, POOL, node("Reshape", ["g", "s"], ["t"]), node("Softmax", ["t"], ["y"], axis=0)],
        {"s": [4, 2]},
        (4, 2),
    ),
    "softmax of a vector": ([CONV, POOL, node("Squeeze", ["g"], ["t"]), node("Softmax", ["t"], ["y"])], {}, (8,)),
}


def observed(proto: onnx.ModelProto, x: Array, folder: Path) -> tuple[ModuleOp, Program]:
    """A model calibrated on `x` at level esc, and its program; all levels are compared on the way."""
    module = import_model(proto.SerializeToString())
    calibration = str(folder / "x.npz")
    np.savez(calibration, x=x)
    context = make_context()
    verification = Verification(module, calibration, 0, 0.5)
    passes = build(ESCC_UNIVERSE.all_passes, PipelineOptions(scheme="dense", calibration=calibration))
    middle = 1 + next(i for i, p in enumerate(passes) if p.name == "esc-legalize")
    run_passes(context, module, passes[:middle], [verification.observe])
    quantised = module.clone()
    run_passes(context, module, passes[middle:], [verification.observe])
    program = to_program(module)
    verification.finish(program)
    assert verification.fault is None
    return quantised, program


@pytest.mark.parametrize("name", TAILS)
def test_every_level_gives_what_the_model_declares(name: str, tmp_path: Path) -> None:
    nodes, given_constants, shape = TAILS[name]
    proto = model(nodes, [1, 3, 6, 6], constants(**given_constants))
    x = np.random.default_rng(0).uniform(-2, 2, (3, 3, 6, 6)).astype(np.float32)
    wanted = [reference(proto, image[None])[0] for image in x]
    assert wanted[0].shape == shape
    module, program = observed(proto, x, tmp_path)
    read = read_elf(write_elf(program), "test")
    assert [p.name for p in read.outputs] == ["y"] and read.outputs[0].shape == shape
    assert parse_assembly(print_assembly(program), "test") == program
    machine = Machine(read)
    outputs = [declared(machine.run([image[None]]).outputs[0], shape) for image in x]
    for found, want in zip(outputs, wanted, strict=True):
        assert found.shape == shape
        assert np.abs(found - want).max() <= 0.03 * np.abs(want).max()
    together = machine.run([x]).outputs[0]
    batch = (3, *shape[1:]) if shape[0] == 1 else (3, *shape)
    assert together.shape == batch
    np.testing.assert_array_equal(together, np.stack(outputs).reshape(batch))
    np.testing.assert_array_equal(run_module(module, [x])[0], together)
    exported = export_model(module)
    onnx.checker.check_model(exported, full_check=True)
    again = reference(exported, x[:1])[0]
    assert again.shape == shape and np.abs(again - wanted[0]).max() <= 0.03 * np.abs(wanted[0]).max()


@pytest.mark.parametrize("images", [1, 3, 17])
def test_the_command_line_writes_the_shape_of_the_model(
    tmp_path: Path, images: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where the images run in several batches, of which the last has one image; and accuracy is counted."""
    nodes, _, shape = TAILS["squeeze of a pool"]
    proto = model(nodes, [1, 3, 6, 6], WEIGHTS)
    path, binary = tmp_path / "m.onnx", tmp_path / "m.bin"
    onnx.save(proto, path)
    x = random(images, 3, 6, 6, seed=4)
    np.savez(tmp_path / "x.npz", x=x, y=np.zeros(images, np.int64))
    assert compile_main([str(path), "--calibration", str(tmp_path / "x.npz"), "-q", "-o", str(binary)]) == 0
    output = tmp_path / "y.npy"
    assert emulate([str(binary), "--input", str(tmp_path / "x.npz"), "--output", str(output)]) == 0
    found = np.load(output)
    wanted = np.stack([reference(proto, image[None])[0] for image in x])
    assert found.shape == (shape if images == 1 else (images, *shape))
    assert np.abs(found.reshape(wanted.shape) - wanted).max() <= 0.03 * np.abs(wanted).max()
    capsys.readouterr()
    assert emulate([str(binary), "--eval", str(tmp_path / "x.npz")]) == 0
    right = int((wanted.argmax(axis=1) == 0).sum())
    counted = int(capsys.readouterr().out.split("(")[1].split()[0])
    assert abs(counted - right) <= 1


def test_outputs_keep_their_names_and_order(tmp_path: Path) -> None:
    """Two outputs of one tensor in two layouts, and one that has the name of a node."""
    nodes = [
        CONV,
        node("Transpose", ["c"], ["last"], perm=[0, 2, 3, 1], name="c"),
        node("Relu", ["last"], ["x_y"], name="last"),
        node("Reshape", ["c", "s"], ["flat"]),
    ]
    proto = model(nodes, [1, 3, 6, 6], constants(s=[-1]), ("flat", "x_y", "last", "c"))
    x = random(1, 3, 6, 6, seed=5)
    _, program = observed(proto, x, tmp_path)
    outputs = Machine(program).run([x]).outputs
    wanted = reference(proto, x)
    assert [p.name for p in program.outputs] == ["flat", "x_y", "last", "c"]
    for port, found, want in zip(program.outputs, outputs, wanted, strict=True):
        assert port.shape == want.shape
        assert np.abs(declared(found, port.shape) - want).max() <= 0.03 * np.abs(want).max()


def test_a_wrong_order_of_an_output_is_found() -> None:
    """--verify-numerics compares outputs as they are, whatever layout the tensors between have."""
    nodes = [CONV, node("Transpose", ["c"], ["y"], perm=[0, 2, 3, 1])]
    right = import_model(model(nodes, [1, 3, 6, 6], WEIGHTS).SerializeToString())
    nodes[1] = helper.make_node("Transpose", ["c"], ["y"], perm=[0, 3, 2, 1])
    wrong = import_model(model(nodes, [1, 3, 6, 6], WEIGHTS).SerializeToString())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        verification = Verification(right, None, 0, 0.5)
    verification.observe(build(ESCC_UNIVERSE.all_passes, PipelineOptions(), "onnx")[0], wrong)
    assert verification.fault is not None and "output 0 deviates" in str(verification.fault)


@pytest.mark.parametrize(
    ("shape", "axis", "target"),
    [([8], 0, [4, 2]), ([4, 2], 0, [8]), ([1, 8], 0, [8, 1])],
)
def test_a_softmax_whose_axis_is_lost_is_refused(shape: list[int], axis: int, target: list[int]) -> None:
    """One that is split or joined afterwards, and one of the axis of the images."""
    nodes = [
        *(CONV, POOL, node("Reshape", ["g", "s"], ["t"])),
        *(node("Softmax", ["t"], ["u"], name="soft", axis=axis), node("Reshape", ["u", "r"], ["y"])),
    ]
    with pytest.raises(UserError, match=r"node 'soft' .*axis"):
        canonical(import_model(model(nodes, [1, 3, 6, 6], constants(s=shape, r=target)).SerializeToString()))
