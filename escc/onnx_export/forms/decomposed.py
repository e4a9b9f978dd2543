"""Decomposed convolutions with their requantisation as pairs of Conv nodes."""

from __future__ import annotations

import numpy as np

from dialects import esc
from dialects.esc_decomposed import BasisConv2dOp, CoeffCombineOp
from escc.onnx_export.emitter import BASIS, COEFFICIENTS, OnnxEmitter
from escc.onnx_export.forms.convolutions import convolution_node, folded


def decomposed(e: OnnxEmitter, op: BasisConv2dOp, requantize: esc.RequantizeOp, name: str) -> str:
    """A 1x1 Conv with the coefficients, then a grouped Conv with the bases."""
    combine = op.stages[0]
    assert isinstance(combine, CoeffCombineOp)
    folding = folded(combine.input, requantize, combine.ic_shift.value.data)
    coefficients = np.where(folding.dead[:, None, None], 0, combine.coefficients.array)
    k, v, channels = coefficients.shape
    first = f"{name}{COEFFICIENTS}"
    kernel = e.graph.weight(coefficients.reshape(k * v, channels, 1, 1), np.array(1.0), f"{first}/weight")
    x = e.graph.node("Conv", [e.values[combine.input], kernel], first, kernel_shape=[1, 1])
    weight = np.broadcast_to(op.basis.array, (k, *op.basis.array.shape))
    return convolution_node(e, op, x, weight, k, folding, name + BASIS)
