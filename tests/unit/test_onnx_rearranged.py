"""Channel shuffles, Split, reductions of maps and dilated windows against onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_graphs import canonical, check, model, node, operations, random

from escc.onnx_import import import_model

SHAPES = {"split": np.array([1, 3, 2, 4, 5]), "flat": np.array([1, 3, 2, 20]), "joined": np.array([1, 6, 4, 5])}


@pytest.mark.parametrize("split", ["split", "flat"])
def test_reshapes_around_an_exchange_are_a_shuffle(split: str) -> None:
    perm = [0, 2, 1, 3, 4] if split == "split" else [0, 2, 1, 3]
    nodes = [
        node("Reshape", ["x", split], ["a"]),
        node("Transpose", ["a"], ["b"], perm=perm),
        node("Reshape", ["b", "joined"], ["c"]),
        node("Relu", ["c"], ["y"]),
    ]
    assert operations(check(model(nodes, [1, 6, 4, 5], SHAPES))) == ["ChannelShuffle", "Relu"]


def test_other_reshapes_are_no_shuffle() -> None:
    nodes = [
        node("Reshape", ["x", "split"], ["a"]),
        node("Transpose", ["a"], ["b"], perm=[0, 1, 2, 4, 3]),
        node("Reshape", ["b", "joined"], ["c"]),
        node("Relu", ["c"], ["y"]),
    ]
    module = import_model(model(nodes, [1, 6, 4, 5], SHAPES).SerializeToString())
    assert "ChannelShuffle" not in operations(canonical(module, legal=False))


@pytest.mark.parametrize("axis", [1, 2, -1])
@pytest.mark.parametrize(("opset", "form"), [(11, "attribute"), (13, "input"), (13, "even"), (18, "num_outputs")])
def test_split(axis: int, opset: int, form: str) -> None:
    attributes = {"attribute": {"split": [1, 5]}, "num_outputs": {"num_outputs": 2}}.get(form, {})
    inputs = ["x", "parts"] if form == "input" else ["x"]
    nodes = [node("Split", inputs, ["a", "b"], axis=axis, **attributes), node("Relu", ["a"], ["c"])]
    nodes.append(node("Concat", ["b", "c"], ["y"], axis=axis))
    check(model(nodes, [1, 6, 6, 6], {"parts": np.array([2, 4])}, opset=opset), legal=axis == 1)


def test_a_part_that_nothing_reads_is_not_computed() -> None:
    nodes = [node("Split", ["x"], ["a", "b"], axis=1), node("Relu", ["b"], ["y"])]
    assert operations(check(model(nodes, [1, 6, 4, 5], opset=13))) == ["Slice", "Relu"]


def test_a_mean_over_no_axes_changes_nothing() -> None:
    nodes = [node("ReduceMean", ["x"], ["m"], noop_with_empty_axes=1), node("Relu", ["m"], ["y"])]
    assert operations(check(model(nodes, [1, 3, 4, 5], opset=18))) == ["Relu"]


@pytest.mark.parametrize("kind", ["ReduceMax", "ReduceSum", "ReduceMean"])
@pytest.mark.parametrize("keep", [0, 1])
def test_reductions_over_maps(kind: str, keep: int) -> None:
    given = {"axes": [2, 3]} if kind != "ReduceSum" else {}
    inputs = ["x", "axes"] if kind == "ReduceSum" else ["x"]
    proto = model(
        [node(kind, inputs, ["y"], keepdims=keep, **given)], [1, 3, 4, 5], {"axes": np.array([-1, 2])}, opset=13
    )
    check(proto)


@pytest.mark.parametrize("dilations", [[2, 2], [1, 3], [3, 1]])
@pytest.mark.parametrize("group", [1, 4])
def test_dilated_convolutions(dilations: list[int], group: int) -> None:
    weights = {"w": random(8, 4 // group, 3, 3), "b": random(8)}
    conv = node("Conv", ["x", "w", "b"], ["y"], dilations=dilations, pads=[2, 1, 2, 1], group=group, strides=[2, 1])
    assert operations(check(model([conv], [1, 4, 12, 11], weights))) == ["Conv"]


def test_dilated_weights_that_are_stored_as_integers() -> None:
    rng = np.random.default_rng(0)
    constants = {
        "q": rng.integers(0, 255, (5, 4, 3, 3)).astype(np.uint8),
        "s": rng.uniform(0.01, 0.1, 5).astype(np.float32),
        "z": rng.integers(100, 150, 5).astype(np.uint8),
    }
    nodes = [
        node("DequantizeLinear", ["q", "s", "z"], ["w"], axis=0),
        node("Conv", ["x", "w"], ["y"], dilations=[2, 3], pads=[2, 3, 2, 3]),
    ]
    check(model(nodes, [1, 4, 12, 11], constants))
