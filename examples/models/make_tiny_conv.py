"""Write tiny_conv.onnx, the one convolution that docs/architecture.md follows through every level.

Its kernels are ternary combinations of two basis kernels, Sobel and Laplace, so decomposing it is exact up to the
rounding of the bases to 8 bits.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SOBEL = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], np.float32) / 8
LAPLACE = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]], np.float32) / 4
COEFFICIENTS = np.array([[[1, 0], [0, -1]], [[-1, 1], [1, 0]]], np.float32)  # [output][input][basis]


def model() -> onnx.ModelProto:
    """Conv 3x3, 2 -> 2 channels on a 6x6 map, with a Relu."""
    weight = np.einsum("kcv,vrs->kcrs", COEFFICIENTS, np.stack([SOBEL, LAPLACE]))
    bias = np.array([0.125, -0.25], np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "weight", "bias"], ["c"], "conv", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["c"], ["y"], "relu"),
        ],
        "tiny_conv",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2, 6, 6])],
        [numpy_helper.from_array(weight.astype(np.float32), "weight"), numpy_helper.from_array(bias, "bias")],
    )
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8, producer_name="escc examples")


if __name__ == "__main__":
    Path(__file__).with_name("tiny_conv.onnx").write_bytes(model().SerializeToString(deterministic=True))
