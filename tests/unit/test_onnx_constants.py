"""Constants that vary from position to position: beside maps they mean the same as in onnxruntime, at every level."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx_graphs import Array, check, model, node, operations, random, reference

from escc import load
from escc.cli.compile import main
from escc.onnx_import import import_model
from isa.errors import UserError

SHAPE = [1, 4, 5, 6]
SHAPES = [(5, 6), (6,), (5, 1), (4, 5, 1), (1, 1, 5, 6), (1, 4, 5, 6)]


@pytest.mark.parametrize("kind", ["Add", "Sub", "Mul", "Div", "Max", "Min", "Sum"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("first", [False, True])
def test_arithmetic(kind: str, shape: tuple[int, ...], first: bool) -> None:
    values = random(*shape) if kind != "Div" else 0.5 + np.abs(random(*shape))
    nodes = [node("Softplus", ["x"], ["a"]), node(kind, ["c", "a"] if first else ["a", "c"], ["y"])]
    check(model(nodes, SHAPE, {"c": values}))


CASES: dict[str, tuple[list[onnx.NodeProto], list[int], dict[str, Array]]] = {
    "a vector that becomes a map": ([node("Add", ["x", "c"], ["y"])], [1, 4, 1, 1], {"c": random(1, 4, 5, 2)}),
    "one channel that becomes several": ([node("Mul", ["c", "x"], ["y"])], [1, 1, 5, 6], {"c": random(4, 1, 1)}),
    "a comparison": (
        [node("Less", ["x", "c"], ["t"]), node("Where", ["t", "x", "d"], ["y"])],
        SHAPE,
        {"c": random(5, 6), "d": random(4, 5, 6, seed=1)},
    ),
    "a choice by position": (
        [node("Where", ["t", "x", "d"], ["y"])],
        SHAPE,
        {"t": random(5, 6) > 0, "d": random(4, 1, 1)},
    ),
    "channels": ([node("Concat", ["x", "c"], ["y"], axis=1)], SHAPE, {"c": random(1, 3, 5, 6)}),
    "columns": ([node("Concat", ["c", "x", "c"], ["y"], axis=3)], SHAPE, {"c": random(1, 4, 5, 2)}),
    "positions of a signal": ([node("Add", ["x", "c"], ["y"])], [1, 4, 7], {"c": random(4, 7)}),
}


@pytest.mark.parametrize("name", CASES)
def test_the_network_means_the_same(name: str) -> None:
    nodes, shape, constants = CASES[name]
    check(model(nodes, shape, constants))


def test_one_value_for_each_channel_is_no_map() -> None:
    nodes = [node("Div", ["x", "c"], ["a"]), node("Add", ["c", "a"], ["y"])]
    assert "DepthToSpace" not in operations(check(model(nodes, SHAPE, {"c": 1 + np.abs(random(1, 4, 1, 1))})))


def test_every_level(tmp_path: Path) -> None:
    """Position embeddings, a mask and a part of a concatenation, down to the integers of the machine."""
    constants = {
        "w": random(4, 3, 3, 3, scale=0.4),
        "where": random(1, 4, 6, 5, seed=1, scale=0.5),
        "mask": (random(6, 5, seed=2) > 0).astype(np.float32),
        "more": random(1, 2, 6, 5, seed=3),
        "v": random(5, 6, 1, 1, seed=4, scale=0.4),
    }
    nodes = [
        node("Conv", ["x", "w"], ["c"], pads=[1] * 4),
        node("Add", ["c", "where"], ["e"]),
        node("Relu", ["e"], ["r"]),
        node("Mul", ["mask", "r"], ["m"]),
        node("Concat", ["m", "more"], ["b"], axis=1),
        node("Conv", ["b", "v"], ["y"]),
    ]
    proto, x = model(nodes, ["N", 3, 6, 5], constants), random(8, 3, 6, 5, seed=5)
    onnx.save(proto, tmp_path / "m.onnx")
    np.save(tmp_path / "x.npy", x)
    options = ["--calibration", str(tmp_path / "x.npy"), "--scheme", "dense", "--verify-numerics", "-q"]
    assert main([str(tmp_path / "m.onnx"), *options, "-o", str(tmp_path / "m.bin")]) == 0
    found = load(tmp_path / "m.bin").run(x)
    wanted = np.concatenate([reference(proto, image[None])[0] for image in x])
    assert np.abs(found - wanted).mean() < 0.01 * np.abs(wanted).max()


@pytest.mark.parametrize(
    ("nodes", "shape", "constant", "cause"),
    [
        ([node("Add", ["x", "c"], ["y"])], SHAPE, (5, 5), "combines shapes [5,5] and [1,4,5,6]"),
        ([node("Max", ["x", "c"], ["y"])], SHAPE, (2, 4, 5, 6), "requires at most the dimensions [1,C,H,W]"),
        ([node("Div", ["c", "x"], ["y"])], [1, 6], (1, 6), "requires a single one, or a map [1,C,H,W]"),
        ([node("Concat", ["x", "c"], ["y"], axis=1)], [1, 6], (1, 6), "operand 'c' is a constant"),
    ],
)
def test_what_is_refused(nodes: list[onnx.NodeProto], shape: list[int], constant: tuple[int, ...], cause: str) -> None:
    with pytest.raises(UserError) as caught:
        import_model(model(nodes, shape, {"c": random(*constant)}).SerializeToString())
    assert any(cause in found for found in caught.value.causes)
