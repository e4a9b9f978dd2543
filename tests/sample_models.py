"""Small ONNX models for tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper


def constant(name: str, array: NDArray[np.generic]) -> onnx.TensorProto:
    """An initializer."""
    return numpy_helper.from_array(np.array(array, order="C"), name)


def model(
    nodes: Sequence[onnx.NodeProto],
    constants: Sequence[onnx.TensorProto] = (),
    shape: Sequence[int | str | None] = (1, 3, 8, 8),
    output: Sequence[int | str | None] | None = None,
    opset: int = 17,
) -> bytes:
    """Bytes of a model from "x" to the first output of the last node."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, output)
    graph = helper.make_graph(nodes, "test", [x], [y], initializer=constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    return made.SerializeToString()


def residual_model(channels: int = 16, size: int = 8, seed: int = 0) -> bytes:
    """Stem, residual block, strided convolution, pooling and classifier: every stage of the compiler in little."""
    rng = np.random.default_rng(seed)

    def weights(name: str, *shape: int) -> onnx.TensorProto:
        fan_in = int(np.prod(shape[1:]))
        return constant(name, (rng.standard_normal(shape) * np.sqrt(2 / fan_in)).astype(np.float32))

    def bias(name: str, count: int) -> onnx.TensorProto:
        return constant(name, (0.1 * rng.standard_normal(count)).astype(np.float32))

    def conv(name: str, source: str, stride: int = 1) -> onnx.NodeProto:
        return helper.make_node(
            "Conv", [source, f"{name}.w", f"{name}.b"], [name], name=name, pads=[1] * 4, strides=[stride] * 2
        )

    c = channels
    constants = [
        weights("stem.w", c, 3, 3, 3),
        bias("stem.b", c),
        weights("block.w", c, c, 3, 3),
        bias("block.b", c),
        weights("down.w", 2 * c, c, 3, 3),
        bias("down.b", 2 * c),
        weights("fc.w", 10, 2 * c),
        bias("fc.b", 10),
    ]
    nodes = [
        conv("stem", "x"),
        helper.make_node("Relu", ["stem"], ["stem.r"], name="stem_relu"),
        conv("block", "stem.r"),
        helper.make_node("Add", ["block", "stem.r"], ["sum"], name="block_add"),
        helper.make_node("Relu", ["sum"], ["sum.r"], name="block_relu"),
        conv("down", "sum.r", 2),
        helper.make_node("Relu", ["down"], ["down.r"], name="down_relu"),
        helper.make_node("GlobalAveragePool", ["down.r"], ["pool"], name="pool"),
        helper.make_node("Flatten", ["pool"], ["flat"], name="flatten"),
        helper.make_node("Gemm", ["flat", "fc.w", "fc.b"], ["y"], name="fc", transB=1),
    ]
    return model(nodes, constants, (1, 3, size, size), (1, 10))
