"""Draw calibration images out of the trained network: `python -m examples.cifar10.distill`.

Calibrating needs inputs like those that the network was trained on; the network itself tells what they were like: its
BatchNormalization layers hold the mean and variance of every feature. Starting from coloured 1/f noise, images move by
gradient descent until a batch of them has these statistics and each shows a class chosen beforehand (data-free
calibration as in ZeroQ, Cai et al., 2020, and DeepInversion, Yin et al., 2020). Writes x, float32 pixels 0..255
[N, 3, 32, 32], and y, the classes.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F

from examples.cifar10.images import ROOT
from examples.cifar10.networks import CLASSES, ResNet8


def load(path: Path) -> ResNet8:
    """The module whose export `path` is, in eval mode."""
    model = ResNet8()
    model.fold_stem()
    weights = {w.name: torch.from_numpy(numpy_helper.to_array(w).copy()) for w in onnx.load(path).graph.initializer}
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert not unexpected and all(name.endswith("num_batches_tracked") for name in missing)
    return model.eval()


def noise(count: int, side: int) -> Tensor:
    """Images of 1/f noise with colours that vary together, pixels 0..255."""
    frequency = torch.hypot(torch.fft.fftfreq(side)[:, None], torch.fft.fftfreq(side))
    frequency[0, 0] = 1 / side
    pink = torch.fft.ifft2(torch.fft.fft2(torch.randn(count, 3, side, side)) / frequency).real
    pink = (pink - pink.mean((2, 3), keepdim=True)) / pink.std((2, 3), keepdim=True)
    return ((0.9 * pink[:, :1] + 0.44 * pink) * 50 + 120).clamp(0, 255)


def distil(model: ResNet8, labels: Tensor, steps: int) -> Tensor:
    """Images float32 [len(labels), 3, 32, 32] of integral pixels that the network takes for its training data."""
    statistics: list[Tensor] = []

    def compare(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0]
        deviation = layer.running_var.sqrt()
        mean = (x.mean((0, 2, 3)) - layer.running_mean) / deviation
        spread = x.var((0, 2, 3)).sqrt() / deviation - 1
        statistics.append(mean.square().mean() + spread.square().mean())

    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.register_forward_pre_hook(compare)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    images = noise(len(labels), 32).requires_grad_()
    optimizer = torch.optim.Adam([images], lr=4.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        statistics.clear()
        shift = torch.randint(-2, 3, (2,)).tolist()
        scores = model(torch.roll(images, shift, (2, 3)))
        matching = torch.stack(statistics).sum()
        rough = F.l1_loss(images[:, :, 1:], images[:, :, :-1]) + F.l1_loss(images[..., 1:], images[..., :-1])
        loss = matching + 0.1 * F.cross_entropy(scores, labels) + 1e-3 * rough
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            images.clamp_(0, 255)
        if step % 100 == 0 or step == steps - 1:
            print(f"step {step}: statistics {matching.item():.4f}, total {loss.item():.4f}", flush=True)
    return images.detach().round()


def main(argv: Sequence[str] | None = None) -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", type=Path, default=ROOT / "examples/models/resnet8_cifar10.onnx")
    p.add_argument("--output", type=Path, default=ROOT / "examples/models/calibration.npz")
    p.add_argument("--count", type=int, default=100)
    p.add_argument("--steps", type=int, default=500)
    p.add_argument("--seed", type=int, default=0)
    args = p.parse_args(argv)

    torch.set_num_threads(1)  # one order of additions, hence one result
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(args.seed)
    labels = torch.arange(args.count) % len(CLASSES)
    images = distil(load(args.model), labels, args.steps)
    np.savez_compressed(args.output, x=images.numpy(), y=labels.numpy())


if __name__ == "__main__":
    main()
