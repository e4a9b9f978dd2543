"""What the weights of a convolution are made of, as text in the metadata of an ONNX model.

ONNX has no operator for such weights, so that an exported model holds the int8 weights themselves. The entry
"escc.form NODE" tells the importer of what those of a Conv node are made. Other programs may ignore it. Whoever changes
the weights need not care: a form that does not give exactly the weights of its node is not used.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from math import prod
from typing import Any, cast

import numpy as np
from xdsl.dialects.builtin import DictionaryAttr, IntegerAttr, StringAttr, i64
from xdsl.ir import Attribute

from dialects.blob import DenseAttr
from dialects.rebuilt import RebuiltConv2d
from isa.jsonform import canonical

PREFIX = "escc.form "
"""What the key of a form begins with; the name of the node follows."""
_LEAST, _GREATEST = -(1 << 63), (1 << 63) - 1


def to_text(op: RebuiltConv2d) -> str:
    """The form of an operation."""
    values: dict[str, Any] = {}
    for name, value in op.form.items():
        if isinstance(value, DenseAttr):
            data = np.ascontiguousarray(value.array, np.int8)
            values[name] = {"shape": list(data.shape), "int8": base64.b64encode(data.tobytes()).decode("ascii")}
        elif isinstance(value, IntegerAttr):
            values[name] = value.value.data
    return canonical({"operation": op.name, "values": values})


def from_text(text: str) -> DictionaryAttr:
    """The inverse of `to_text`, as {"operation": ..., and each value by its name}. Raises ValueError if it is none."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError("it is no JSON") from error
    if not isinstance(found, dict):
        raise ValueError("it is no JSON object")
    whole = cast("dict[str, Any]", found)
    operation, values = whole.get("operation"), whole.get("values")
    if set(whole) != {"operation", "values"} or not isinstance(operation, str) or not isinstance(values, dict):
        raise ValueError("it needs exactly 'operation' and 'values'")
    made: dict[str, Attribute] = {"operation": StringAttr(operation)}
    for name, value in cast("dict[str, Any]", values).items():
        if name in made:
            raise ValueError(f"value '{name[:40]}' has the name of another part")
        made[name] = _value(name[:40], value)
    return DictionaryAttr(made)


def _value(name: str, value: Any) -> Attribute:
    if isinstance(value, int) and not isinstance(value, bool) and _LEAST <= value <= _GREATEST:
        return IntegerAttr(value, i64)
    if not isinstance(value, Mapping):
        raise ValueError(f"value '{name}' is neither an integer nor a constant")
    entry = cast("Mapping[str, Any]", value)
    shape, data = entry.get("shape"), entry.get("int8")
    if set(entry) != {"shape", "int8"} or not isinstance(shape, list) or not isinstance(data, str):
        raise ValueError(f"value '{name}' needs exactly 'shape' and 'int8'")
    extents = cast("list[Any]", shape)
    if len(extents) > 8 or not all(type(n) is int and 0 < n <= _GREATEST for n in extents):
        raise ValueError(f"value '{name}' has a shape that is none")
    try:
        raw = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"value '{name}' is no base64") from error
    if len(raw) != prod(extents):
        raise ValueError(f"value '{name}' has {len(raw)} bytes for a shape of {prod(extents)}")
    return DenseAttr.of(np.frombuffer(raw, np.int8).reshape(extents))
