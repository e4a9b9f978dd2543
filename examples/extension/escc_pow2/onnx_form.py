"""How `pow2.conv2d` goes back to ONNX."""

from __future__ import annotations

from dialects import esc
from escc.onnx_export.emitter import OnnxEmitter
from escc.onnx_export.forms.convolutions import convolution
from escc_pow2.dialect import Pow2ConvOp


def convolution_of_powers(e: OnnxEmitter, op: Pow2ConvOp, requantize: esc.RequantizeOp, name: str) -> str:
    """One Conv; its int8 weights happen to be powers of two."""
    return convolution(e, op, op.weight.array, 1, requantize, name)
