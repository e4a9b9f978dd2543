"""Models of opsets before 7: operands aligned by an axis, inference by a flag, lists in attributes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx_graphs import canonical, model, node, random

from dialects.interpreters.run import run_module
from escc.onnx_import import import_model
from isa.errors import UserError

X = random(1, 3, 6, 6, seed=1)
CONSTANTS = {
    "w": random(4, 3, 3, 3, seed=2),
    "c": random(3, seed=3),
    "row": random(3, 6, seed=4)[:, :1],
    "s": random(3, seed=5),
    "gain": 1 + np.abs(random(4, seed=6)),
    "b": random(4, seed=7),
    "m": random(4, seed=8),
    "v": 1 + np.abs(random(4, seed=9)),
}


def of_opset(opset: int) -> onnx.ModelProto:
    """One network as an opset before 7 writes it."""
    old: dict[str, Any] = {"consumed_inputs": [0]} if opset < 6 else {}
    old_norm: dict[str, Any] = {"consumed_inputs": [0] * 5} if opset < 6 else {}
    nodes = [
        node("Add", ["x", "c"], ["a"], broadcast=1, axis=1),
        node("Mul", ["row", "row"], ["square"]),
        node("Mul", ["a", "square"], ["e"], broadcast=1, axis=-3),
        node("PRelu", ["e", "s"], ["p"]),
        node("Conv", ["p", "w"], ["f"]),
        node("BatchNormalization", ["f", "gain", "b", "m", "v"], ["n"], is_test=1, epsilon=1e-3, **old_norm),
        node("Dropout", ["n"], ["d"], is_test=1),
        node("Selu", ["d"], ["u"], **old),
        node("Cast", ["u"], ["t"], to="FLOAT" if opset < 6 else onnx.TensorProto.FLOAT),
    ]
    sides = {"paddings" if opset < 2 else "pads": [0, 0, 1, 0, 0, 0, 0, 0]}
    nodes.append(node("Pad", ["t"], ["padded"], mode="constant", **sides))
    constants: dict[str, Any] = dict(CONSTANTS)
    if opset < 5:
        nodes.append(node("Reshape", ["padded"], ["y"], shape=[1, -1], **old))
    else:
        constants["shape"] = np.array([1, -1])
        nodes.append(node("Reshape", ["padded", "shape"], ["y"]))
    return model(nodes, X.shape, constants, opset=opset)


def of_opset_7() -> onnx.ModelProto:
    """The same network in the first opset without these forms."""
    wide = {"c": CONSTANTS["c"].reshape(3, 1, 1), "row": CONSTANTS["row"].reshape(3, 1, 1)}
    constants = {**CONSTANTS, **wide, "s": CONSTANTS["s"].reshape(3, 1, 1), "shape": np.array([1, -1])}
    nodes = [
        node("Add", ["x", "c"], ["a"]),
        node("Mul", ["row", "row"], ["square"]),
        node("Mul", ["a", "square"], ["e"]),
        node("PRelu", ["e", "s"], ["p"]),
        node("Conv", ["p", "w"], ["f"]),
        node("BatchNormalization", ["f", "gain", "b", "m", "v"], ["n"], epsilon=1e-3),
        node("Selu", ["n"], ["u"]),
        node("Pad", ["u"], ["padded"], pads=[0, 0, 1, 0, 0, 0, 0, 0]),
        node("Reshape", ["padded", "shape"], ["y"]),
    ]
    return model(nodes, X.shape, constants, opset=7)


@pytest.mark.parametrize("opset", range(1, 7))
def test_every_old_opset_means_the_same(opset: int) -> None:
    found, wanted = (
        run_module(canonical(import_model(proto.SerializeToString())), [X])[0]
        for proto in (of_opset(opset), of_opset_7())
    )
    assert found.shape == (1, 80)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("old", "reason"),
    [
        (node("Dropout", ["x"], ["y"], name="d"), "is_test=0 unsupported; requires 1: export the model for inference"),
        (
            node("Add", ["x", "c"], ["y"], name="d", broadcast=1, axis=4),
            "aligns shape [3] with [1,3,6,6] from axis 4 on; requires axes that it has",
        ),
        (
            node("Upsample", ["x"], ["y"], name="d", width_scale=2.0, height_scale=2.0),
            "opset 1 unsupported for this operator; requires opset 7 or newer",
        ),
        (node("Cast", ["x"], ["y"], name="d", to="REAL"), "converts to 'REAL'; requires the name of an element type"),
    ],
)
def test_what_only_an_old_opset_says(old: onnx.NodeProto, reason: str) -> None:
    used = {"c": CONSTANTS["c"]} if "c" in old.input else {}
    with pytest.raises(UserError) as fault:
        import_model(model([old], X.shape, used, opset=1).SerializeToString(), "m")
    assert fault.value.causes == (f"m: node 'd' ({old.op_type}): {reason}",)
