"""Whether the element types of a node's inputs are those that its operator takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from escc.onnx_import.node import Node, is_float

FLOATS = ("tensor(float)", "tensor(float16)", "tensor(bfloat16)", "tensor(double)")


def _onnx_type(dtype: np.dtype[Any]) -> str:
    name = TensorProto.DataType.Name(helper.np_dtype_to_tensor_dtype(dtype)).lower()
    return f"tensor({name})"


def _kind(dtype: np.dtype[Any]) -> str:
    """Floating-point types count as one: all become float32."""
    return "float" if is_float(dtype) else dtype.name


def type_fault(node: Node, schema: onnx.defs.OpSchema) -> str | None:
    """What is wrong with the types of the inputs, None if nothing is: each must be one that the operator takes, and
    inputs that share a type parameter must agree.
    """
    bound: dict[str, tuple[str, str]] = {}
    for index, value in enumerate(node.inputs):
        if value is None or value.dtype is None or not schema.inputs:
            continue
        formal = schema.inputs[min(index, len(schema.inputs) - 1)]
        kind = _kind(value.dtype)
        taken = set(formal.types)
        if not (taken.intersection(FLOATS) if kind == "float" else _onnx_type(value.dtype) in taken):
            wanted = sorted({"float" if t in FLOATS else t.removeprefix("tensor(").removesuffix(")") for t in taken})
            return f"input '{value.name}' has type {value.dtype}; requires {' or '.join(wanted)}"
        name, other = bound.setdefault(formal.type_str, (value.name, kind))
        heterogeneous = formal.option == onnx.defs.OpSchema.FormalParameterOption.Variadic and not formal.is_homogeneous
        if kind != other and not heterogeneous:
            return f"inputs '{name}' ({other}) and '{value.name}' ({kind}) differ in type; requires one type"
    return None
