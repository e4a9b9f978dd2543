"""Convolutions with weights of a book of vectors, as Conv nodes."""

from __future__ import annotations

from dialects import esc
from dialects.esc_codebook import CodebookConv2dOp
from escc.onnx_export.emitter import OnnxEmitter
from escc.onnx_export.forms.convolutions import convolution


def codebook(e: OnnxEmitter, op: CodebookConv2dOp, requantize: esc.RequantizeOp, name: str) -> str:
    """One Conv, whose int8 weights repeat the vectors of the book."""
    return convolution(e, op, op.weight, 1, requantize, name)
