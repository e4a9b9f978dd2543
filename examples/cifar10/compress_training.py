"""ClockedTraining of decomposed networks by the clock, to one number of bytes after another, all on one device.

Gradients, probes and the worth of coefficients are those of `escc.training`. Its `Trainer` goes by epochs instead, so
that equal plans give equal results; its `Sparsity` moves latent coefficients by their curvature and chooses among them
on the CPU. Here the clock decides about the learning rate and the budget, Adam moves all parameters alike, and
`DeviceSelection` stays on the device, where counts are float32. This loop gave the figures of docs/results.md.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from escc.training.coefficient_budget import PARAMETER_BYTES, packed_bytes
from escc.training.dataflow import Step
from escc.training.distillation import Distillation
from escc.training.network import Network
from escc.training.sparsity import Sparsity
from escc.training.straight_through import CELL, DecomposedConv
from examples.cifar10.images import Images, Mixture

_SHARE_OF_DESCENT = 0.6
"""Share of a stage in which the bytes go down; the rest of it only mends."""
_PROBES = 8
"""A probe of the curvature is taken in one of so many steps."""
_RATES = {"latent": 1.0, "weight": 0.05, "basis": 0.02, "gain": 0.3, "offset": 0.1}
"""Learning rates of the kinds of parameters, relative to that of the run."""
_TINY = 1e-30
_MOST_GAIN = 0.5


@dataclass(frozen=True)
class Stage:
    """A number of bytes to reach, and the share of the time that is spent on it."""

    name: str
    bytes: float
    share: float


@dataclass(frozen=True)
class ClockedPlan:
    """What a training is asked to do, in `seconds`."""

    stages: Sequence[Stage]
    seconds: float
    batch: int
    lr: float
    temperature: float
    labels: float
    every: float
    """Seconds between two choices of the coefficients that stay."""
    seed: int


class DeviceSelection:
    """Which coefficients of a network stay, chosen on the device that it lies on.

    As in `escc.training.coefficient_budget`: a coefficient is worth its squared latent value times its curvature and
    costs bits, an output channel costs its parameters too, and one price for all layers decides.
    """

    def __init__(self, network: Network, sparsity: Sparsity) -> None:
        self._modules = [cast(DecomposedConv, layer.module) for layer in network.decomposed]
        self._sparsity = sparsity
        self._excess = [1.05] * len(self._modules)
        self._log_price: float | None = None

    @torch.no_grad()
    def bytes(self) -> float:
        """Bytes of the constants: coefficients as they pack, bases, parameters, and dense weights of a byte each."""
        total = float(self._sparsity.fixed)
        for i, module in enumerate(self._modules):
            t = module.projected(module.latent)
            counts = _Counts.of(t != 0, 1.0, module.basis[0].numel())
            bound, overhead = (float(x) for x in torch.stack([counts.bound, counts.overhead]))
            packed = packed_bytes(t.to(torch.int8).cpu().numpy())
            if bound > 64:
                self._excess[i] = packed / bound
            total += packed + overhead
        return total

    @torch.no_grad()
    def tighten(self, most: float, remove_only: bool) -> float:
        """Raise or set thresholds for at most `most` bytes; returns the bytes that they lead to."""
        if (size := self.bytes()) <= most:
            return size
        worth = self._sparsity.worth
        benefits = [
            m.latent.square() * w * (m.latent.abs() > (m.threshold if remove_only else CELL))
            for m, w in zip(self._modules, worth, strict=True)
        ]
        aim = most
        for attempt in range(4):
            bits = [self._marginal_bits(m.projected(m.latent) != 0) for m in self._modules]
            price = self._price(benefits, bits, aim)
            for module, benefit, w, b in zip(self._modules, benefits, worth, bits, strict=True):
                least = price * b / 8
                channels = (benefit - least).clamp_min(0).sum((1, 2)) > price * PARAMETER_BYTES
                threshold = torch.sqrt(least / w).clamp_min(CELL).expand_as(module.latent).clone()
                threshold[~channels] = math.inf
                module.threshold.copy_(torch.maximum(threshold, module.threshold) if remove_only else threshold)
            size = self.bytes()
            if size <= most:
                break
            aim -= (size - most) * (1 + 0.5 * attempt)
        return size

    def _price(self, benefits: Sequence[Tensor], bits: Sequence[float], aim: float) -> float:
        """About the least price at which the estimate fits, searched over its exponent around that of the last time."""
        if self._log_price is None:
            top = math.log2(float(torch.stack([b.max() for b in benefits]).max()) + _TINY)
            low, high, steps = top - 45, top + 5, 18
        else:
            low, high, steps = self._log_price - 3, self._log_price + 3, 11
        for _ in range(steps):
            middle = (low + high) / 2
            low, high = (low, middle) if self._estimate(benefits, bits, 2**middle) <= aim else (middle, high)
        self._log_price = high
        return 2**high

    def _estimate(self, benefits: Sequence[Tensor], bits: Sequence[float], price: float) -> float:
        sizes: list[Tensor] = []
        for module, benefit, b, excess in zip(self._modules, benefits, bits, self._excess, strict=True):
            net = (benefit - price * b / 8).clamp_min(0)
            channels = net.sum((1, 2)) > price * PARAMETER_BYTES
            counts = _Counts.of((net > 0) & channels[:, None, None], excess, module.basis[0].numel())
            sizes.append(counts.bound * excess + counts.overhead)
        return self._sparsity.fixed + float(torch.stack(sizes).sum())

    def _marginal_bits(self, keep: Tensor) -> float:
        """Bits that one more non-zero coefficient adds."""
        share = min(max(float(keep.float().mean()), 1e-3), 0.9)
        return min(max(math.log2((1 - share) / share) + 1, 0.25), 16.0)


@dataclass(frozen=True)
class _Counts:
    """Bytes of a mask [K, C, V] in an ideal code, and of the bases and parameters in use, as tensors of one value."""

    bound: Tensor
    overhead: Tensor

    @classmethod
    def of(cls, keep: Tensor, excess: float, taps: int) -> _Counts:
        count = keep.sum().float()
        rows, columns, bases = (keep.any(dims[0]).any(dims[1]).sum().float() for dims in ((2, 1), (2, 0), (0, 0)))
        size = (rows * columns * bases).clamp_min(1)
        p = (count / size).clamp(1e-9, 1 - 1e-7)
        entropy = -(p * torch.log2(p) + (1 - p) * torch.log2(1 - p))
        return cls((size * entropy + count) / 8 * (count > 0), taps * bases + PARAMETER_BYTES * rows)


class ClockedTraining:
    """A decomposed network that learns from its dense 8-bit self."""

    def __init__(
        self, network: Network, teacher: Network, mixture: Mixture, held: Images, inputs: Callable[[Tensor], Tensor],
        plan: ClockedPlan,
    ) -> None:  # fmt: skip
        self.network, self.teacher, self._mixture, self._held = network, teacher, mixture, held
        self._inputs, self._plan = inputs, plan
        self.device = held.y.device
        self._modules = [cast(DecomposedConv, layer.module) for layer in network.decomposed]
        self.sparsity = Sparsity(network)
        self.selection = DeviceSelection(network, self.sparsity)
        on_gpu = self.device.type == "cuda"
        self._distillation = Distillation(network, teacher, self.sparsity, plan.temperature, plan.labels, bf16=on_gpu)
        kinds: dict[str, list[torch.nn.Parameter]] = {}
        for name, parameter in network.named_parameters():
            kinds.setdefault(name.rpartition(".")[2], []).append(parameter)
        groups = [{"params": p, "relative": _RATES[kind]} for kind, p in kinds.items()]
        self._optimizer = torch.optim.Adam(groups, lr=plan.lr, betas=(0.9, 0.99), fused=True)
        self._began = 0.0

    def run(self, finished: Callable[[Stage, float, float], None]) -> None:
        """All stages; `finished` hears of each of them, of its bytes and of the accuracy on held-out images."""
        self._warm_up()
        self._began = time.monotonic()
        start = self.selection.bytes()
        print(f"start: {start:,.0f} bytes, held-out {self.accuracy():.4f}", flush=True)
        epoch, done = 0, 0.0
        for stage in self._plan.stages:
            begun, done = done, done + stage.share
            epoch = self._stage(stage, begun * self._plan.seconds, done * self._plan.seconds, start, epoch)
            start = self.selection.tighten(stage.bytes, remove_only=True)
            finished(stage, start, self.accuracy())

    def _stage(self, stage: Stage, begin: float, end: float, start: float, epoch: int) -> int:
        tightened = 0.0
        while True:
            rng = torch.Generator().manual_seed(self._plan.seed * 1_000_003 + epoch)
            epoch, losses, size = epoch + 1, [], math.nan
            for i, (x, y) in enumerate(self._mixture.batches(self._plan.batch, 32, rng)):
                now = time.monotonic() - self._began
                progress = (now - begin) / (end - begin)
                if progress >= 1:
                    break
                if now - tightened > self._plan.every:
                    tightened = now
                    left = max(0.0, 1 - progress / _SHARE_OF_DESCENT)
                    size = self.selection.tighten(
                        stage.bytes + max(0.0, start - stage.bytes) * left**3, remove_only=left == 0
                    )
                losses.append(self._step(x, y, progress, rng if i % _PROBES == 0 else None))
            loss = float(torch.stack(losses).mean()) if losses else math.nan
            print(
                f"{stage.name}: epoch {epoch}, {len(losses)} steps, {time.monotonic() - self._began:.0f} s, "
                f"loss {loss:.4f}, {size:,.0f} bytes, held-out {self.accuracy():.4f}",
                flush=True,
            )
            if time.monotonic() - self._began >= end:
                return epoch

    def _step(self, x: Tensor, y: Tensor, progress: float, probe: torch.Generator | None) -> Tensor:
        rate = min(1.0, 50 * progress + 0.02) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))
        for group in self._optimizer.param_groups:
            group["lr"] = self._plan.lr * group["relative"] * rate
        loss = self._distillation.backward(self._inputs(x), y, probe)
        cast(Any, self._optimizer).step()
        self.network.after_step()
        return loss

    def _warm_up(self) -> None:
        rng = torch.Generator().manual_seed(self._plan.seed)
        for i, (x, y) in enumerate(self._mixture.batches(self._plan.batch, 32, rng)):
            if i == 16:
                break
            self._distillation.backward(self._inputs(x), y, rng)

    @torch.no_grad()
    def accuracy(self, teacher: bool = False, images: Images | None = None) -> float:
        """Share of images, the held-out ones unless others are given, whose highest score is their label."""
        model, images = self.teacher if teacher else self.network, images or self._held
        right = torch.zeros((), device=self.device)
        for first in range(0, len(images), 500):
            x = self._inputs(images.pixels(first, 500))
            right += (model(x).flatten(1).argmax(1) == images.y[first : first + 500]).sum()
        return float(right) / len(images)


@torch.no_grad()
def match_statistics(network: Network, teacher: Network, x: Tensor) -> None:
    """Give every convolution's outputs the means and deviations that the teacher's have on `x`, layer after layer."""
    wanted: dict[str, tuple[Tensor, Tensor]] = {}
    names = {layer.value: layer.name for layer in teacher.layers}
    layers = {layer.value: layer for layer in network.layers}

    def learn(step: Step, operands: Sequence[Tensor], result: Tensor) -> Tensor:
        if step.result in names:
            wanted[names[step.result]] = result.mean((0, 2, 3)), result.std((0, 2, 3))
        return result

    def correct(step: Step, operands: Sequence[Tensor], result: Tensor) -> Tensor:
        if (layer := layers.get(step.result)) is None:
            return result
        mean, deviation = wanted[layer.name]
        module, now = layer.module, result.mean((0, 2, 3))
        gain = torch.log(deviation.clamp_min(1e-6) / result.std((0, 2, 3)).clamp_min(1e-6))
        gain = gain.clamp(-_MOST_GAIN, _MOST_GAIN)
        bias = module.bias()
        module.gain.add_(gain)
        module.offset.copy_((mean - 0.5 - (now - 0.5 - bias) * torch.exp(gain)) / module.span)
        return module(operands[0])

    teacher.run((x,), learn)
    network.run((x,), correct)


def integers(network: Network) -> dict[str, NDArray[np.generic]]:
    """What a network has learnt, by the name of a layer and "/": t, b, w, factor and bias."""
    found: dict[str, NDArray[np.generic]] = {}
    for layer in network.layers:
        module = layer.module
        parts = {"factor": module.factor().double(), "bias": module.bias().double()}
        if isinstance(module, DecomposedConv):
            parts |= {"t": module.coefficients().to(torch.int8), "b": module.integer_basis().to(torch.int8)}
        else:
            parts["w"] = module.integer_weight().to(torch.int8)
        found |= {f"{layer.name}/{key}": value.detach().cpu().numpy() for key, value in parts.items()}
    return found
