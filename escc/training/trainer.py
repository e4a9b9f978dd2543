"""The training loop: distillation from the float network while the constants shrink to the budget."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor

from escc.training.admm import Admm
from escc.training.cost import Counts
from escc.training.data import TrainingSamples
from escc.training.distillation import Distillation
from escc.training.early_bird import EarlyBird
from escc.training.network import Network
from escc.training.sparsity import Sparsity
from escc.training.straight_through import DecomposedConv
from escc.training.teacher import Teacher

_ATTEMPTS = 6
"""Times that thresholds are set anew because the real bytes exceed what was estimated."""
_EVENTS = 8
"""Times an epoch that the thresholds are set anew."""
_WARM_STEPS = 16
"""Batches whose probes say what coefficients are worth before the first step."""
_PROBES = 4
"""A probe of the curvature is taken in one of so many steps."""
_TUNE = 1 / 3
"""Share of the epochs that ADMM ends with, of straight-through training."""
_BATCH = 500
"""TrainingSamples of a batch without gradients."""
_STRAYED = 0.02
"""Share by which bytes change before they are compiled to be counted."""
_RATES = {"weight": 0.05, "basis": 0.02, "book": 0.02, "gain": 0.3, "offset": 0.1}
"""Learning rates of the kinds of parameters, relative to `lr`."""


@dataclass(frozen=True)
class Plan:
    """What the training is asked to do; two runs with equal plans and data give equal results.

    `most_bytes` None leaves the sparsity as it falls. `anneal` is the share of the steps in which the budget tightens.
    With `early_bird`, it ends as soon as the budget chooses about the same coefficients in successive epochs. The share
    `drop_batches` of the batches is left out at random. In the first share `rest` of the steps, coefficients change
    only where the budget takes them away; all else is trained.
    """

    method: str
    epochs: int
    batch: int
    lr: float
    temperature: float
    labels: float
    most_bytes: float | None
    anneal: float
    patience: int | None
    augment: tuple[str, ...]
    seed: int
    bf16: bool = False
    drop_batches: float = 0.0
    early_bird: bool = False
    rest: float = 0.0


@dataclass(frozen=True)
class EpochReport:
    """An epoch that is over."""

    epoch: int
    epochs: int
    loss: float
    accuracy: float
    bytes: int
    target: float | None
    seconds_left: float
    images_per_second: float


@dataclass
class State:
    """Where a training stands after some epochs."""

    epoch: int = 0
    best: float = -1.0
    best_epoch: int = 0
    best_model: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    frozen: bool = False
    """Whether the coefficients in use are settled."""
    weighed: int = 0
    """Bytes of the network when it was compiled last."""


class Trainer:
    """Trains a network in place."""

    def __init__(
        self,
        network: Network,
        teacher: Teacher,
        train: TrainingSamples,
        held: TrainingSamples,
        plan: Plan,
        device: torch.device,
        weigh: Callable[[], int],
    ):
        """`weigh` tells the real bytes of the network as it stands."""
        self.network, self.teacher = network.eval(), teacher
        self.held = held.to(device)
        self._train, self._plan, self._device, self._weigh = train.to(device), plan, device, weigh
        self.sparsity = Sparsity(network)
        self._distillation = Distillation(network, teacher, self.sparsity, plan.temperature, plan.labels, plan.bf16)
        self.state = State()
        self.counts = Counts()
        self._early_bird = EarlyBird()
        self._modules = [cast(DecomposedConv, layer.module) for layer in network.decomposed]
        self._projected = network.projected
        self._optimizer = torch.optim.Adam(_groups(network, plan.lr), betas=(0.9, 0.99), fused=True)
        self._steps = max(1, len(train) // min(plan.batch, len(train)))
        self._total = self._steps * plan.epochs
        self._admm = Admm(self._projected, self.sparsity) if plan.method == "admm" else None
        self._start_bytes = 0

    # Checkpoints --------------------------------------------------------------------------------------------------

    def checkpoint(self) -> dict[str, Any]:
        """Everything that the next epoch depends on."""
        return {
            "model": self.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "sparsity": self.sparsity.state(),
            "admm": None if self._admm is None else self._admm.state(),
            "start_bytes": self._start_bytes,
            "counts": vars(self.counts),
            "masks": list(self._early_bird.masks),
            **vars(self.state),
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.network.load_state_dict(saved["model"])
        self._optimizer.load_state_dict(saved["optimizer"])
        self.sparsity.load(saved["sparsity"])
        if self._admm is not None:
            self._admm.load(saved["admm"])
        self._start_bytes = saved["start_bytes"]
        self.counts = Counts(**saved["counts"])
        self._early_bird.masks.extend([[m.to(self._device) for m in mask] for mask in saved["masks"]])
        self.state = State(**{name: saved[name] for name in vars(State())})

    # Training -----------------------------------------------------------------------------------------------------

    def run(self, report: Callable[[EpochReport], None], save: Callable[[], None], tick: Callable[[int], None]) -> None:
        """Train from where the state stands; the network ends with the best epoch's parameters.

        `report` and `save` are called after each epoch, `tick` with the number of images after each step.
        """
        if not self.state.epoch:
            self._warm_up()
            self._start_bytes = self.weigh()
            self._note(self.accuracy(self.held), self._start_bytes)
        started, first = time.monotonic(), self.state.epoch
        for epoch in range(first, self._plan.epochs):
            begun = time.monotonic()
            loss = self._epoch(epoch, tick)
            trained = time.monotonic() - begun
            accuracy, size = self._judge(epoch)
            save()
            left = (time.monotonic() - started) / (epoch + 1 - first) * (self._plan.epochs - epoch - 1)
            speed = self.images / max(trained, 1e-9)
            report(EpochReport(epoch + 1, self._plan.epochs, loss, accuracy, size, self._plan.most_bytes, left, speed))
            if self._out_of_patience():
                break
        if self.state.best_model:
            self.network.load_state_dict(self.state.best_model)
        self.network.fold()

    def _judge(self, epoch: int) -> tuple[float, int]:
        """End of an epoch: accuracy and bytes of the ternary network, which may be the best so far."""
        self.state.epoch = epoch + 1
        step = (epoch + 1) * self._steps
        kept: list[dict[str, Tensor]] = []  # of real numbers that go on after the judgement
        if self._admm is not None and epoch < self._relaxed_epochs:
            self._admm.project(self._target(step), self._relaxed_share(step))
            if epoch + 1 < self._relaxed_epochs:
                kept = [copy.deepcopy(m.state_dict()) for m in self._projected]
            self._admm.settle()
        self._relax(False)
        if self._plan.early_bird and not kept:
            self._look_for_ticket()
        self._tighten(step)
        if self._strayed():
            self.weigh()
            self._tighten(step)
        accuracy, size = self.accuracy(self.held), round(self.sparsity.bytes())
        if self._may_be_best(step, accuracy):
            size = self.fit(self._target(step))
            accuracy = self.accuracy(self.held)
            self._note(accuracy, size)
        for module, state in zip(self._projected, kept, strict=False):
            module.load_state_dict(state)
        return accuracy, size

    def _strayed(self) -> bool:
        """Whether the bytes have changed so much that their estimate may be wrong. Nothing else would show that until
        the budget is reached, where what is too much would go all at once.
        """
        weighed = self.state.weighed
        return self._plan.most_bytes is not None and abs(self.sparsity.bytes() - weighed) > _STRAYED * weighed

    @property
    def _relaxed_epochs(self) -> int:
        """Epochs at the start in which the network computes with real coefficients."""
        return 0 if self._admm is None else math.ceil(self._plan.epochs * (1 - _TUNE))

    def _relaxed_share(self, step: int) -> float:
        """How much of them is over."""
        return min(1.0, step / (self._relaxed_epochs * self._steps))

    def _note(self, accuracy: float, size: int) -> None:
        most = self._plan.most_bytes
        if (most is None or size <= most) and accuracy > self.state.best:
            self.state.best, self.state.best_epoch = accuracy, self.state.epoch
            self.state.best_model = copy.deepcopy(self.network.state_dict())

    @torch.no_grad()
    def _look_for_ticket(self) -> None:
        """Settle the coefficients in use if those that the whole budget leaves are about the same as an epoch ago."""
        most = self._plan.most_bytes
        if most is None or self.state.frozen:
            return
        before = [m.threshold.clone() for m in self._modules]
        self.sparsity.tighten(most)
        mask = [m.projected(m.latent) != 0 for m in self._modules]
        self.state.frozen = self._early_bird.settled(mask)
        for module, threshold, used in zip(self._modules, before, mask, strict=True):
            if self.state.frozen:
                module.threshold.masked_fill_(~used, math.inf)
            else:
                module.threshold.copy_(threshold)

    def _may_be_best(self, step: int, accuracy: float) -> bool:
        """Whether a network of such accuracy is worth a look at its real bytes, for which it is compiled."""
        most = self._plan.most_bytes
        return accuracy > self.state.best and (most is None or self._target(step) <= most)

    def _relax(self, relaxed: bool) -> None:
        """Compute with the latent numbers, or with points of the forms."""
        for module in self._projected:
            module.relaxed = relaxed

    def _out_of_patience(self) -> bool:
        patience = self._plan.patience
        if patience is None or not self.state.best_model:
            return False
        return self.state.epoch - self.state.best_epoch >= patience

    def _epoch(self, epoch: int, tick: Callable[[int], None]) -> float:
        """One pass over the data; returns the mean loss."""
        rng = torch.Generator().manual_seed(self._plan.seed * 1_000_003 + epoch)
        relaxed = epoch < self._relaxed_epochs
        self._relax(relaxed)
        self.network.train()
        every = max(1, self._steps // _EVENTS)
        taken = 0
        total = torch.zeros((), device=self._device)
        for i, (x, y) in enumerate(self._train.shuffled(self._plan.batch, rng, self._plan.augment, self._device)):
            step = epoch * self._steps + i
            if self._plan.drop_batches and float(torch.rand((), generator=rng)) < self._plan.drop_batches:
                continue
            taken += 1
            if taken % every == 1 or every == 1:
                if self._admm is not None and relaxed:
                    self._admm.project(self._target(step), self._relaxed_share(step))
                else:
                    self._tighten(step)
            rate = self._rate(step)
            for group in self._optimizer.param_groups:
                group["lr"] = self._plan.lr * group["relative"] * rate
            resting = step < self._plan.rest * self._total
            probed = step % _PROBES == 0 and not (self.state.frozen or resting)
            loss = self._backward(x, y, rng if probed else None)
            cast(Any, self._optimizer).step()
            if self._admm is not None and relaxed:
                self.sparsity.move_relaxed(rate, self._admm.pulls())
                self._admm.draw()
            elif not resting:
                self.sparsity.move(rate)
            self.network.after_step()
            total += loss
            tick(len(x))
        self.network.eval()
        self.counts.batches += taken
        return float(total) / max(1, taken)

    def _rate(self, step: int) -> float:
        """Short warm-up, then a cosine down to 2 %; after ADMM the same again for the training that follows it."""
        change = self._relaxed_epochs * self._steps
        first, last = (0, change) if step < change else (change, self._total)
        warm = max(1, min(100, (last - first) // 50))
        if step < first + warm:
            return (step + 1 - first) / warm
        return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (step - first - warm) / max(1, last - first - warm)))

    def _backward(self, x: Tensor, y: Tensor | None, probe: torch.Generator | None) -> Tensor:
        """Gradients of a batch, which is counted; with a random generator, a probe of the curvature too."""
        self.counts.trained += len(x)
        if probe is not None and self.sparsity.latents:
            self.counts.probed += len(x)
        return self._distillation.backward(x, y, probe)

    def _warm_up(self) -> None:
        """Learn what coefficients are worth, without a step."""
        rng = torch.Generator().manual_seed(self._plan.seed)
        for i, (x, y) in enumerate(self._train.shuffled(self._plan.batch, rng, (), self._device)):
            if i == _WARM_STEPS:
                break
            self._backward(x, y, rng)

    def _target(self, step: int) -> float:
        """Bytes allowed at a step: from those at the start to the budget along a cubic curve."""
        most = self._plan.most_bytes
        if most is None:
            return math.inf
        if self.state.frozen:
            return most
        done = min(1.0, step / max(1.0, self._plan.anneal * self._total))
        return most + max(0.0, self._start_bytes - most) * (1 - done) ** 3

    def _annealed(self, step: int) -> bool:
        """Whether the bytes have come down to the budget: every further choice would disturb what was learnt."""
        return self.state.frozen or step >= self._plan.anneal * self._total

    def _tighten(self, step: int) -> None:
        """Bring the network to the bytes allowed at a step, unless it is there already: new thresholds do some harm."""
        target = self._target(step)
        if self._plan.most_bytes is not None and self.sparsity.bytes() > target:
            self.sparsity.tighten(target, remove_only=self._annealed(step))

    def fit(self, most: float) -> int:
        """Make whatever was relaxed ternary and tighten until the real bytes fit, if they ever do; returns them."""
        fresh = not self._annealed(self.state.epoch * self._steps) or self._plan.epochs == 0
        self._relax(False)
        size = self.weigh()
        for _ in range(_ATTEMPTS):
            if size <= most:
                break
            if not self.sparsity.ready:
                self._warm_up()
            self.sparsity.tighten(most, remove_only=not fresh)
            size = self.weigh()
        return size

    def least(self) -> int:
        """Real bytes without any coefficient."""
        kept = [m.threshold.clone() for m in self._modules]
        for module in self._modules:
            module.threshold.fill_(math.inf)
        size = self._weigh()
        for module, threshold in zip(self._modules, kept, strict=True):
            module.threshold.copy_(threshold)
        return size

    def weigh(self) -> int:
        """Real bytes of the network; the estimate is put right by them."""
        size = self._weigh()
        self.sparsity.offset += size - self.sparsity.bytes()
        self.state.weighed = size
        return size

    @property
    def images(self) -> int:
        """Images that an epoch trains on."""
        return self._steps * min(self._plan.batch, len(self._train))

    # Evaluation ---------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def accuracy(self, samples: TrainingSamples, teacher: bool = False) -> float:
        """Share of the samples whose highest score is their label (without labels: the teacher's highest)."""
        model = self.teacher if teacher else self.network
        self.counts.judged += len(samples)
        right = 0
        for x, y in samples.batches(_BATCH, self._device):
            wanted = self.teacher(x).flatten(1).argmax(1) if y is None else y
            right += int((model(x).flatten(1).argmax(1) == wanted).sum())
        return right / len(samples)

    @torch.no_grad()
    def predictions(self, samples: TrainingSamples) -> Tensor:
        """The teacher's classes, int64 [N]."""
        return torch.cat([self.teacher(x).flatten(1).argmax(1) for x, _ in samples.batches(_BATCH, self._device)])

    @torch.no_grad()
    def loss(self, samples: TrainingSamples) -> float:
        """Mean loss over samples."""
        total = 0.0
        for x, y in samples.batches(_BATCH, self._device):
            total += float(self._distillation.loss(self.network(x).flatten(1), self.teacher(x).flatten(1), y)) * len(x)
        return total / len(samples)


def _groups(network: Network, lr: float) -> list[dict[str, Any]]:
    """Parameters by kind, each with its own learning rate; those of other kinds learn as weights do."""
    kinds: dict[str, list[torch.nn.Parameter]] = {}
    elsewhere = {id(cast(DecomposedConv, layer.module).latent) for layer in network.decomposed}  # by `Sparsity`
    for name, parameter in network.named_parameters():
        if id(parameter) in elsewhere:
            continue
        kinds.setdefault(name.rpartition(".")[2], []).append(parameter)
    return [{"params": p, "lr": lr, "relative": _RATES.get(kind, _RATES["weight"])} for kind, p in kinds.items()]
