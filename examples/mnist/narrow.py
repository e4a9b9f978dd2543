"""Remove channels of the trained LeNet-5 and train what is left: `python -m examples.mnist.narrow OUT`.

Reads lenet5_mnist.onnx and train.npz, which `examples.mnist.train` wrote to OUT, and writes lenet5_narrow.onnx there.
Channels and hidden units go in a few steps. Each step leaves those to which the loss is most sensitive: the importance
of a channel is the mean square of the loss's derivative to a factor on its output (Molchanov et al., "Importance
Estimation for Neural Network Pruning", CVPR 2019). The network learns from the original's scores and
from the labels, a little between the steps and longer at the end.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F

from examples.mnist.train import LeNet5, accuracy, moved
from examples.torch_to_onnx import export

TEMPERATURE = 2.0  # softens the scores of both networks before they are compared
HELD_OUT = 5000  # the last training images only measure


def read(path: Path) -> LeNet5:
    """The network of an ONNX file that `examples.mnist.train` wrote, for grey levels 0..1."""
    weights = {w.name: torch.from_numpy(numpy_helper.to_array(w).copy()) for w in onnx.load(path).graph.initializer}
    model = LeNet5((len(weights["conv1.weight"]), len(weights["conv2.weight"]), len(weights["fc1.weight"])))
    weights["conv1.weight"] *= 255
    model.load_state_dict(weights)
    return model


def importance(model: LeNet5, x: Tensor, y: Tensor) -> list[Tensor]:
    """Of the channels of both convolutions and of the hidden units: [C1], [C2], [H]."""
    layers = (model.relu1, model.relu2, model.relu3)
    total: list[Tensor] = []
    for i in range(0, len(x), 100):
        factors: list[Tensor] = []

        def scale(_: nn.Module, __: object, out: Tensor, factors: list[Tensor] = factors) -> Tensor:
            factor = torch.ones((len(out), out.shape[1], *[1] * (out.dim() - 2)), requires_grad=True)
            factors.append(factor)
            return out * factor

        hooks = [layer.register_forward_hook(scale) for layer in layers]
        loss = F.cross_entropy(model(x[i : i + 100].float() / 255), y[i : i + 100], reduction="sum")
        squares = [g.square().flatten(1).sum(0) for g in torch.autograd.grad(loss, factors)]
        total = [a + b for a, b in zip(total, squares, strict=True)] if total else squares
        for hook in hooks:
            hook.remove()
    return total


def narrowed(model: LeNet5, widths: tuple[int, int, int], x: Tensor, y: Tensor) -> LeNet5:
    """The network of the `widths` most important channels and units."""
    found = importance(model, x, y)
    first, second, hidden = (s.topk(n).indices.sort().values for s, n in zip(found, widths, strict=True))
    old, new = model.state_dict(), LeNet5(widths)
    columns = (second[:, None] * 16 + torch.arange(16)).flatten()
    new.load_state_dict(
        {
            "conv1.weight": old["conv1.weight"][first],
            "conv1.bias": old["conv1.bias"][first],
            "conv2.weight": old["conv2.weight"][second][:, first],
            "conv2.bias": old["conv2.bias"][second],
            "fc1.weight": old["fc1.weight"][hidden][:, columns],
            "fc1.bias": old["fc1.bias"][hidden],
            "fc2.weight": old["fc2.weight"][:, hidden],
            "fc2.bias": old["fc2.bias"],
        }
    )
    return new


def fit(model: LeNet5, teacher: LeNet5, x: Tensor, y: Tensor, epochs: int, lr: float, rng: torch.Generator) -> None:
    """Train on images uint8 [N, 1, 28, 28], moved at random, and on what the teacher says of them."""
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, nesterov=True, weight_decay=2e-4)
    steps = len(x) // 128
    model.train()
    for epoch in range(epochs):
        order = torch.randperm(len(x), generator=rng)
        for i in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = lr * 0.5 * (1 + math.cos(math.pi * (epoch * steps + i) / (epochs * steps)))
            pick = order[i * 128 : (i + 1) * 128]
            images = moved(x[pick], rng).float() / 255
            with torch.no_grad():
                wanted = F.softmax(teacher(images) / TEMPERATURE, 1)
            scores = model(images)
            soft = F.kl_div(F.log_softmax(scores / TEMPERATURE, 1), wanted, reduction="batchmean")
            loss = TEMPERATURE**2 * soft + F.cross_entropy(scores, y[pick])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out", type=Path, help="folder of lenet5_mnist.onnx and train.npz, and for the model")
    p.add_argument("--widths", type=int, nargs=3, default=(10, 24, 64), help="default: %(default)s")
    p.add_argument("--steps", type=int, default=4, help="steps in which channels go (default: %(default)s)")
    p.add_argument("--epochs", type=int, default=20, help="epochs after the last step (default: %(default)s)")
    p.add_argument("--lr", type=float, default=0.03, help="peak learning rate (default: %(default)s)")
    p.add_argument("--threads", type=int, default=1, help="another number rounds differently (default: %(default)s)")
    p.add_argument("--seed", type=int, default=0)
    args = p.parse_args(argv)

    torch.set_num_threads(args.threads)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(args.seed)
    rng = torch.Generator().manual_seed(args.seed)
    with np.load(args.out / "train.npz") as data:
        x, y = data["x"], data["y"]
    images, labels = torch.from_numpy(x[:-HELD_OUT]), torch.from_numpy(y[:-HELD_OUT])
    teacher = read(args.out / "lenet5_mnist.onnx").eval()
    model, start = read(args.out / "lenet5_mnist.onnx"), (20, 50, 500)
    started = time.monotonic()
    for step in range(1, args.steps + 1):
        first, second, hidden = (
            round(a * (b / a) ** (step / args.steps)) for a, b in zip(start, args.widths, strict=True)
        )
        model = narrowed(model.eval(), (first, second, hidden), images[:10000], labels[:10000])
        fit(model, teacher, images, labels, args.epochs if step == args.steps else 1, args.lr, rng)
        held_out = accuracy(model, x[-HELD_OUT:], y[-HELD_OUT:])
        seconds = time.monotonic() - started
        print(f"{first}, {second}, {hidden}: held-out {held_out:.2%}, {seconds:.0f} s", flush=True)

    with torch.no_grad():
        model.conv1.weight /= 255  # the exported network reads grey levels
    metadata = {"input": "grey levels 0..255", "widths": " ".join(map(str, args.widths)), "seed": str(args.seed)}
    export(model.eval(), args.out / "lenet5_narrow.onnx", (1, 28, 28), metadata)


if __name__ == "__main__":
    main()
