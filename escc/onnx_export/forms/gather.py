"""Convolutions with sparse weights, as Conv nodes."""

from __future__ import annotations

from dialects import esc
from dialects.esc_gather import GatherConv2dOp
from escc.onnx_export.emitter import OnnxEmitter
from escc.onnx_export.forms.convolutions import convolution


def gather(e: OnnxEmitter, op: GatherConv2dOp, requantize: esc.RequantizeOp, name: str) -> str:
    """One Conv, whose int8 weights hold the zeros too."""
    return convolution(e, op, op.weight.array, 1, requantize, name)
