"""Convolutions with their requantisation as Conv nodes: dense, grouped and decomposed.

A form takes the emitter, the operation whose accumulators the requantisation reads, the requantisation and a name; it
gives the tensor of the real numbers that the accumulators, with their bias, stand for.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from xdsl.ir import SSAValue

from dialects import esc
from dialects.esc_base import AccumulatorOp
from escc.onnx_export.emitter import BASIS, COEFFICIENTS, OnnxEmitter
from passes.math.scales import weight_scale

Array: TypeAlias = NDArray[Any]


class _Folded(NamedTuple):
    """Requantisation parameters as those of a Conv node; `dead` channels are always 0, whatever their scale."""

    scale: Array
    bias: Array
    dead: Array


def _folded(source: SSAValue, requantize: esc.RequantizeOp, ic_shift: int = 0) -> _Folded:
    step = esc.q_of(source).scale
    factor = np.ldexp(requantize.mult.array.astype(np.float64), -requantize.shift.array.astype(np.int64))
    scale = weight_scale(factor, step, requantize.first_type.scale, ic_shift)
    dead = scale == 0
    scale = np.where(dead, 1.0, scale)
    bias = np.where(dead, 0, requantize.bias.array) * np.ldexp(step * scale, ic_shift)
    return _Folded(scale, bias, dead)


def _conv(e: OnnxEmitter, op: AccumulatorOp, x: str, weight: Array, groups: int, folded: _Folded, name: str) -> str:
    inputs = [x, e.graph.weight(weight, folded.scale, f"{name}/weight")]
    if folded.bias.any():
        inputs.append(e.graph.constant(f"{name}/bias", folded.bias.astype(np.float32)))
    strides, pads = op.window
    window = {"kernel_shape": list(op.kernel), "strides": list(strides), "pads": list(pads)}
    return e.graph.node("Conv", inputs, name, **window, group=groups)


def convolution(
    e: OnnxEmitter, op: AccumulatorOp, weight: Array, groups: int, requantize: esc.RequantizeOp, name: str
) -> str:
    """One Conv with int8 weights [K, R, S, C/groups], for an operation that reads a tensor itself."""
    x = op.operands[0]
    folded = _folded(x, requantize)
    weight = np.where(folded.dead[:, None, None, None], 0, weight.transpose(0, 3, 1, 2))
    return _conv(e, op, e.values[x], weight, groups, folded, name)


def dense(e: OnnxEmitter, op: esc.Conv2dOp, requantize: esc.RequantizeOp, name: str) -> str:
    """One Conv."""
    return convolution(e, op, op.weight.array, op.groups.value.data, requantize, name)


def decomposed(e: OnnxEmitter, op: esc.BasisConv2dOp, requantize: esc.RequantizeOp, name: str) -> str:
    """A 1x1 Conv with the coefficients, then a grouped Conv with the bases."""
    combine = op.stages[0]
    assert isinstance(combine, esc.CoeffCombineOp)
    folded = _folded(combine.input, requantize, combine.ic_shift.value.data)
    ternary = np.where(folded.dead[:, None, None], 0, combine.coefficients.array)
    k, v, channels = ternary.shape
    first = f"{name}{COEFFICIENTS}"
    kernel = e.graph.weight(ternary.reshape(k * v, channels, 1, 1), np.array(1.0), f"{first}/weight")
    x = e.graph.node("Conv", [e.values[combine.input], kernel], first, kernel_shape=[1, 1])
    weight = np.broadcast_to(op.basis.array, (k, *op.basis.array.shape))
    return _conv(e, op, x, weight, k, folded, name + BASIS)
