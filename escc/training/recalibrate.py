"""Batch-norm recalibration after the fact: convolutions get back the channel statistics of the float network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from escc.training.dataflow import Step
from escc.training.network import Network, TrainedLayer
from escc.training.normalisation import channel_statistics
from escc.training.teacher import Teacher

_MOST_GAIN = 0.2
"""Largest change of a channel's logarithmic factor."""
_LEAST_VARIANCE = 1e-6


@torch.no_grad()
def recalibrate(network: Network, teacher: Teacher, inputs: Tensor) -> None:
    """Match mean and variance of each channel of each convolution to the teacher's on `inputs` [N, ...], layer after
    layer, so that every layer sees the corrected ones before it.

    Channels that are switched off stay off.
    """
    wanted: dict[int, tuple[Tensor, Tensor]] = {}

    def learn(step: Step, operands: Sequence[Tensor], result: Tensor) -> Tensor:
        if step.result in numbers:
            wanted[step.result] = channel_statistics(result)
        return result

    numbers = set(teacher.convolutions.values())
    teacher.run((inputs,), learn)
    layers = {layer.value: layer for layer in network.layers}

    def correct(step: Step, operands: Sequence[Tensor], result: Tensor) -> Tensor:
        layer = layers.get(step.result)
        if layer is None or layer.name not in teacher.convolutions:
            return result
        mean, variance = wanted[teacher.convolutions[layer.name]]
        return _correct(layer, operands[0], result, mean * layer.steps_per_unit, variance * layer.steps_per_unit**2)

    network.run((inputs,), correct)


def _correct(layer: TrainedLayer, x: Tensor, z: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    module = layer.module
    now, spread = channel_statistics(z - 0.5)
    usable = (variance > _LEAST_VARIANCE) & (spread > _LEAST_VARIANCE)
    gain = torch.where(usable, torch.log(variance / spread.clamp_min(_LEAST_VARIANCE)) / 2, 0.0)
    gain = gain.clamp(-_MOST_GAIN, _MOST_GAIN)
    bias = module.bias().double()
    module.gain.add_(gain)
    module.offset.copy_((mean - (now - bias) * torch.exp(gain)) / module.span)
    return module(x)
