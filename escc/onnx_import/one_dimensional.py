"""Operators on [N,C,L] work on maps [N,C,1,L], between two reshapes that cancel with those of their neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from xdsl.ir import SSAValue

from dialects import onnx
from escc.onnx_import.emitting import Emitter
from escc.onnx_import.node import Array, Node, Value

_WINDOWS = ("AveragePool", "Conv", "ConvTranspose", "MaxPool")
_MAPS = ("BatchNormalization", "GlobalAveragePool", "GlobalMaxPool", "InstanceNormalization", "LRN")
_BROADCAST = ("Add", "Div", "Mul", "PRelu", "Sub")
_FIRST = {"kernel_shape": [1], "strides": [1], "dilations": [1], "output_padding": [0]}
"""What attributes say of the axis of one row."""


def is_one_dimensional(node: Node) -> bool:
    """Whether a node is one of a map, on [N,C,L]: all that it reads of the model's input has that rank."""
    given = [value for value in node.inputs if value is not None]
    computed = [value for value in given if value.const is None]
    if node.op_type not in (*_WINDOWS, *_MAPS, *_BROADCAST) or not computed:
        return False
    if not all(value.ssa is not None and value.shape is not None and len(value.shape) == 3 for value in computed):
        return False
    return node.op_type not in _BROADCAST or all(value.shape is not None and len(value.shape) <= 3 for value in given)


def on_maps(e: Emitter, node: Node) -> Node:
    """The node on maps of one row; what it reads is reshaped here."""
    wide = [None if value is None else _as_map(e, node, value) for value in node.inputs]
    attributes = dict(node.attributes)
    if node.op_type in _WINDOWS:
        attributes |= {name: [*row, *node.ints(name)] for name, row in _FIRST.items() if len(node.ints(name)) == 1}
        pads = node.ints("pads")
        attributes |= {"pads": [0, pads[0], 0, pads[1]]} if len(pads) == 2 else {}
    return replace(node, inputs=wide, attributes=attributes)


def back(e: Emitter, node: Node, results: Sequence[SSAValue]) -> list[SSAValue]:
    """Results [N,C,1,L] as [N,C,L]."""
    shapes = [onnx.shape_of(x) for x in results]
    return [e.emit(node, onnx.ReshapeOp(x, (*s[:2], *s[3:]))) for x, s in zip(results, shapes, strict=True)]


def _as_map(e: Emitter, node: Node, value: Value) -> Value:
    shape = value.shape
    if shape is None or not (len(shape) == 3 or (node.op_type in _BROADCAST and len(shape) in (1, 2))):
        return value
    if value.const is None:
        if value.ssa is None or len(shape) != 3:
            return value
        reshaped = e.emit(node, onnx.ReshapeOp(value.ssa, (*shape[:2], 1, shape[2])))
        return Value(value.name, onnx.shape_of(reshaped), value.dtype, ssa=reshaped)
    made = Value.constant(value.name, _with_row(value.const), value.origin)
    if value.quantised is not None:
        q = value.quantised
        made.quantised = replace(q, data=_with_row(q.data), axis=q.axis + (q.axis == value.const.ndim - 1))
    return made


def _with_row(array: Array) -> Array:
    """An axis of extent 1 before the last."""
    return np.expand_dims(array, -2)
