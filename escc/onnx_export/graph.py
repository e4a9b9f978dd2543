"""An ONNX graph that grows node by node, with unique names of nodes and tensors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from dialects.esc_base import QType

Array: TypeAlias = NDArray[Any]


class ExportedGraph:
    """Nodes and initializers. A tensor is called as the node that computes it, a constant as the node that reads it
    with what it is there.
    """

    def __init__(self, reserved: Iterable[str]):
        self.nodes: list[NodeProto] = []
        self.initializers: list[TensorProto] = []
        self._taken = set(reserved)

    def _unique(self, name: str) -> str:
        found, n = name, 1
        while found in self._taken:
            found, n = f"{name}_{n}", n + 1
        self._taken.add(found)
        return found

    def constant(self, name: str, array: Array) -> str:
        """Name of a new initializer."""
        unique = self._unique(name)
        self.initializers.append(numpy_helper.from_array(np.array(array, order="C"), unique))
        return unique

    def node(self, op_type: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """Name of the output of a new node."""
        unique = self._unique(name)
        self.nodes.append(helper.make_node(op_type, list(inputs), [unique], unique, **attributes))
        return unique

    def stored(self, x: str, q: QType, name: str) -> str:
        """The 8-bit integers of a tensor that is stored as `q` already."""
        scale, zero = np.asarray(q.scale, np.float32), np.zeros((), q.dtype)
        parameters = [self.constant(f"{name}/scale", scale), self.constant(f"{name}/zero_point", zero)]
        return self.node("QuantizeLinear", [x, *parameters], f"{name}/quantize")

    def quantised(self, x: str, q: QType, name: str) -> str:
        """The tensor as it is stored in 8 bits: QuantizeLinear and DequantizeLinear with zero point 0."""
        parameters = [
            self.constant(f"{name}/scale", np.asarray(q.scale, np.float32)),
            self.constant(f"{name}/zero_point", np.zeros((), q.dtype)),
        ]
        stored = self.node("QuantizeLinear", [x, *parameters], f"{name}/quantize")
        return self.node("DequantizeLinear", [stored, *parameters], f"{name}/dequantize")

    def weight(self, integers: Array, scale: Array, name: str) -> str:
        """A constant int8 weight behind DequantizeLinear: `scale` is one number or one per index of the first axis."""
        inputs = [
            self.constant(f"{name}/integers", integers.astype(np.int8)),
            self.constant(f"{name}/scale", scale.astype(np.float32)),
            self.constant(f"{name}/zero_point", np.zeros(scale.shape, np.int8)),
        ]
        return self.node("DequantizeLinear", inputs, name, **({"axis": 0} if scale.ndim else {}))

    def rename(self, old: str, new: str) -> None:
        """Give a tensor that a node computes another name."""
        for node in self.nodes:
            node.input[:] = [new if name == old else name for name in node.input]
            node.output[:] = [new if name == old else name for name in node.output]
