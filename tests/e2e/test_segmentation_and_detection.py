"""A U-Net, a detector of the YOLO kind and a network of three inputs: the same bits at every level."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from escc import load
from escc.cli.compile import main


class NodeChain:
    """Nodes of an ONNX model with random weights, one behind the other."""

    def __init__(self, **inputs: list[int]):
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, Any] = {}
        self.inputs = inputs
        self.rng = np.random.default_rng(0)

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Append a node; its result."""
        name = f"{kind}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def constant(self, array: Any) -> str:
        """An initializer."""
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(array)
        return name

    def weights(self, *shape: int) -> str:
        """Random weights."""
        return self.constant((self.rng.standard_normal(shape) * np.prod(shape[1:]) ** -0.5).astype(np.float32))

    def conv(self, x: str, c: int, k: int, size: int = 3, stride: int = 1) -> str:
        """A convolution."""
        pads = [size // 2] * 4
        return self.add("Conv", x, self.weights(k, c, size, size), pads=pads, strides=[stride] * 2)

    def silu(self, x: str) -> str:
        """x * sigmoid(x)."""
        return self.add("Mul", x, self.add("Sigmoid", x))

    def twice(self, x: str, mode: str) -> str:
        """Twice as many rows and columns."""
        return self.add("Resize", x, "", self.constant(np.array([1, 1, 2, 2], np.float32)), mode=mode)

    def save(self, folder: Path, *outputs: str) -> list[str]:
        """Write the model and calibration data; the arguments that compile and verify it."""
        graph = helper.make_graph(
            self.nodes,
            "graph",
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in self.inputs.items()],
            [helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in outputs],
            [numpy_helper.from_array(a, n) for n, a in self.constants.items()],
        )
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.save(proto, folder / "model.onnx")
        data = {n: self.rng.standard_normal((4, *s[1:])).astype(np.float32) for n, s in self.inputs.items()}
        np.savez(folder / "data.npz", allow_pickle=True, **data)
        paths = [str(folder / name) for name in ("model.onnx", "data.npz", "model.bin")]
        return [paths[0], "--calibration", paths[1], "--scheme", "dense", "--verify-numerics", "-o", paths[2], "-q"]


def unet(n: NodeChain, upsample: str) -> tuple[str, ...]:
    """Two levels down and up again, skip connections joined."""
    a = n.add("Relu", n.conv("x", 3, 8))
    b = n.add("Relu", n.conv(n.add("MaxPool", a, kernel_shape=[2, 2], strides=[2, 2]), 8, 16))
    y = n.add("Relu", n.conv(n.add("MaxPool", b, kernel_shape=[2, 2], strides=[2, 2]), 16, 32))
    for skip, wide, narrow in ((b, 32, 16), (a, 16, 8)):
        if upsample == "ConvTranspose":
            y = n.add("ConvTranspose", y, n.weights(wide, narrow, 2, 2), strides=[2, 2])
        else:
            y = n.conv(n.twice(y, upsample), wide, narrow, 1)
        y = n.add("Relu", n.conv(n.add("Concat", y, skip, axis=1), 2 * narrow, narrow))
    return (n.add("Sigmoid", n.conv(y, 8, 2, 1)),)


def detector(n: NodeChain) -> tuple[str, ...]:
    """A backbone, pools of one size in a row, features of two sizes joined upwards, a head for each."""
    a = n.silu(n.conv(n.silu(n.conv("x", 3, 8, stride=2)), 8, 16, stride=2))
    b = n.silu(n.conv(a, 16, 32, stride=2))
    parts = [n.silu(n.conv(b, 32, 16, 1))]
    for _ in range(3):
        parts.append(n.add("MaxPool", parts[-1], kernel_shape=[5, 5], strides=[1, 1], pads=[2, 2, 2, 2]))
    b = n.silu(n.conv(n.add("Concat", *parts, axis=1), 64, 32, 1))
    a = n.silu(n.conv(n.add("Concat", n.twice(b, "nearest"), a, axis=1), 48, 16))
    return n.conv(a, 16, 18, 1), n.conv(b, 32, 18, 1)


def several(n: NodeChain) -> tuple[str, ...]:
    """Three inputs, of which one gates channels and one is spread, and two outputs."""
    x = n.add("Add", n.conv("x", 3, 8), n.conv("depth", 1, 1, 1))
    x = n.add("Max", x, n.add("ReduceMean", x, axes=[1]))
    gate = n.add("Sigmoid", n.add("Gemm", "meta", n.weights(5, 8)))
    x = n.add("Mul", x, n.add("Unsqueeze", gate, n.constant(np.array([2, 3]))))
    flat = n.add("Flatten", n.add("GlobalAveragePool", x))
    return x, n.add("Softmax", n.add("Gemm", flat, n.weights(8, 3)))


def normalised(n: NodeChain) -> tuple[str, ...]:
    """LayerNormalization of channels that stand last, of a vector, and of a map that stays as it is."""

    def scales(c: int) -> list[str]:
        return [n.constant(n.rng.uniform(0.5, 2, c).astype(np.float32)) for _ in range(2)]

    x = n.conv("x", 3, 12)
    y = n.add("LayerNormalization", n.add("Transpose", x, perm=[0, 2, 3, 1]), *scales(12), epsilon=1e-6)
    y = n.add("Add", n.add("Transpose", y, perm=[0, 3, 1, 2]), x)
    z = n.add("LayerNormalization", n.add("Flatten", n.add("GlobalAveragePool", y)), scales(12)[0])
    return y, n.add("Gemm", z, n.weights(12, 5))


@pytest.mark.parametrize("upsample", ["ConvTranspose", "linear", "nearest"])
def test_unet(upsample: str, tmp_path: Path) -> None:
    n = NodeChain(x=[1, 3, 32, 24])
    assert main(n.save(tmp_path, *unet(n, upsample))) == 0


def test_detector(tmp_path: Path) -> None:
    n = NodeChain(x=[1, 3, 64, 64])
    assert main(n.save(tmp_path, *detector(n))) == 0


def test_layer_normalisation(tmp_path: Path) -> None:
    n = NodeChain(x=[1, 3, 10, 7])
    arguments = n.save(tmp_path, *normalised(n))
    assert main(arguments) == 0
    found = load(tmp_path / "model.bin").run_all(np.load(tmp_path / "data.npz")["x"])
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    for x in np.load(tmp_path / "data.npz")["x"][:1]:
        for y, wanted in zip(found.values(), session.run(None, {"x": x[None]}), strict=True):
            want = np.asarray(wanted)
            assert np.abs(y[:1] - want).mean() < 0.02 * np.abs(want).max()


def test_several_inputs_and_outputs(tmp_path: Path) -> None:
    n = NodeChain(x=[1, 3, 16, 16], depth=[1, 1, 16, 16], meta=[1, 5])
    assert main(n.save(tmp_path, *several(n))) == 0
