"""Convolutions whose weights are made of something smaller, as Conv nodes."""

from __future__ import annotations

from dialects import esc
from dialects.rebuilt import RebuiltConv2d
from escc.onnx_export.emitter import OnnxEmitter
from escc.onnx_export.forms.convolutions import convolution
from escc.recorded_forms import to_text


def rebuilt(e: OnnxEmitter, op: RebuiltConv2d, requantize: esc.RequantizeOp, name: str) -> str:
    """One Conv with the int8 weights that the machine makes, and a note of what it makes them of."""
    node = convolution(e, op, op.weight, 1, requantize, name)
    e.forms[node] = to_text(op)
    return node
