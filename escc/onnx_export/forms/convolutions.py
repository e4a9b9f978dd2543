"""Convolutions with their requantisation as Conv nodes.

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
from escc.onnx_export.emitter import OnnxEmitter
from passes.math.scales import weight_scale

Array: TypeAlias = NDArray[Any]


class Folded(NamedTuple):
    """Requantisation parameters as those of a Conv node; `dead` channels are always 0, whatever their scale."""

    scale: Array
    bias: Array
    dead: Array


def folded(source: SSAValue, requantize: esc.RequantizeOp, ic_shift: int = 0) -> Folded:
    """Requantisation parameters for weights that read `source`, whose sums are shifted right by `ic_shift`."""
    step = esc.q_of(source).scale
    factor = np.ldexp(requantize.mult.array.astype(np.float64), -requantize.shift.array.astype(np.int64))
    scale = weight_scale(factor, step, requantize.first_type.scale, ic_shift)
    dead = scale == 0
    scale = np.where(dead, 1.0, scale)
    bias = np.where(dead, 0, requantize.bias.array) * np.ldexp(step * scale, ic_shift)
    return Folded(scale, bias, dead)


def convolution_node(
    e: OnnxEmitter, op: AccumulatorOp, x: str, weight: Array, groups: int, folding: Folded, name: str
) -> str:
    """A Conv node of integer weights [K, C/groups, R, S] with the scales and the biases of `folding`; its output."""
    inputs = [x, e.graph.weight(weight, folding.scale, f"{name}/weight")]
    if folding.bias.any():
        inputs.append(e.graph.constant(f"{name}/bias", folding.bias.astype(np.float32)))
    strides, pads = op.window
    window = {"kernel_shape": list(op.kernel), "strides": list(strides), "pads": list(pads)}
    return e.graph.node("Conv", inputs, name, **window, group=groups)


def convolution(
    e: OnnxEmitter, op: AccumulatorOp, weight: Array, groups: int, requantize: esc.RequantizeOp, name: str
) -> str:
    """One Conv with int8 weights [K, R, S, C/groups], for an operation that reads a tensor itself."""
    x = op.operands[0]
    folding = folded(x, requantize)
    weight = np.where(folding.dead[:, None, None, None], 0, weight.transpose(0, 3, 1, 2))
    return convolution_node(e, op, e.values[x], weight, groups, folding, name)


def dense(e: OnnxEmitter, op: esc.Conv2dOp, requantize: esc.RequantizeOp, name: str) -> str:
    """One Conv."""
    return convolution(e, op, op.weight.array, op.groups.value.data, requantize, name)
