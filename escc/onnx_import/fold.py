"""Evaluation of nodes whose inputs are constants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import onnx
from onnx import helper

from escc.onnx_import.constraints import scale_shape_matches
from escc.onnx_import.evaluable import ELEMENTS
from escc.onnx_import.node import Array, Node, Quantised
from escc.onnx_import.reader import to_array
from isa import elementary

_STORED = ("int8", "uint8", "int32")
"""Types of quantised constants whose integers stay; of other types the real numbers are kept."""

_FUNCTIONS: dict[str, Callable[..., Array]] = {
    "Exp": elementary.exp,
    "Log": elementary.log,
    "Pow": elementary.power,
    "Sigmoid": elementary.sigmoid,
    "Tanh": elementary.tanh,
}
"""Operators whose NumPy functions give another last digit on another processor."""
_OTHERS = frozenset({"Elu", "Erf", "Gemm", "MatMul", "ReduceLogSum", "ReduceLogSumExp", "Softmax", "Softplus"})
"""Others of that kind: evaluated in float64, whose last digits do not show in the float32 result."""


def is_foldable(node: Node) -> bool:
    """Whether the node can be evaluated at import: an operator of `ELEMENTS` with constant inputs."""
    if node.op_type in ("Shape", "Size"):
        return node.shape() is not None
    return node.op_type in ELEMENTS and all(v is None or v.const is not None for v in node.inputs)


def constant_attribute(node: Node) -> Array:
    """Value of a Constant node in any of its forms. Raises ValueError for sparse tensors."""
    for form, dtype in (
        ("value_float", np.float32),
        ("value_floats", np.float32),
        ("value_int", np.int64),
        ("value_ints", np.int64),
    ):
        if form in node.attributes:
            return np.asarray(node.attributes[form], dtype)
    if "value" not in node.attributes:
        form = ", ".join(node.attributes) or "nothing"
        raise ValueError(f"constant given as {form} unsupported; requires a dense tensor or numbers")
    return to_array(node.attributes["value"])


def evaluate(node: Node, proto: onnx.NodeProto) -> list[Array]:
    """Outputs of a foldable node. Raises ValueError with the reason when it cannot be evaluated."""
    if node.op_type == "Constant":
        return [constant_attribute(node)]
    if node.op_type in ("Shape", "Size"):
        shape = np.asarray(node.shape(), np.int64)
        if node.op_type == "Size":
            return [np.asarray(shape.prod(), np.int64)]
        return [shape[slice(node.attr("start", 0), node.attr("end"))]]
    feeds = {v.name: v.const for v in node.inputs if v is not None and v.const is not None}
    try:
        return _results(node, proto, feeds)
    except Exception as error:  # the evaluator raises whatever its NumPy code does
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"cannot be evaluated on its constant inputs: {reason}") from error


def _results(node: Node, proto: onnx.NodeProto, feeds: dict[str, Array]) -> list[Array]:
    """Outputs with the same bits on every processor, for the compiler decides by them."""
    operands = [feeds[name] for name in proto.input if name]
    single = bool(operands) and operands[0].dtype == np.float32
    if single and node.op_type in _FUNCTIONS:
        with np.errstate(over="ignore"):
            return [_FUNCTIONS[node.op_type](*operands).astype(np.float32)]
    if single and node.op_type == "MatMul" and all(x.ndim == 2 for x in operands):
        from passes.math.linear import product

        return [product(*(x.astype(np.float64) for x in operands)).astype(np.float32)]
    wide = single and node.op_type in _OTHERS
    if wide:
        feeds = {name: x.astype(np.float64) if x.dtype == np.float32 else x for name, x in feeds.items()}
    from onnx.reference import ReferenceEvaluator

    evaluator = cast(Any, ReferenceEvaluator(_model_of(node, proto, feeds)))
    results: list[Any] = evaluator.run(None, feeds)
    return [np.asarray(r, np.float32 if wide else None) for r in results]


def _model_of(node: Node, proto: onnx.NodeProto, feeds: dict[str, Array]) -> onnx.ModelProto:
    """A model of one node: the evaluator looks up the version of an operator by opset only in models."""
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in feeds.items()
    ]
    outputs = [onnx.ValueInfoProto(name=name) for name in proto.output if name]
    graph = helper.make_graph([proto], "node", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", node.opset)])


def dequantized(node: Node) -> tuple[Array, Quantised | None]:
    """Value of DequantizeLinear of constants, with the integers behind it if the compiler can use them.

    Raises ValueError for types other than integers, blocks, and scales that do not fit the shape.
    """
    x, scale, zero_point = node.const(0), node.const(1), node.const(2)
    assert x is not None and scale is not None
    if not x.dtype.name.startswith(("int", "uint")):
        raise ValueError(f"dequantises {x.dtype}; requires integers")
    if int(node.attr("block_size", 0)):
        raise ValueError(f"block_size={node.attr('block_size')} unsupported; requires per-tensor or per-axis scales")
    if misfit := scale_shape_matches(node):
        raise ValueError(misfit)
    quantised = normalised(x, scale, zero_point, node.axis(1, x.ndim))
    return real(quantised), quantised if x.dtype.name in _STORED else None


def normalised(x: Array, scale: Array, zero_point: Array | None, axis: int) -> Quantised:
    """Scale and zero point as f32 and integers of one shape, both scalar or both vectors."""
    zeros = np.zeros(scale.shape, x.dtype) if zero_point is None else zero_point
    if scale.size == 1:
        return Quantised(x, scale.reshape(()).astype(np.float32), zeros.reshape(()), axis)
    return Quantised(x, scale.astype(np.float32), np.broadcast_to(zeros, scale.shape), axis)


def real(q: Quantised) -> Array:
    """The real numbers a quantised constant stands for."""
    form = [-1 if i == q.axis else 1 for i in range(q.data.ndim)] if q.scale.ndim else []
    difference = q.data.astype(np.int32) - q.zero_point.reshape(form).astype(np.int32)
    return difference.astype(np.float32) * q.scale.reshape(form)


def moved(node: Node, result: Array) -> Quantised | None:
    """Quantised form of the result of a node that only moves the elements of a quantised constant, if it has one."""
    value = node.input(0)
    if value is None or value.quantised is None or value.const is None:
        return None
    q = value.quantised
    if node.op_type == "Identity" or (node.op_type == "Cast" and result.dtype == np.float32):
        return q
    if node.op_type == "Transpose":
        perm = node.ints("perm", range(q.data.ndim)[::-1])
        axis = perm.index(q.axis) if q.scale.ndim else q.axis
        return Quantised(q.data.transpose(perm), q.scale, q.zero_point, axis)
    if node.op_type in ("Reshape", "Flatten", "Squeeze", "Unsqueeze") and q.scale.ndim == 0:
        return Quantised(q.data.reshape(result.shape), q.scale, q.zero_point, 1 if result.ndim > 1 else 0)
    return None
