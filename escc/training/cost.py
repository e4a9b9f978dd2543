"""What a training computes and moves, and the energy of that at the prices of a target machine.

A training is not run on that machine: its multiplications and DRAM bytes are only counted at the energies by which the
emulator counts, so that a training and the images it saves energy on can be added up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from escc.training.dataflow import Dataflow, Step
from escc.training.straight_through import Convolution
from escc.training.teacher import Teacher
from isa.target import Energy


@dataclass(frozen=True)
class ImageWork:
    """What one image takes in one direction: multiply-accumulates of convolutions, values of all results; and weights,
    which a batch shares.
    """

    macs: int
    values: int
    weights: int


@dataclass
class Counts:
    """Images that a training has seen: `trained` on, `probed` for the curvature, and `judged` without gradients; and
    `batches` that it took a step for.
    """

    trained: int = 0
    probed: int = 0
    judged: int = 0
    batches: int = 0


@dataclass(frozen=True)
class TrainingCost:
    """Multiply-accumulates, bytes to and from memory, and joules of a training."""

    forward: int
    backward: int
    nbytes: int
    joules: float


@torch.no_grad()
def measured(network: Dataflow, image: Tensor) -> ImageWork:
    """The work of a network, from a run on one image [1, ...]."""
    macs = values = weights = 0
    known = set(network.convolutions.values()) if isinstance(network, Teacher) else set[int]()

    def look(step: Step, operands: Sequence[Tensor], result: Tensor) -> Tensor:
        nonlocal macs, values, weights
        module = network.module(step)
        weight = None
        if isinstance(module, Convolution):
            weight = module.integer_weight()
        elif step.result in known:
            weight = operands[1]
        if operands:
            values += result.numel()
        if weight is not None:
            weights += weight.numel()
            macs += result.numel() * weight[0].numel()
        return result

    network.run((image,), look)
    return ImageWork(macs, values, weights)


def total(network: ImageWork, teacher: ImageWork, counts: Counts, bf16: bool, energy: Energy) -> TrainingCost:
    """TrainingCost of the images that were counted.

    Backward takes two products for each of the forward ones, for the inputs and for the weights. Results are written
    once and read once in either direction; a batch reads the weights three times, and writes and reads gradients and
    two moments of them. Numbers are of two bytes with `bf16`, whose significands of 8 bits are multiplied, else of
    four; sums are of 32 bits.
    """
    c, size = counts, 2 if bf16 else 4
    seen = c.trained + c.judged
    forward = network.macs * seen + teacher.macs * seen
    backward = 2 * network.macs * (c.trained + c.probed)
    values = 2 * (network.values + teacher.values) * seen + 2 * network.values * (c.trained + c.probed)
    weights = (3 * network.weights + teacher.weights) * size + 7 * 4 * network.weights
    nbytes = size * values + weights * c.batches
    each = (energy.mul_int8 if bf16 else energy.mul_int32) + energy.add_int32
    joules = 1e-12 * ((forward + backward) * each + nbytes * energy.dram_byte)
    return TrainingCost(forward, backward, nbytes, joules)


def text(cost: TrainingCost, target: str) -> str:
    """One line of figures."""
    return (
        f"training: {cost.forward:.3g} multiply-accumulates forward, {cost.backward:.3g} backward, "
        f"{cost.nbytes / 1e9:,.4g} GB moved; {cost.joules:,.3g} J at the energies of {target}"
    )
