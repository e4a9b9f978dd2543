"""What the host computes, as nodes of ONNX."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dialects import esc
from escc.onnx_export.emitter import OnnxEmitter, main_name
from isa.reference import map_shape


def quantise(e: OnnxEmitter, op: esc.QuantizeOp) -> str:
    """QuantizeLinear and DequantizeLinear; inputs that are no maps become some."""
    name, shape = e.values[op.input], esc.shape_of(op.input)
    stored = e.graph.quantised(name, esc.q_of(op.output), name)
    return stored if len(shape) in (2, 4) else _reshaped(e, stored, map_shape(shape), f"{name}/map")


def softmax(e: OnnxEmitter, op: esc.SoftmaxOp) -> str:
    """Softmax or LogSoftmax."""
    kind = "Softmax" if op.logarithm is None else "LogSoftmax"
    return e.graph.node(kind, [e.values[op.input]], main_name(op), axis=op.axis.value.data)


def arg_max(e: OnnxEmitter, op: esc.ArgMaxOp) -> str:
    """ArgMax, and a Reshape where the indices have another shape."""
    choice, shape = op.choice, esc.shape_of(op.output)
    before, behind = choice.shape[: choice.axis], choice.shape[choice.axis + 1 :]
    keeps = shape == (*before, 1, *behind)
    options = {"axis": choice.axis, "keepdims": int(keeps), "select_last_index": int(choice.last)}
    if keeps or shape == (*before, *behind):
        return e.graph.node("ArgMax", [e.values[op.input]], main_name(op), **options)
    indices = e.graph.node("ArgMax", [e.values[op.input]], f"{main_name(op)}/indices", **options)
    return _reshaped(e, indices, shape, main_name(op))


def dequantise(e: OnnxEmitter, op: esc.DequantizeOp) -> str:
    """A change of shape and order where there is one: values between nodes are real numbers already."""
    x = e.values[op.input]
    _, h, w, c = esc.shape_of(op.input)
    now: tuple[int, ...] = (1, c, h, w)
    view, perm = op.rearrangement
    if perm:
        view, perm = (1, *view), (0, *(axis + 1 for axis in perm))  # the first axis stays that of the batch
        if view != now:
            x = _reshaped(e, x, view, f"{main_name(op)}/view")
        x = e.graph.node("Transpose", [x], f"{main_name(op)}/transpose", perm=perm)
        now = tuple(view[axis] for axis in perm)
    shape, name = esc.shape_of(op.output), f"{main_name(op)}/reshape"
    if shape == now:
        return x
    if len(shape) == 2 and shape[0] == 1:
        return e.graph.node("Flatten", [x], name)
    return _reshaped(e, x, shape, name)


def _reshaped(e: OnnxEmitter, x: str, shape: Sequence[int], name: str) -> str:
    """Reshape; a first extent of 1 is that of the batch."""
    wanted = np.array([0 if i == 0 and d == 1 else d for i, d in enumerate(shape)], np.int64)
    return e.graph.node("Reshape", [x, e.graph.constant(f"{name}/shape", wanted)], name)
