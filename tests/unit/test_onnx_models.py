"""The real models: import and canonicalisation against onnxruntime."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx_graphs import canonical, close, operations, reference

from dialects.interpreters.run import run_module
from dialects.locations import node_names
from dialects.onnx import PadOp, SliceOp, ints
from escc.onnx_import import import_model

MODELS = {
    "resnet20_cifar10": {"Conv": 20, "Relu": 19, "Add": 9, "Slice": 2, "Pad": 2, "AveragePool": 1, "Reshape": 1},
    "resnet8_cifar10": {"Conv": 10, "Relu": 7, "Add": 3, "AveragePool": 1, "Reshape": 1},
    "resnet8_cifar10_qdq": {
        "QuantizeLinear": 15,
        "DequantizeLinear": 25,
        "Conv": 10,
        "Relu": 7,
        "Add": 3,
        "AveragePool": 1,
        "Reshape": 1,
    },
    "mobilenet_v2_imagenet": {"Conv": 53, "Clip": 35, "Add": 10, "AveragePool": 1, "Reshape": 1},
    "mobilenet_v2_imagenet_qdq": {
        "QuantizeLinear": 65,
        "DequantizeLinear": 118,
        "Conv": 53,
        "Add": 10,
        "AveragePool": 1,
        "Reshape": 1,
    },
    "squeezenet_imagenet_pruned": {"Conv": 26, "Relu": 26, "Concat": 8, "MaxPool": 3, "AveragePool": 1, "Reshape": 1},
}


def image(name: str, proto: onnx.ModelProto) -> np.ndarray:
    """A smooth random image in the value range the model was trained for."""
    shape = [d.dim_value or 1 for d in proto.graph.input[0].type.tensor_type.shape.dim]
    noise = np.random.default_rng(0).standard_normal(shape)
    smooth = noise + np.roll(noise, 1, axis=2) + np.roll(noise, 1, axis=3)
    if name.startswith("resnet8"):
        return np.clip(np.rint(128 + 40 * smooth), 0, 255).astype(np.float32)
    return (smooth * (40 if name.startswith("squeezenet") else 0.5)).astype(np.float32)


@pytest.mark.parametrize("name", MODELS)
def test_model(name: str, data_dir: Path) -> None:
    path = data_dir / "models" / f"{name}.onnx"
    proto = onnx.load(path)
    x = image(name, proto)
    want = reference(proto, x)
    # Sums on a rounding boundary may fall either way in a QDQ model, and a step grows on its way to the output.
    tolerance = 0.06 if name.endswith("qdq") else 1e-4
    module = import_model(path)
    module.verify()
    close(run_module(module, [x]), want, tolerance)
    canonical(module)
    assert Counter(operations(module)) == MODELS[name]
    close(run_module(module, [x]), want, tolerance)
    known = {n.name for n in proto.graph.node if n.name}
    named = {name for op in module.walk() if not op.name.startswith(("builtin", "func")) for name in node_names(op)}
    assert {n.name for n in proto.graph.node if n.op_type == "Conv"} <= named & known


def test_shortcuts_of_resnet20(data_dir: Path) -> None:
    """Two Slices become one, the Pad's constant subgraph its attribute."""
    module = canonical(import_model(data_dir / "models" / "resnet20_cifar10.onnx"))
    slices = [op for op in module.walk() if isinstance(op, SliceOp)]
    pads = [op for op in module.walk() if isinstance(op, PadOp)]
    assert [(ints(s.starts), ints(s.axes), ints(s.steps)) for s in slices] == [((0, 0), (2, 3), (2, 2))] * 2
    assert [ints(p.pads) for p in pads] == [(0, 8, 0, 0, 0, 8, 0, 0), (0, 16, 0, 0, 0, 16, 0, 0)]
    assert node_names(slices[0]) == ("/layer2/layer2.0/Slice_1", "/layer2/layer2.0/Slice")
