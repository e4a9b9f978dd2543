"""Convolutions of circulant blocks as torch modules; forms as in `escc.training.forms.convolutions`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dialects import esc
from dialects.esc_circulant import CirculantConv2dOp
from escc.training.forms.convolutions import pair, to_numpy
from escc.training.straight_through import Convolution, limited, round_through
from isa.circulant import expand
from passes.decomposition.circulant import Circulant
from passes.math.activation_quant import bounded
from passes.math.scales import storable

Array = NDArray[Any]

_LIMIT = 127


class CirculantConv(Convolution):
    """Convolution with weights of circulant blocks. The values are what is learned, in units of 127; so the weights are
    circulant at every step, and the gradient of a value is the sum over the weights that it stands for.
    """

    def __init__(
        self,
        values: Array,
        inputs: int,
        factor: Array,
        bias: Array,
        span: float,
        strides: tuple[int, int],
        pads: tuple[int, ...],
    ):
        """`values` int8 [K/b, R, S, C/b, b], of `inputs` input channels."""
        super().__init__(factor, bias, span, strides, pads)
        self.shape = values.shape
        flat = values.reshape(len(values), -1)  # memory formats of images are not for these
        self.values = nn.Parameter(torch.tensor(flat / _LIMIT, dtype=torch.get_default_dtype()))
        places = expand(np.arange(values.size).reshape(values.shape), 0, len(factor), inputs).transpose(0, 3, 1, 2)
        self.register_buffer("places", torch.tensor(places.astype(np.int64)), persistent=False)
        self.places: Tensor

    def integer_values(self) -> Tensor:
        """The values [K/b, R*S*C], integers of int8 in value."""
        return round_through(limited(self.values * _LIMIT, -_LIMIT, _LIMIT))

    def integer_weight(self) -> Tensor:
        return self.integer_values().reshape(-1)[self.places]


def circulant(op: CirculantConv2dOp, factor: Array, bias: Array, span: float) -> CirculantConv:
    """A convolution of circulant blocks."""
    window = pair(esc.ints(op.strides)), esc.ints(op.pads)
    return CirculantConv(op.values.array.astype(np.float64), esc.shape_of(op.input)[3], factor, bias, span, *window)


def trained(op: CirculantConv2dOp, module: CirculantConv, requantize: esc.RequantizeOp) -> Circulant:
    """The values that training has reached."""
    values = to_numpy(module.integer_values()).astype(np.int8).reshape(module.shape)
    factor = storable(bounded(to_numpy(module.factor())), esc.q_of(op.input).scale, requantize.first_type.scale)
    return Circulant(values, esc.shape_of(op.input)[3], factor)
