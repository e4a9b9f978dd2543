"""Convolutions as torch modules. A form takes the operation, and what the convolution has beside its weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from xdsl.ir import SSAValue

from dialects import esc
from escc.training.straight_through import ConvFrame, Convolution, DenseConv
from passes.decomposition.int8 import Int8
from passes.math.activation_quant import bounded
from passes.math.scales import storable

Array = NDArray[Any]


def dense(op: esc.Conv2dOp, frame: ConvFrame) -> Convolution:
    """A convolution with int8 weights."""
    return DenseConv(op.weight.array.transpose(0, 3, 1, 2).astype(np.float64), frame, op.groups.value.data)


def trained(op: esc.Conv2dOp, module: Convolution, requantize: esc.RequantizeOp) -> Int8:
    """The int8 weights that training has reached."""
    weight = to_numpy(module.integer_weight()).astype(np.int8).transpose(0, 2, 3, 1)
    factor = storable_scale(op.input, to_numpy(module.factor()), requantize)
    return Int8(np.ascontiguousarray(weight), factor, groups=op.groups.value.data)


def storable_scale(x: SSAValue, factor: Array, requantize: esc.RequantizeOp) -> Array:
    """The scales [K] of a trained form, output steps for each step of the accumulator, as the machine holds them.

    `x` is the input of the convolution.
    """
    return storable(bounded(factor), esc.q_of(x).scale, requantize.first_type.scale)


def to_numpy(x: Tensor) -> Array:
    """float64 of a tensor of any device, without its gradient."""
    return x.detach().cpu().double().numpy()
