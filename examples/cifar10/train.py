"""Train a network on CIFAR-10 and write it as float ONNX: `python -m examples.cifar10.train --model resnet20`.

Images come from --data (or $ESCC_DATA, or ../shared/data): 50,000 JPEG training images and 5085 lossless ones. The JPEG
images are softer, so that each lossless one is seen several times an epoch. The first of the lossless images are held
out, with their JPEG copies; `examples.cifar10.training_data` holds out the same ones. The final accuracy is that of the
test images, which are lossless.

Every epoch has its own random generator, seeded by --seed and its number. A run that was stopped goes on from its
checkpoint. With --epochs, on a CPU and with one number of --threads, its result is then that of an uninterrupted run,
bit for bit. With --minutes the learning rate follows the clock: the run ends in time on a machine of any speed, and no
two runs are alike. Written are the moving averages of the weights.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

from examples.cifar10.images import DATA, ROOT, Images, Mixture, load, without_copies
from examples.cifar10.networks import CLASSES, NETWORKS
from examples.torch_to_onnx import export

SIDE = 32
"""Pixels of an image's side."""
GROWTH = 0.5
"""Share of the training after which images have their full size."""


class Recipe(NamedTuple):
    """What suits a network: defaults of the options of the same names."""

    epochs: int
    lr: float
    weight_decay: float
    label_smoothing: float
    cutout: int


SMALL = Recipe(epochs=60, lr=0.1, weight_decay=2e-4, label_smoothing=0.0, cutout=0)
RECIPES: Mapping[str, Recipe] = {
    "resnet8": SMALL,
    "resnet20": SMALL,
    "resnet18": Recipe(epochs=40, lr=0.1, weight_decay=5e-4, label_smoothing=0.1, cutout=8),
    "vgg16": Recipe(epochs=60, lr=0.05, weight_decay=5e-4, label_smoothing=0.1, cutout=8),
}


def evaluate(model: nn.Module, images: Images) -> float:
    """Fraction of images whose highest score is their label."""
    model.eval()
    with torch.no_grad():
        right = [
            (model(images.pixels(start, 256)).argmax(1) == images.y[start : start + 256]).sum()
            for start in range(0, len(images), 256)
        ]
    return float(torch.stack(right).sum()) / len(images)


def learning_rate(progress: float, peak: float) -> float:
    """Linear warm-up over the first twentieth of the training, then a cosine down to zero."""
    warm = 0.05
    if progress < warm:
        return peak * progress / warm
    return peak * 0.5 * (1 + math.cos(math.pi * (min(progress, 1) - warm) / (1 - warm)))


def side_of(progress: float, smallest: int) -> int:
    """Pixels of the images' sides: from `smallest` to 32 in steps of four over the first half of the training."""
    if smallest >= SIDE or progress >= GROWTH:
        return SIDE
    steps = (SIDE - smallest + 3) // 4
    return smallest + 4 * int(progress / GROWTH * steps)


@dataclass
class TrainingClock:
    """How far a training of `epochs` epochs of `steps` steps is; with `minutes`, time decides."""

    epochs: int
    steps: int
    minutes: float | None
    started: float
    """Of `time.monotonic`, less the seconds that a run before this one took."""

    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self.started

    def progress(self, epoch: int, step: int) -> float:
        """0 at the start, 1 and more at the end."""
        if self.minutes is not None:
            return self.seconds() / (60 * self.minutes)
        return (epoch + step / self.steps) / self.epochs


