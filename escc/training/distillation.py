"""A network that learns from a teacher: the gradients of a batch, and on the way what its coefficients are worth."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from escc.training.dataflow import Dataflow
from escc.training.network import Network
from escc.training.sparsity import Sparsity


@dataclass(frozen=True)
class Distillation:
    """A network, its teacher, and how much each part of the loss counts.

    The loss is the divergence from the teacher's scores, both divided by the `temperature`, plus `labels` times the
    cross entropy with the labels. With `bf16`, products are computed in it.
    """

    network: Network
    teacher: Dataflow
    sparsity: Sparsity
    temperature: float
    labels: float
    bf16: bool

    def backward(self, x: Tensor, y: Tensor | None, probe: torch.Generator | None) -> Tensor:
        """Set the gradients of a batch, return its loss; with a random generator of the CPU, take a probe of the
        curvature too.
        """
        self.network.zero_grad(set_to_none=True)
        with torch.autocast(x.device.type, torch.bfloat16, self.bf16):
            with torch.no_grad():
                wanted = self.teacher(x).flatten(1).float()
            scores = self.network(x).flatten(1).float()
        if probe is not None and self.sparsity.latents:
            weights = self._probe(scores.detach(), probe)
            self.sparsity.observe(torch.autograd.grad(scores, self.sparsity.latents, weights, True), len(x))
        loss = self.loss(scores, wanted, y)
        torch.autograd.backward(loss)
        return loss.detach()

    def _probe(self, scores: Tensor, rng: torch.Generator) -> Tensor:
        """Random weights of scores [N, classes] with the curvature of the mean loss, over N, as their covariance: the
        gradient of the cross entropy with classes drawn from the scores themselves.
        """
        p = torch.softmax(scores / self.temperature, 1)
        # The random numbers are those of the CPU on every device, which waits for none of them.
        level = torch.rand(len(p), 1, generator=rng).to(p.device)
        drawn = (p.cumsum(1) < level).sum(1, keepdim=True).clamp_(max=p.shape[1] - 1)
        size = math.sqrt(1 + self.labels) / len(p)
        return p.scatter_add(1, drawn, torch.full_like(p[:, :1], -1.0)) * size

    def loss(self, scores: Tensor, wanted: Tensor, y: Tensor | None) -> Tensor:
        """The loss of scores [N, classes] where the teacher has the `wanted` ones."""
        t = self.temperature
        loss = F.kl_div(
            F.log_softmax(scores / t, 1), F.log_softmax(wanted / t, 1), reduction="batchmean", log_target=True
        )
        loss = loss * (t * t)
        if y is not None and self.labels:
            loss = loss + self.labels * F.cross_entropy(scores, y)
        return loss
