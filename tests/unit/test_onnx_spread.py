"""Two tensors that broadcast, maxima, reductions over channels and normalisations against onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx_graphs import check, model, node, operations, random, reference

import escc
from escc.onnx_backend import EsccBackend

SHAPES = ([1, 4, 5, 6], [1, 4, 1, 1], [1, 1, 5, 6], [1, 4, 5, 1], [1, 1, 1, 6], [1, 1, 1, 1])


def narrowed(shape: list[int]) -> tuple[list[onnx.NodeProto], dict[str, Any]]:
    """Nodes that make a tensor b of a shape of x [1, 4, 5, 6]."""
    ends = np.array([1 if d == 1 else 9 for d in shape])
    nodes = [node("Slice", ["x", "starts", "ends"], ["n"]), node("Sigmoid", ["n"], ["b"])]
    return nodes, {"starts": np.zeros(4, np.int64), "ends": ends}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["Add", "Sub", "Mul", "Div", "Max", "Min"])
@pytest.mark.parametrize("narrow_first", [False, True])
def test_tensors_that_broadcast(shape: list[int], kind: str, narrow_first: bool) -> None:
    nodes, constants = narrowed(shape)
    nodes.append(node("Tanh", ["x"], ["a"]) if kind != "Div" else node("Softplus", ["x"], ["a"]))
    nodes.append(node(kind, ["b", "a"] if narrow_first else ["a", "b"], ["y"]))
    check(model(nodes, [1, 4, 5, 6], constants))


@pytest.mark.parametrize("shape", SHAPES[1:])
@pytest.mark.parametrize("expanded_first", [False, True])
def test_a_factor_needs_no_expansion(shape: list[int], expanded_first: bool) -> None:
    nodes, constants = narrowed(shape)
    nodes += [node("Expand", ["b", "shape"], ["e"]), node("Tanh", ["x"], ["a"])]
    nodes.append(node("Mul", ["e", "a"] if expanded_first else ["a", "e"], ["y"]))
    made = operations(check(model(nodes, [1, 4, 5, 6], {**constants, "shape": np.array([1, 4, 5, 6])})))
    assert "Mul" in made and not {"Take", "Concat"} & set(made)


def test_an_expansion_stays_where_it_is_not_a_factor_alone() -> None:
    nodes, constants = narrowed([1, 4, 1, 1])
    nodes += [node("Expand", ["b", "shape"], ["e"]), node("ReduceMax", ["x"], ["a"], axes=[2])]
    nodes += [node("Mul", ["a", "e"], ["y"])]
    made = operations(check(model(nodes, [1, 4, 5, 6], {**constants, "shape": np.array([1, 4, 5, 6])}, opset=13)))
    assert "Take" in made


@pytest.mark.parametrize("kind", ["Add", "Mul", "Max"])
def test_both_are_spread(kind: str) -> None:
    nodes = [
        node("ReduceMax", ["x"], ["a"], axes=[2]),
        node("ReduceMean", ["x"], ["b"], axes=[1, 3]),
        node(kind, ["a", "b"], ["y"]),
    ]
    check(model(nodes, [1, 4, 5, 6], opset=13))


@pytest.mark.parametrize("kind", ["Max", "Min"])
@pytest.mark.parametrize("first", [False, True])
def test_bounds_per_channel(kind: str, first: bool) -> None:
    made = operations(
        check(model([node(kind, ["c", "x"] if first else ["x", "c"], ["y"])], [1, 4, 5, 6], {"c": random(4, 1, 1)}))
    )
    assert "Relu" in made and not {"Max", "Min"} & set(made)


@pytest.mark.parametrize(
    "kind", ["ReduceMean", "ReduceMax", "ReduceMin", "ReduceSum", "ReduceL1", "ReduceL2", "ReduceSumSquare"]
)
@pytest.mark.parametrize("axes", [[1], [1, 2], [1, 2, 3], [-1], [2, 3]])
@pytest.mark.parametrize("keep", [0, 1])
def test_reductions(kind: str, axes: list[int], keep: int) -> None:
    check(model([node(kind, ["x", "axes"], ["y"], keepdims=keep)], [1, 6, 4, 5], {"axes": np.array(axes)}, opset=18))


@pytest.mark.parametrize("size", [1, 3, 5])
def test_local_response_normalization(size: int) -> None:
    check(model([node("LRN", ["x"], ["y"], size=size, alpha=0.3, beta=0.6, bias=1.5)], [1, 6, 4, 5]))


def test_instance_normalization() -> None:
    constants = {"s": random(3), "b": random(3, seed=2)}
    check(model([node("InstanceNormalization", ["x", "s", "b"], ["y"])], [1, 3, 6, 5], constants), tolerance=1e-3)


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize(("shape", "axis"), [([1, 4, 5, 6], 1), ([1, 4, 5, 6], 2), ([1, 4, 5, 6], -1), ([1, 7], -1)])
def test_division_by_a_norm(p: int, shape: list[int], axis: int) -> None:
    check(model([node("LpNormalization", ["x"], ["y"], axis=axis, p=p)], shape))


@pytest.mark.parametrize("p", [1, 2])
def test_zeros_divided_by_their_norm_cost_the_others_nothing(p: int) -> None:
    proto = model([node("LpNormalization", ["x"], ["y"], axis=1, p=p)], [1, 4, 3, 5])
    x = np.abs(random(16, 4, 3, 5)) + np.float32(0.3)
    x[:, :, 1, 2] = 0
    want = np.concatenate([reference(proto, one[None])[0] for one in x])
    found = escc.compile(proto, x, "dense").run(x)
    assert not found[:, :, 1, 2].any() and np.abs(found - want).max() <= 0.05


@pytest.mark.parametrize("p", [1, 2, 3])
def test_norms_of_windows(p: int) -> None:
    window = {"kernel_shape": [2, 3], "strides": [2, 1], "pads": [1, 1, 0, 1]}
    check(model([node("LpPool", ["x"], ["y"], p=p, **window)], [1, 4, 5, 6]))
    check(model([node("LpPool", ["x"], ["y"], p=p, kernel_shape=[3])], [1, 4, 9]))


@pytest.mark.parametrize("shape", [[1, 4, 5, 6], [1, 6]])
def test_division_by_the_root_of_the_mean_square(shape: list[int]) -> None:
    nodes = [node("RMSNormalization", ["x", "s"], ["y"], axis=-1, epsilon=0.01)]
    found = EsccBackend.prepare(model(nodes, shape, {"s": random(6)}, opset=23)).run([random(*shape, seed=2)])[0]
    x = random(*shape, seed=2)
    np.testing.assert_allclose(
        found, x / np.sqrt((x * x).mean(-1, keepdims=True) + 0.01) * random(6), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(("shape", "axis"), [([1, 6], 1), ([1, 4, 6], 2), ([1, 4, 6], 1), ([1, 4, 5, 6], 2)])
@pytest.mark.parametrize("biased", [False, True])
def test_normalisation_of_the_last_axes(shape: list[int], axis: int, biased: bool) -> None:
    """Where these are not the channels alone, the parameters vary from position to position."""
    constants = {"s": random(*shape[axis:]), "b": random(*shape[axis:], seed=3)}
    given = ["x", "s", "b"] if biased else ["x", "s"]
    nodes = [node("LayerNormalization", given, ["y"], axis=axis)]
    check(model(nodes, shape, {name: constants[name] for name in given[1:]}), tolerance=1e-3)
