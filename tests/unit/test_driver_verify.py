"""`--verify-numerics` finds the node that a faulty pass, or a faulty binary, gets wrong."""

from __future__ import annotations

import dataclasses
import warnings
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from onnx import helper
from onnx_graphs import model as graph_model
from onnx_graphs import random
from sample_models import constant, model, residual_model
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from dialects import esc, onnx
from dialects.blob import DenseAttr
from dialects.locations import node_names
from escc.driver import run_passes, to_program
from escc.irtext import make_context
from escc.onnx_import import import_model
from escc.universe import ESCC_UNIVERSE
from escc.verify import Values, Verification, node_value
from isa.program import Program
from passes.analysis.preserved import Preserved
from passes.onnx_canonicalize import OnnxCanonicalizePass
from passes.pipelines import PipelineOptions, build


@dataclass(frozen=True)
class Wrong(ModulePass):
    """Changes one constant at a node, and says that it keeps values."""

    name: ClassVar[str] = "esc-legalize"
    PRESERVES: ClassVar[Preserved] = Preserved.VALUES
    node: str = ""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for found in op.walk():
            if isinstance(found, esc.RequantizeOp) and self.node in node_names(found):
                found.bias = DenseAttr.of(found.bias.array.astype(np.int32) + 20000)
                return
        raise AssertionError(f"no requantisation at '{self.node}'")


@dataclass(frozen=True)
class WrongFloats(ModulePass):
    """Changes the weights of the first convolution of the onnx level."""

    name: ClassVar[str] = "onnx-legalize"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        constant = next(o for o in op.walk() if isinstance(o, onnx.ConstantOp) and o.value.array.ndim == 4)
        constant.value = DenseAttr.of(constant.value.array.astype(np.float32) * np.float32(1.1))


def compile_observed(replace: ModulePass | None = None, tolerance: float = 0.5) -> tuple[Verification, ModuleOp]:
    passes = [
        replace if replace is not None and p.name == replace.name else p
        for p in build(ESCC_UNIVERSE.all_passes, PipelineOptions(scheme="dense", samples=4))
    ]
    module = import_model(residual_model(), "m.onnx")
    verification = Verification(module, None, 0, tolerance)
    run_passes(make_context(), module, passes, [verification.observe])
    return verification, module


pytestmark = pytest.mark.filterwarnings("ignore:no calibration data")


def test_all_is_well() -> None:
    verification, module = compile_observed()
    text = verification.finish(to_program(module))
    assert verification.fault is None and not verification.warnings
    assert "deviation from float after quantize" in text and "emulator: " in text
    table = {
        line.split()[0]: line.split()[1:]
        for line in text.splitlines()
        if line.startswith(("stem", "block", "down", "fc"))
    }
    assert {layer.name for layer in to_program(module).layers if layer.weights} <= set(table)
    assert "stem_relu" not in table  # the layer that ends with it is called like its main node, here too
    maximum, mean, steps, mean_steps = map(float, table["stem"][:4])
    assert max(map(len, text.splitlines())) <= 80
    assert 0 < mean <= maximum and 0 < mean_steps < 1 and mean_steps <= steps


def test_a_pass_that_changes_integers_is_named_with_the_node() -> None:
    verification, _ = compile_observed(Wrong("down"))
    text = verification.finish(None)
    assert verification.fault is not None
    message = str(verification.fault)
    assert "after 'esc-legalize'" in message and "node 'down_relu'" in message and "expected" in message
    assert "DIFFERS" in text


def test_a_pass_that_changes_floats_is_named_with_the_node() -> None:
    verification, _ = compile_observed(WrongFloats())
    assert verification.fault is not None
    assert "after 'onnx-legalize' node 'stem'" in str(verification.fault)


def test_a_binary_that_computes_something_else_is_found() -> None:
    verification, module = compile_observed()
    program = to_program(module)
    layer = next(layer for layer in program.layers if "block" in layer.nodes)
    address, size = max(layer.rodata, key=lambda piece: piece[1])
    rodata = bytearray(program.rodata)
    for i in range(address, address + size, 7):
        rodata[i] ^= 0x40
    damaged: Program = dataclasses.replace(program, rodata=bytes(rodata))
    verification.finish(damaged)
    assert verification.fault is not None and "emulator: node 'block_relu'" in str(verification.fault)


def test_the_first_node_beyond_the_tolerance_is_named() -> None:
    verification, module = compile_observed(tolerance=1e-6)
    verification.finish(to_program(module))
    assert verification.fault is None
    assert "after 'quantize' node 'stem" in verification.warnings[0]
    passes = [w.split("'")[1] for w in verification.warnings]
    assert len(set(passes)) == len(passes)


def test_a_table_before_a_concatenation_is_not_taken_for_it() -> None:
    """An operand of a far smaller range than the other one, which a convolution reads too."""
    weights = [constant(n, f * random(8, c, 3, 3, seed=i)) for i, (n, c, f) in enumerate((("u", 3, 1), ("v", 8, 20)))]
    weights.append(constant("w", random(4, 16, 3, 3, seed=2)))
    nodes = [
        helper.make_node("Conv", ["x", "u"], ["a"], name="a", pads=[1] * 4),
        helper.make_node("Conv", ["a", "v"], ["b"], name="b", pads=[1] * 4),
        helper.make_node("Concat", ["a", "b"], ["c"], name="c", axis=1),
        helper.make_node("Conv", ["c", "w"], ["y"], name="y"),
    ]
    module = import_model(model(nodes, weights, (1, 3, 8, 8), (1, 4, 6, 6)), "m.onnx")
    verification = Verification(module, None, 0, 0.5)
    passes = build(ESCC_UNIVERSE.all_passes, PipelineOptions(scheme="dense", samples=4))
    run_passes(make_context(), module, passes, [verification.observe])
    verification.finish(program := to_program(module))
    assert verification.fault is None
    assert any(layer.kind == "map" for layer in program.layers)


