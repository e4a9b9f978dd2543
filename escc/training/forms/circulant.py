"""Convolutions of circulant blocks as torch modules; forms as in `escc.training.forms.convolutions`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dialects import esc
from dialects.esc_circulant import CirculantConv2dOp
from escc.training.forms.convolutions import storable_scale, to_numpy
from escc.training.straight_through import ConvFrame, Projected, limited, parameter, round_through
from isa.circulant import expand
from passes.decomposition.circulant import Circulant, FastCirculant

Array = NDArray[Any]

_LIMIT = 127


class CirculantConv(Projected):
    """Convolution with weights of circulant blocks. The values are what is learned, in units of 127; so the weights are
    circulant at every step, and the gradient of a value is the sum over the weights that it stands for. ADMM learns
    `latent` float [K, C, R, S] instead, weights in such units that need not be circulant.
    """

    def __init__(self, values: Array, inputs: int, frame: ConvFrame):
        """`values` int8 [K/b, R, S, C/b, b], of `inputs` input channels."""
        super().__init__(frame)
        self.shape = values.shape
        flat = values.reshape(len(values), -1)  # memory formats of images are not for these
        self.values = parameter(flat / _LIMIT)
        numbers = np.arange(values.size).reshape(values.shape)
        places = expand(numbers, 0, len(frame.factor), inputs).transpose(0, 3, 1, 2)
        self.register_buffer("places", torch.tensor(places.astype(np.int64)), persistent=False)
        self.places: Tensor
        self.latent = parameter(np.take(flat / _LIMIT, places.astype(np.int64)))

    def integer_values(self) -> Tensor:
        """The values [K/b, R*S*C], integers of int8 in value."""
        return round_through(limited(self.values * _LIMIT, -_LIMIT, _LIMIT))

    def integer_weight(self) -> Tensor:
        if self.relaxed:
            return limited(self.latent * _LIMIT, -_LIMIT, _LIMIT)
        return self.integer_values().reshape(-1)[self.places]

    def _means(self, latent: Tensor) -> Tensor:
        """Means of weights over those that a value stands for, in the order of the values."""
        places = self.places.reshape(-1)
        sums, counts = (torch.zeros_like(self.values).reshape(-1) for _ in range(2))
        sums.index_add_(0, places, latent.reshape(-1))
        counts.index_add_(0, places, torch.ones_like(sums[places]))
        return sums / counts.clamp_min_(1)

    def projected(self, latent: Tensor) -> Tensor:
        """See `Projected.projected`: the rounded means of the weights that a value stands for."""
        return (torch.round(limited(self._means(latent) * _LIMIT, -_LIMIT, _LIMIT)) / _LIMIT)[self.places]

    @torch.no_grad()
    def settle(self, point: Tensor) -> None:
        """See `Projected.settle`."""
        self.values.copy_(self._means(point).reshape(self.values.shape))
        self.latent.copy_(point)

    @torch.no_grad()
    def approach(self, weight: Array) -> None:
        """See `Projected.approach`: what no circulant block has is added as it is."""
        real = self.in_steps(weight).clamp_(-_LIMIT, _LIMIT) / _LIMIT
        self.latent.copy_(self.values.reshape(-1)[self.places] + real - self._means(real)[self.places])


def circulant(op: CirculantConv2dOp, frame: ConvFrame) -> CirculantConv:
    """A convolution of circulant blocks."""
    return CirculantConv(op.values.array.astype(np.float64), esc.shape_of(op.input)[3], frame)


def trained(op: CirculantConv2dOp, module: CirculantConv, requantize: esc.RequantizeOp) -> Circulant:
    """The values that training has reached."""
    values = to_numpy(module.integer_values()).astype(np.int8).reshape(module.shape)
    factor = storable_scale(op.input, to_numpy(module.factor()), requantize)
    return (FastCirculant if op.is_fast else Circulant)(values, esc.shape_of(op.input)[3], factor)
