"""Convolutions of sparse weights as torch modules; forms as in `escc.training.forms.convolutions`."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dialects import esc
from dialects.esc_gather import GatherConv2dOp
from escc.training.forms.convolutions import storable_scale, to_numpy
from escc.training.straight_through import ConvFrame, Projected, limited, parameter, round_through
from isa.gather import Banking, Gathering, bank_loads, bundles, places_of
from passes.decomposition.gather import Gathered

Array = NDArray[Any]

_LIMIT = 127


class GatherConv(Projected):
    """Convolution with int8 weights of which most are 0: `latent` float [K, C, R, S], in units of 127, where `kept`.

    Those that are kept stay the same, and their gradients are exact but for the rounding. ADMM chooses them anew: each
    bank of a bundle of output channels keeps as many weights as it had, the largest ones, so that the machine takes as
    many cycles.
    """

    def __init__(self, weight: Array, banking: Banking, frame: ConvFrame):
        """`weight` int8 [K, R, S, C]."""
        super().__init__(frame)
        k, r, s, c = weight.shape
        self.banking = banking
        self.latent = parameter(weight.transpose(0, 3, 1, 2) / _LIMIT)
        self.register_buffer("kept", self.latent.detach() != 0)
        self.kept: Tensor
        how = Gathering.of(banking.banks, banking.bundle, c)
        self._window = r, s, c
        self._counts = bank_loads(np.ascontiguousarray(weight.reshape(k, r * s, c)), how)

    def integer_weight(self) -> Tensor:
        real = limited(self.latent * _LIMIT, -_LIMIT, _LIMIT)
        return real if self.relaxed else round_through(real) * self.kept

    def projected(self, latent: Tensor) -> Tensor:
        """See `Projected.projected`."""
        return torch.round(limited(latent * _LIMIT, -_LIMIT, _LIMIT)) / _LIMIT * self._largest(latent)

    def _largest(self, latent: Tensor) -> Tensor:
        """Where weights [K, C, R, S] are among the largest of their bank and bundle, as many as there were."""
        r, s, c = self._window
        where = places_of(r * s, c, Gathering.of(self.banking.banks, self.banking.bundle, c))
        places = torch.as_tensor(where.places, device=latent.device)
        flat = latent.detach().abs().permute(0, 2, 3, 1).reshape(len(latent), -1)[:, places]
        keep = torch.zeros_like(flat, dtype=torch.bool)
        starts: list[int] = where.starts.tolist()
        for row, (first, end) in enumerate(pairwise(bundles(len(latent), self.banking.bundle).tolist())):
            for bank, (low, high) in enumerate(pairwise(starts)):
                part = flat[first:end, low:high]
                mask = torch.zeros(part.numel(), dtype=torch.bool, device=part.device)
                mask[part.flatten().topk(int(self._counts[row, bank])).indices] = True
                keep[first:end, low:high] = mask.reshape(part.shape)
        found = torch.zeros_like(keep)
        found[:, places] = keep
        return found.reshape(len(latent), r, s, c).permute(0, 3, 1, 2)

    @torch.no_grad()
    def settle(self, point: Tensor) -> None:
        """See `Projected.settle`."""
        self.kept.copy_(point != 0)
        self.latent.copy_(point)

    @torch.no_grad()
    def approach(self, weight: Array) -> None:
        """See `Projected.approach`: weights that are not kept come back, each below the smallest one that is."""
        if self.kept.any():
            least = float(self.latent.abs()[self.kept].min())
            self.latent.copy_(
                torch.where(self.kept, self.latent, (self.in_steps(weight) / _LIMIT).clamp(-least, least))
            )


def gathered(op: GatherConv2dOp, frame: ConvFrame) -> GatherConv:
    """A convolution of sparse weights."""
    return GatherConv(op.weight, op.banking, frame)


def trained(op: GatherConv2dOp, module: GatherConv, requantize: esc.RequantizeOp) -> Gathered:
    """The weights that training has reached."""
    weight = to_numpy(module.integer_weight()).astype(np.int8).transpose(0, 2, 3, 1)
    factor = storable_scale(op.input, to_numpy(module.factor()), requantize)
    return Gathered(np.ascontiguousarray(weight), factor, module.banking)