def test_what_a_reshape_or_transpose_was_moved_behind_is_no_false_alarm() -> None:
    """Means without their axes, added as vectors; a product and a Relu between two transposes of a map of 8x8x8."""
    weight = [constant(n, random(8, c, 3, 3, seed=i)) for i, (n, c) in enumerate((("u", 3), ("v", 8)))]
    weight.append(constant("k", random(8, 8, seed=2)))
    nodes = [
        helper.make_node("Conv", ["x", "u"], ["c"], name="c", pads=[1] * 4),
        helper.make_node("Transpose", ["c"], ["t"], name="t", perm=[0, 2, 3, 1]),
        helper.make_node("MatMul", ["t", "k"], ["p"], name="p"),
        helper.make_node("Relu", ["p"], ["r"], name="r"),
        helper.make_node("Transpose", ["r"], ["b"], name="b", perm=[0, 3, 1, 2]),
        helper.make_node("ReduceMean", ["b"], ["m"], name="m", axes=[2, 3], keepdims=0),
        helper.make_node("Conv", ["b", "v"], ["d"], name="d", pads=[1] * 4),
        helper.make_node("ReduceMean", ["d"], ["n"], name="n", axes=[2, 3], keepdims=0),
        helper.make_node("Add", ["m", "n"], ["y"], name="y"),
    ]
    module = import_model(model(nodes, weight))
    verification = Verification(module, None, 0, 0.5)
    run_passes(make_context(), module, [OnnxCanonicalizePass()], [verification.observe])
    assert verification.fault is None
    assert "7 nodes within" in verification.finish(None)  # all but t and b


def test_one_node_is_told_as_one() -> None:
    module = import_model(model([helper.make_node("Relu", ["x"], ["y"], name="r")], []))
    verification = Verification(module, None, 0, 0.5)
    run_passes(make_context(), module, [OnnxCanonicalizePass()], [verification.observe])
    assert ": 1 node within" in verification.finish(None)


def test_rounding_errors_of_large_values_are_no_false_alarm_behind_a_clip() -> None:
    """The errors of a sum of 10^6 pass a Clip to [-1, 6], which leaves nothing of its size."""
    weights = random(4, 3, 3, 3)
    weights[:, 0, 2, 2] = 1.5e6
    norm = [constant(name, np.abs(random(4)) + np.float32(0.1)) for name in "sbmv"]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["a", *"sbmv"], ["n"], "norm"),
        helper.make_node("Clip", ["n", "low", "high"], ["y"], "clip"),
    ]
    bounds = [constant("low", np.asarray(-1, np.float32)), constant("high", np.asarray(6, np.float32))]
    graph = model(nodes, [constant("w", weights), *norm, *bounds], (1, 3, 6, 6), (1, 4, 6, 6))
    module = import_model(graph, "m.onnx")
    verification = Verification(module, None, 0, 0.5)
    canonicalize = OnnxCanonicalizePass()
    run_passes(make_context(), module, [canonicalize], [verification.observe])
    assert verification.fault is None
    run_passes(make_context(), module, [WrongFloats()], [verification.observe])
    assert verification.fault is not None


def test_a_layer_that_equals_another_operation_of_its_node_is_no_excuse() -> None:
    first, last = np.ones((1, 2, 2, 4), np.int8), np.full((1, 2, 2, 4), 3, np.int8)
    layer = ("dense", first, 0.5)
    ends_in_a_table = Values({"n": ("esc.lookup", last, 0.5)}, [], {"n": [first]})
    assert node_value("n", [layer], ends_in_a_table) is layer  # and its comparison fails
    ends_in_a_view = Values({"n": ("esc.concat", last, 0.5)}, [], {"n": [first]})
    assert node_value("n", [layer], ends_in_a_view) is None
    wrong = ("dense", first + 1, 0.5)
    assert node_value("n", [layer, wrong], ends_in_a_view) is wrong
    assert node_value("n", [layer], ends_in_a_table, ends=False) is None
    assert node_value("n", [layer, wrong], ends_in_a_table, ends=False) is wrong


def test_every_node_is_one_of_some_layer() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], "first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["r"], "relu"),
        helper.make_node("Slice", ["r", "start", "end", "axis"], ["p"], "low"),
        helper.make_node("Conv", ["p", "w2"], ["q"], "second"),
        helper.make_node("Concat", ["q", "r"], ["c"], "joined", axis=1),
        helper.make_node("Conv", ["c", "w3"], ["y"], "last"),
    ]
    constants = {"w1": random(32, 3, 3, 3), "w2": random(16, 16, 1, 1), "w3": random(8, 48, 1, 1)}
    constants |= {"start": np.array([0]), "end": np.array([16]), "axis": np.array([1])}
    module = import_model(graph_model(nodes, [1, 3, 8, 8], constants).SerializeToString())
    verification = Verification(module, None, 0, 0.5)
    options = PipelineOptions(scheme="dense")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        passes = build(ESCC_UNIVERSE.all_passes, options)
        run_passes(make_context(), module, passes, [verification.observe])
    program = to_program(module)
    assert {name for layer in program.layers for name in layer.nodes} == {node.name for node in nodes}
    assert "emulator: 3 nodes and 1 output equal" in verification.finish(program) and verification.fault is None
