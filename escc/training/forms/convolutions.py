"""Convolutions as torch modules.

A form takes the operation, steps of the output for each step of the accumulator [K], the bias [K] in steps of the
output, and the unit in which biases are learned, in such steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dialects import esc
from escc.training.straight_through import (
    Convolution,
    DenseConv,
)
from passes.decomposition.int8 import Int8
from passes.math.activation_quant import bounded
from passes.math.scales import storable

Array = NDArray[Any]
Unary = Callable[[Tensor], Tensor]


def dense(op: esc.Conv2dOp, factor: Array, bias: Array, span: float) -> Convolution:
    """A convolution with int8 weights."""
    return DenseConv(
        op.weight.array.transpose(0, 3, 1, 2).astype(np.float64),
        factor,
        bias,
        span,
        pair(esc.ints(op.strides)),
        esc.ints(op.pads),
        op.groups.value.data,
    )


def trained(op: esc.Conv2dOp, module: Convolution, requantize: esc.RequantizeOp) -> Int8:
    """The int8 weights that training has reached."""
    weight = to_numpy(module.integer_weight()).astype(np.int8).transpose(0, 2, 3, 1)
    factor = storable(bounded(to_numpy(module.factor())), esc.q_of(op.input).scale, requantize.first_type.scale)
    return Int8(np.ascontiguousarray(weight), factor, groups=op.groups.value.data)


def pair(values: Sequence[int]) -> tuple[int, int]:
    """The two numbers of an array attribute."""
    return values[0], values[1]


def to_numpy(x: Tensor) -> Array:
    """float64 of a tensor of any device, without its gradient."""
    return x.detach().cpu().double().numpy()
