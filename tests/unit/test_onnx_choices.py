"""Comparisons, the logic of truths, and Where: one table where they depend on one tensor, arithmetic elsewhere."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto
from onnx_graphs import canonical, check, model, node, operations, random

import escc
from dialects.expressions import CALLS, parse
from dialects.interpreters.run import run_module
from escc.onnx_import import import_model
from isa.errors import UserError

ZERO, TENTH = (np.float32(v).reshape(()) for v in (0.0, 0.1))
LEAKY = [
    node("Less", ["x", "zero"], ["below"]),
    node("Mul", ["x", "tenth"], ["small"]),
    node("Where", ["below", "small", "x"], ["y"]),
]
BAND = [
    node("GreaterOrEqual", ["x", "zero"], ["from"]),
    node("LessOrEqual", ["x", "tenth"], ["to"]),
    node("And", ["from", "to"], ["inside"]),
    node("Not", ["inside"], ["outside"]),
    node("Equal", ["x", "zero"], ["exact"]),
    node("Or", ["outside", "exact"], ["either"]),
    node("Cast", ["either"], ["y"], to=TensorProto.FLOAT),
]
TWO = [
    node("Conv", ["x", "w"], ["c"]),
    node("Greater", ["x", "c"], ["more"]),
    node("Where", ["more", "x", "c"], ["y"]),
]


def made(nodes: list[onnx.NodeProto], *shape: int) -> onnx.ModelProto:
    constants = {"zero": ZERO, "tenth": TENTH, "w": random(shape[1], shape[1], 1, 1, seed=3)}
    used = {i for one in nodes for i in one.input}
    return model(nodes, shape, {k: v for k, v in constants.items() if k in used})


@pytest.mark.parametrize("shape", [(1, 3, 5, 5), (1, 3, 7), (1, 8)])
@pytest.mark.parametrize("nodes", [LEAKY, BAND], ids=["leaky", "band"])
def test_what_depends_on_one_tensor_is_one_function(nodes: list[onnx.NodeProto], shape: tuple[int, ...]) -> None:
    x = random(*shape, seed=1)
    x.reshape(-1)[:4] = 0.0, 0.1, -1.0, 0.05
    assert [n for n in operations(check(made(nodes, *shape), x)) if n != "Reshape"] == ["Expression"]


def test_two_tensors_are_compared_and_chosen_from() -> None:
    proto, x = made(TWO, 1, 3, 5, 5), random(4, 3, 5, 5, seed=1)
    assert "Expression" in operations(check(proto))
    (float_,) = run_module(import_model(proto.SerializeToString()), [x])
    found = escc.compile(proto, x, "dense").run(x)
    assert np.abs(found - float_).mean() < 0.02 * np.abs(float_).max()


def test_truths_are_no_output() -> None:
    proto = made(BAND[:3], 1, 3, 5, 5)
    proto.graph.output[0].name = "inside"
    proto.graph.output[0].type.tensor_type.elem_type = TensorProto.BOOL
    with pytest.raises(UserError, match="output 'inside' is declared with element type 9; requires float"):
        canonical(import_model(proto.SerializeToString()))


@pytest.mark.parametrize("name", ["Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"])
def test_the_functions_are_the_same_on_torch_tensors(name: str) -> None:
    assert name in CALLS
    expression = parse(f"Where({name}(x, 0.5), Mul(x, 2.0), Sub(x, 1.0))")
    x = np.array([0.25, 0.5, 0.75])
    np.testing.assert_allclose(expression.on_torch(torch.tensor(x)).numpy(), expression.compute(x))
    assert parse(str(expression)) == expression
    assert parse(f"{name}(x, 0.5)").non_negative(argument=False)