class Training:
    """A network, the moving average of its weights, its optimiser, and the images."""

    def __init__(self, args: argparse.Namespace, device: torch.device) -> None:
        self.args, self.device = args, device
        jpeg, lossless, self.test = (i.to(device) for i in load(args.data, args.cache, args.limit))
        held = min(args.validation, len(lossless) // 2)
        self.held, self.clean = lossless.part(0, held), lossless.part(held)
        self.mixture = Mixture(without_copies(jpeg, self.held), self.clean, args.lossless_repeats, args.cutout)
        self.model = NETWORKS[args.model]().to(device, memory_format=torch.channels_last)
        self.average = AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(args.average), use_buffers=True)
        decayed = [p for p in self.model.parameters() if p.ndim > 1]
        plain = [p for p in self.model.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.SGD(
            [{"params": decayed, "weight_decay": args.weight_decay}, {"params": plain, "weight_decay": 0.0}],
            lr=args.lr,
            momentum=0.9,
            nesterov=True,
        )
        self.epoch = 0
        self.clock = TrainingClock(args.epochs, len(self.mixture) // args.batch_size, args.minutes, time.monotonic())
        if args.checkpoint.exists():
            self._restore()

    def _parts(self) -> Mapping[str, Any]:
        return {"model": self.model, "average": self.average, "optimizer": self.optimizer}

    def _restore(self) -> None:
        state = torch.load(self.args.checkpoint, map_location=self.device, weights_only=True)
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self.epoch = state["epoch"]
        self.clock.started -= state["seconds"]
        print(f"resuming after epoch {self.epoch}", flush=True)

    def _save(self) -> None:
        path: Path = self.args.checkpoint
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        parts = {name: part.state_dict() for name, part in self._parts().items()}
        torch.save({**parts, "epoch": self.epoch, "seconds": self.clock.seconds()}, partial)
        partial.replace(path)

    def run(self) -> None:
        """Train to the end, or to --stop-after; leaves a checkpoint every few epochs and at the end."""
        args = self.args
        last = math.inf if args.stop_after is None else args.stop_after
        while self.clock.progress(self.epoch, 0) < 1 and self.epoch < last:
            self._epoch()
            done = self.clock.progress(self.epoch, 0) >= 1 or self.epoch >= last
            if done or self.epoch % args.checkpoint_every == 0:
                self._save()

    def _epoch(self) -> None:
        args, began = self.args, time.monotonic()
        rng = torch.Generator().manual_seed(args.seed * 1_000_003 + self.epoch)
        side = side_of(self.clock.progress(self.epoch, 0), args.smallest_side)
        self.model.train()
        losses: list[Tensor] = []
        for step, (x, y) in enumerate(self.mixture.batches(args.batch_size, side, rng)):
            progress = self.clock.progress(self.epoch, step)
            if progress >= 1:
                break
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate(progress, args.lr * args.batch_size / 128)
            losses.append(self._step(x, y))
        self.epoch += 1
        loss = float(torch.stack(losses).mean()) if losses else math.nan
        top1 = evaluate(self.average.module, self.held)
        taken, all_of_it = time.monotonic() - began, self.clock.seconds()
        print(
            f"{args.model}: epoch {self.epoch}, side {side}, loss {loss:.4f}, held-out {top1:.4f}, {taken:.1f} s "
            f"of {all_of_it:.0f} s",
            flush=True,
        )

    def _step(self, x: Tensor, y: Tensor) -> Tensor:
        args = self.args
        with torch.autocast(self.device.type, torch.bfloat16, enabled=args.precision == "bf16"):
            scores = self.model(x)
        loss = F.cross_entropy(scores.float(), y, label_smoothing=args.label_smoothing)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.average.update_parameters(self.model)
        return loss.detach()

    def result(self) -> nn.Module:
        """The averaged network. Its statistics are those of lossless images where this does not cost held-out ones."""
        model = self.average.module
        before, kept = evaluate(model, self.held), {k: v.clone() for k, v in model.state_dict().items()}
        update_bn(self._clean_pixels(), model)
        after = evaluate(model, self.held)
        if after < before:
            model.load_state_dict(kept)
        print(f"{self.args.model}: held-out {before:.4f}, with statistics of lossless images {after:.4f}", flush=True)
        return model

    def _clean_pixels(self) -> Iterator[Tensor]:
        for start in range(0, len(self.clean), 256):
            yield self.clean.pixels(start, 256)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options; those that are not given are as the recipe of the network says."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", choices=sorted(NETWORKS), default="resnet8", help="(default: %(default)s)")
    p.add_argument("--data", type=Path, default=DATA, help="folder with images/ (default: %(default)s)")
    p.add_argument("--cache", type=Path, default=ROOT / "out/cifar10", help="folder for the decoded images")
    p.add_argument("--output", type=Path, help="the ONNX file to write (default: out/MODEL_cifar10.onnx)")
    p.add_argument("--checkpoint", type=Path, help="state of the run, resumed when it exists (default: beside OUTPUT)")
    p.add_argument("--checkpoint-every", type=int, default=1, metavar="EPOCHS", help="(default: %(default)s)")
    p.add_argument("--epochs", type=int, help="(default: as suits the network)")
    p.add_argument("--minutes", type=float, help="train for so long instead of a number of epochs")
    p.add_argument("--stop-after", type=int, metavar="EPOCH", help="end after this epoch; a later run goes on")
    p.add_argument("--batch-size", type=int, default=128, help="(default: %(default)s)")
    p.add_argument("--lr", type=float, help="peak learning rate for batches of 128; it grows with the batch")
    p.add_argument("--weight-decay", type=float, help="of kernels; biases and normalisations have none")
    p.add_argument("--label-smoothing", type=float)
    p.add_argument("--cutout", type=int, help="side of a square that is greyed in each image, 0: not one")
    p.add_argument("--average", type=float, default=0.998, help="decay of the averaged weights (default: %(default)s)")
    p.add_argument(
        "--smallest-side",
        type=int,
        default=SIDE,
        help="begin with images reduced to so many pixels a side, which is faster (default: %(default)s)",
    )
    p.add_argument("--precision", choices=("bf16", "fp32"), default="bf16", help="of products (default: %(default)s)")
    p.add_argument("--lossless-repeats", type=int, default=4, help="times an epoch (default: %(default)s)")
    p.add_argument("--validation", type=int, default=500, help="lossless images held out (default: %(default)s)")
    p.add_argument("--limit", type=int, help="images of each source to use (for a quick try)")
    p.add_argument(
        "--threads", type=int, default=1, help="CPU threads; another number rounds differently (default: %(default)s)"
    )
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = p.parse_args(argv)
    for name, value in RECIPES[args.model]._asdict().items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    args.output = args.output or ROOT / f"out/{args.model}_cifar10.onnx"
    args.checkpoint = args.checkpoint or args.output.with_suffix(".pt")
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    args = parse(argv)
    torch.set_num_threads(args.threads)
    random.seed(args.seed)
    np.random.seed(args.seed)
    torch.manual_seed(args.seed)
    device = torch.device(args.device)
    torch.backends.cudnn.benchmark = device.type == "cuda"
    torch.use_deterministic_algorithms(device.type == "cpu")

    training = Training(args, device)
    training.run()
    model = training.result().to("cpu", memory_format=torch.contiguous_format)
    model.fold_stem()
    top1 = evaluate(model, training.test.to(torch.device("cpu")))
    metadata = {
        "input": "RGB pixels 0..255",
        "classes": " ".join(CLASSES),
        "top1_lossless_test_1017": f"{top1:.4f}",
        "epochs": str(training.epoch),
        "seconds": f"{training.clock.seconds():.0f}",
        "seed": str(args.seed),
    }
    args.output.parent.mkdir(parents=True, exist_ok=True)
    export(model.eval(), args.output, (3, SIDE, SIDE), metadata)
    print(f"{args.output.name}: top-1 {top1:.2%} of the lossless test images", flush=True)


if __name__ == "__main__":
    main()
