"""Chains of many nodes pass import and the passes on the float graph, whatever they consist of: nothing recurses."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx_graphs import canonical, model, node
from xdsl.context import Context

from dialects.locations import node_names
from escc.onnx_import import import_model
from passes.fuse_epilogues import FuseEpiloguesPass
from passes.quantize import QuantizePass

LENGTH = 1200


def chain(kind: str) -> onnx.ModelProto:
    constants = {"m": np.float32(1.001)} if kind == "Mul" else {}
    attributes: dict[str, list[int]] = {"kernel_shape": [1, 1]} if kind == "MaxPool" else {}
    names = ["x", *(f"t{i}" for i in range(LENGTH - 1)), "y"]
    nodes = [node(kind, [names[i], *constants], [names[i + 1]], **attributes) for i in range(LENGTH)]
    for one in nodes:
        one.name = "same"
    return model(nodes, [1, 1, 2, 2], constants)


@pytest.mark.parametrize("kind", ["Identity", "Sigmoid", "MaxPool", "Mul"])
def test_long_chains(kind: str) -> None:
    proto = chain(kind)
    proto.graph.node.append(node("Relu", ["y"], ["z"], name="last"))
    proto.graph.output[0].name = "z"
    module = canonical(import_model(proto.SerializeToString()))
    QuantizePass(samples=1).apply(Context(), module)
    FuseEpiloguesPass().apply(Context(), module)
    module.verify()
    names = {name for op in module.walk() for name in node_names(op)}
    assert "last" in names
    if kind != "Identity":
        assert {"same", "same_1", f"same_{LENGTH - 1}"} <= names
