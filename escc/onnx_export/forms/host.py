"""What the host computes, as nodes of ONNX."""

from __future__ import annotations

import numpy as np

from dialects import esc
from escc.onnx_export.emitter import Emitter, main_name


def quantise(e: Emitter, op: esc.QuantizeOp) -> str:
    """QuantizeLinear and DequantizeLinear."""
    return e.graph.quantised(e.values[op.input], esc.q_of(op.output), e.values[op.input])


def softmax(e: Emitter, op: esc.SoftmaxOp) -> str:
    """Softmax."""
    return e.graph.node("Softmax", [e.values[op.input]], main_name(op), axis=op.axis.value.data)


def dequantise(e: Emitter, op: esc.DequantizeOp) -> str:
    """A change of shape where there is one: values between nodes are real numbers already."""
    x = e.values[op.input]
    _, h, w, c = esc.shape_of(op.input)
    shape = esc.shape_of(op.output)
    if shape == (1, c, h, w):
        return x
    name = f"{main_name(op)}/reshape"
    if len(shape) == 2 and shape[0] == 1:
        return e.graph.node("Flatten", [x], name)
    wanted = np.array([0 if i == 0 and d == 1 else d for i, d in enumerate(shape)])
    return e.graph.node("Reshape", [x, e.graph.constant(f"{name}/shape", wanted)], name)
