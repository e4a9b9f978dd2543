"""Convolutions with their requantisation as Conv nodes: dense, grouped and decomposed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from xdsl.ir import SSAValue

from dialects import esc
from dialects.locations import describe
from escc.onnx_export.graph import Graph
from isa.errors import UserError
from passes.math.scales import weight_scale

Array: TypeAlias = NDArray[Any]

COEFFICIENTS, BASIS = "/coefficients", "/basis"
"""What the names of the two stages of a decomposed convolution end in."""


def convolution(
    graph: Graph,
    conv: esc.Conv2dOp | esc.BasisConv2dOp,
    requantize: esc.RequantizeOp,
    values: Mapping[SSAValue, str],
    name: str,
) -> str:
    """Tensor of the real numbers that the accumulators of a convolution, with their bias, stand for."""
    combine = None
    if isinstance(conv, esc.BasisConv2dOp):
        combine = conv.input.owner
        if not isinstance(combine, esc.CoeffCombineOp):
            raise UserError(f"{describe(conv)}: input is no esc.coeff_combine; requires one")
    source = conv.input if combine is None else combine.input
    ic_shift = 0 if combine is None else combine.ic_shift.value.data
    step, x = esc.q_of(source).scale, values[source]
    factor = np.ldexp(requantize.mult.array.astype(np.float64), -requantize.shift.array.astype(np.int64))
    scale = weight_scale(factor, step, requantize.first_type.scale, ic_shift)
    dead = scale == 0  # such a channel is always 0, and needs some scale all the same
    scale = np.where(dead, 1.0, scale)
    bias = np.where(dead, 0, requantize.bias.array) * np.ldexp(step * scale, ic_shift)
    if isinstance(conv, esc.Conv2dOp):
        groups = conv.groups.value.data
        weight = np.where(dead[:, None, None, None], 0, conv.weight.array.transpose(0, 3, 1, 2))
    else:
        assert combine is not None
        ternary = np.where(dead[:, None, None], 0, combine.coefficients.array)
        groups, v, channels = ternary.shape
        first = f"{name}{COEFFICIENTS}"
        kernel = graph.weight(ternary.reshape(groups * v, channels, 1, 1), np.array(1.0), f"{first}/weight")
        x = graph.node("Conv", [x, kernel], first, kernel_shape=[1, 1])
        weight = np.broadcast_to(conv.basis.array, (groups, *conv.basis.array.shape))
        name += BASIS
    inputs = [x, graph.weight(weight, scale, f"{name}/weight")]
    if bias.any():
        inputs.append(graph.constant(f"{name}/bias", bias.astype(np.float32)))
    return graph.node(
        "Conv",
        inputs,
        name,
        kernel_shape=list(weight.shape[2:]),
        strides=list(esc.ints(conv.strides)),
        pads=list(esc.ints(conv.pads)),
        group=groups,
    )
