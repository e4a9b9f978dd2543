"""The operators that are evaluated on constants, each with the number of elements that it makes.

A table, and not whatever the reference evaluator can run: a few bytes of a model could ask it for any amount of memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from escc.onnx_import.node import Node

_PRODUCTS_PER_ELEMENT = 64
"""Multiplications that count as one element."""


def _size(node: Node, index: int = 0) -> int:
    return math.prod(node.shape(index) or ())


def _ints(node: Node, index: int) -> tuple[int, ...]:
    value = node.const(index)
    return () if value is None else tuple(int(v) for v in value.reshape(-1))


def _first(node: Node) -> int:
    """As many as the first input has at most."""
    return _size(node)


def _all(node: Node) -> int:
    return sum(_size(node, i) for i in range(len(node.inputs)))


def _broadcast(node: Node) -> int:
    return math.prod(np.broadcast_shapes(*(v.shape for v in node.inputs if v is not None and v.shape is not None)))


def _constant_of_shape(node: Node) -> int:
    return math.prod(_ints(node, 0))


def _expand(node: Node) -> int:
    return math.prod(np.broadcast_shapes(node.shape() or (), _ints(node, 1)))


def _tile(node: Node) -> int:
    return _size(node) * math.prod(_ints(node, 1))


def _range(node: Node) -> int:
    start, limit, delta = (float(v.item()) for v in (node.const(i) for i in range(3)) if v is not None)
    if not delta or not all(map(math.isfinite, (start, limit, delta))):
        raise ValueError(f"range from {start:g} to {limit:g} by {delta:g}; requires finite numbers, and a step")
    return max(0, math.ceil((limit - start) / delta))


def _pad(node: Node) -> int:
    shape, pads = node.shape() or (), node.parameter_ints("pads", 1) or ()
    axes = node.axes("axes", 3, len(shape)) or range(len(shape))
    added = dict.fromkeys(axes, 0)
    for axis, low, high in zip(axes, pads, pads[len(axes) :], strict=False):
        added[axis] = low + high
    return math.prod(d + max(0, added.get(i, 0)) for i, d in enumerate(shape))


def _gather(node: Node) -> int:
    shape = node.shape() or ()
    axis = node.axis(0, len(shape))
    others = math.prod(d for i, d in enumerate(shape) if i != axis)
    return others * _size(node, 1)


def _one_hot(node: Node) -> int:
    return _size(node) * math.prod(_ints(node, 1))


def _non_zero(node: Node) -> int:
    return _size(node) * max(1, len(node.shape() or ()))


def _matrix_product(node: Node) -> int:
    a: tuple[int, ...] = node.shape(0) or (1,)
    b: tuple[int, ...] = node.shape(1) or (1,)
    if node.op_type == "Gemm":
        a, b = (a[::-1] if node.flag("transA") else a), (b[::-1] if node.flag("transB") else b)
    batch = math.prod(np.broadcast_shapes(a[:-2], b[:-2]))
    inner, rows, columns = a[len(a) - 1], (a[-2] if len(a) > 1 else 1), (b[-1] if len(b) > 1 else 1)
    made = batch * rows * columns
    return max(made, made * inner // _PRODUCTS_PER_ELEMENT)


def _each(elements: Callable[[Node], int], names: str) -> dict[str, Callable[[Node], int]]:
    return dict.fromkeys(names.split(), elements)


ELEMENTS: dict[str, Callable[[Node], int]] = {
    # Element by element.
    **_each(_first, "Abs Cast CastLike Ceil Clip Elu Erf Exp Floor HardSigmoid HardSwish Identity IsInf IsNaN"),
    **_each(_first, "LeakyRelu Log Neg Not Reciprocal Relu Round Sigmoid Sign Softplus Sqrt Tanh"),
    **_each(_broadcast, "Add And Div Equal Greater GreaterOrEqual Less LessOrEqual Max Mean Min Mod Mul Or PRelu Pow"),
    **_each(_broadcast, "Sub Sum Where Xor"),
    # Moved, chosen or reduced.
    **_each(_first, "ArgMax ArgMin Constant CumSum EyeLike Flatten Reshape Shape Size Slice Split Squeeze Transpose"),
    **_each(_first, "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd"),
    **_each(_first, "ReduceSum ReduceSumSquare Trilu Unsqueeze"),
    # What stands around weights.
    **_each(_first, "BatchNormalization DequantizeLinear Dropout QuantizeLinear Softmax"),
    "Concat": _all,
    "ConstantOfShape": _constant_of_shape,
    "Expand": _expand,
    "Gather": _gather,
    "Gemm": _matrix_product,
    "MatMul": _matrix_product,
    "NonZero": _non_zero,
    "OneHot": _one_hot,
    "Pad": _pad,
    "Range": _range,
    "Tile": _tile,
}
"""Number of elements that a node on constants makes, at least; a function may raise ValueError with the reason."""
