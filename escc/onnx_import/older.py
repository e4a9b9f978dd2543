"""Operators of opsets before 7 as opset 7 writes them.

Before 7 a second operand is aligned by an attribute `axis`, inference is a flag, and some lists are attributes or have
other names. The importer knows none of that: what it converts and evaluates are nodes of opset 7 or newer.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx as onnx_proto

from dialects import onnx
from escc.onnx_import.emitting import Emitter
from escc.onnx_import.node import Node, Value, text

FIRST = 7
"""The first opset whose nodes stay as they are."""
_ALIGNED = ("Add", "And", "Div", "Equal", "Greater", "Less", "Mul", "Or", "Pow", "Sub", "Xor")
_OF_TRAINING = ("BatchNormalization", "Dropout")
_DROPPED = ("axis", "broadcast", "consumed_inputs", "is_test")
"""Attributes that opset 7 no longer has; `axis` where an operand was aligned by it."""
_SELU = {"alpha": 1.6732, "gamma": 1.0507}
"""Defaults of Selu before opset 6."""


def modernised(e: Emitter, node: Node, proto: onnx_proto.NodeProto, opset: int) -> tuple[Node, onnx_proto.NodeProto]:
    """A well-formed node of an opset as one of opset 7, which means the same.

    Raises ValueError with the reason for what later opsets cannot say: training, and forms of opset 1 that no exporter
    wrote for long.
    """
    if opset >= FIRST:
        return node, proto
    changed = replace(node, opset=FIRST, attributes=dict(node.attributes), inputs=list(node.inputs))
    if node.op_type in _OF_TRAINING and not node.flag("is_test"):
        raise ValueError("is_test=0 unsupported; requires 1: export the model for inference")
    if node.op_type in _ALIGNED and node.flag("broadcast") and "axis" in node.attributes:
        _align(e, changed, int(node.attr("axis")))
    if node.op_type == "PRelu":
        _align(e, changed, 1)
    for name in _DROPPED if node.op_type in (*_ALIGNED, *_OF_TRAINING) else _DROPPED[1:]:
        changed.attributes.pop(name, None)
    if opset < 6:
        _before_6(changed, opset)
    return changed, _as_proto(changed, proto)


def _before_6(node: Node, opset: int) -> None:
    """Change a node of opset 1 to 5 in place."""
    attributes = node.attributes
    match node.op_type:
        case "Cast":
            name = str(node.attr("to", ""))
            try:
                attributes["to"] = onnx_proto.TensorProto.DataType.Value(name)
            except ValueError:
                raise ValueError(f"converts to '{name}'; requires the name of an element type") from None
        case "Reshape" if "shape" in attributes:
            shape = np.asarray(attributes.pop("shape"), np.int64)
            node.inputs[1:] = [Value.constant(f"{node.name}/shape", shape, node.name)]
        case "Pad" if "paddings" in attributes:
            attributes["pads"] = attributes.pop("paddings")
        case "Concat":
            attributes.setdefault("axis", 1)
        case "Selu":
            node.attributes = {**_SELU, **attributes}
        case "Split" if len(node.inputs) > 1:
            node.attributes["split"] = _listed(node, 1)
            del node.inputs[1:]
        case "Tile" if len(node.inputs) == 3 or "axis" in attributes:
            raise ValueError("repeats one axis, as only opset 1 writes it; requires opset 6 or newer")
        case "Upsample" if "scales" not in attributes:
            raise ValueError(f"opset {opset} unsupported for this operator; requires opset 7 or newer")
        case _:
            return


def _listed(node: Node, index: int) -> list[int]:
    """A constant input as a list."""
    values = node.const(index)
    if values is None:
        raise ValueError(f"input {index} is computed from the model's input; requires a constant")
    return [int(v) for v in values.reshape(-1)]


def _align(e: Emitter, node: Node, axis: int) -> None:
    """Put axes of extent 1 behind those of the second operand, so that these start at `axis` of the first."""
    first, second = node.shape(0), node.input(1)
    if first is None or second is None or second.shape is None:
        return  # the cause lies upstream and has been said
    behind = len(first) - (axis + len(first) if axis < 0 else axis) - len(second.shape)
    if node.op_type == "PRelu" and (second.shape in ((), (1,)) or behind < 0):
        return
    if behind < 0:
        raise ValueError(
            f"aligns shape {text(second.shape)} with {text(first)} from axis {axis} on; requires axes that it has"
        )
    shape = (*second.shape, *[1] * behind)
    if second.const is not None:
        node.inputs[1] = Value.constant(second.name, second.const.reshape(shape), second.origin)
    elif second.ssa is not None:
        reshaped = e.emit(node, onnx.ReshapeOp(second.ssa, shape))
        node.inputs[1] = Value(second.name, shape, second.dtype, ssa=reshaped)


def _as_proto(node: Node, proto: onnx_proto.NodeProto) -> onnx_proto.NodeProto:
    """The node in ONNX's own form, for what evaluates it."""
    names = ["" if value is None else value.name for value in node.inputs]
    made = onnx_proto.helper.make_node(proto.op_type, names, proto.output, proto.name)
    made.attribute.extend(onnx_proto.helper.make_attribute(name, value) for name, value in node.attributes.items())
    return made
