"""Batch normalisation of the convolutions of a network that has none: it is there while training lasts."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_EPSILON = 1e-2
"""Added to variances, in squares of an output step."""
_MOMENTUM = 0.1
"""Share of a batch in the statistics that outlast it."""


class Normalisation(nn.Module):
    """Batch normalisation of a convolution (Ioffe and Szegedy, 2015) from the statistics [K] of its sums.

    `mean` and `variance` are those of the sums times the factor of the convolution, without its bias, in output steps;
    in training they follow those of the batches. `spread` is the standard deviation at the beginning, to which gains
    are relative.
    """

    def __init__(self, mean: Tensor, variance: Tensor):
        super().__init__()
        self.register_buffer("mean", mean.clone())
        self.register_buffer("variance", variance.clone())
        self.register_buffer("spread", torch.sqrt(variance + _EPSILON))
        self.mean: Tensor
        self.variance: Tensor
        self.spread: Tensor

    def slope(self, gain: Tensor) -> Tensor:
        """What the sums are multiplied by outside of training, [K]."""
        return self.spread * torch.exp(gain) / torch.sqrt(self.variance + _EPSILON)

    def forward(self, z: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
        """Sums [N, K, H, W] of a batch with mean `bias` and standard deviation spread * exp(gain), both [K]."""
        return F.batch_norm(z, self.mean, self.variance, self.spread * torch.exp(gain), bias, True, _MOMENTUM, _EPSILON)


def channel_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel of x [N, C, H, W], float64 [C]."""
    wide = x.double()
    return wide.mean(dim=(0, 2, 3)), wide.var(dim=(0, 2, 3), unbiased=False)
