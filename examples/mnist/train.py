"""Train LeNet-5 on MNIST and write it as float ONNX: `python -m examples.mnist.train OUT_DIR`.

The variant of Caffe (20 and 50 filters of 5x5, 500 hidden units, 431,080 parameters), with a ReLU after each
convolution. Images come from --data (or $ESCC_DATA, or ../shared/data): `images/mnist_train.npz` and `mnist_test.npz`,
uint8 [N, 28, 28]. Writes lenet5_mnist.onnx (input: grey levels 0..255), train.npz (uint8 [N, 1, 28, 28] x, y: for
`esc-compress --data`) and test.npz (float32 x, y: for `esc-emu --eval`) to OUT_DIR.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from examples.torch_to_onnx import export

ROOT = Path(__file__).resolve().parents[2]
SHIFT = 2  # pixels by which training moves an image at most


class LeNet5(nn.Module):
    """Two 5x5 convolutions with poolings and two fully connected layers on [N, 1, 28, 28] grey levels 0..255.

    `widths`: filters of the convolutions and hidden units.
    """

    def __init__(self, widths: tuple[int, int, int] = (20, 50, 500)) -> None:
        super().__init__()
        first, second, hidden = widths
        self.conv1 = nn.Conv2d(1, first, 5)
        self.relu1 = nn.ReLU()
        self.pool1 = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(first, second, 5)
        self.relu2 = nn.ReLU()
        self.pool2 = nn.MaxPool2d(2, 2)
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(16 * second, hidden)
        self.relu3 = nn.ReLU()
        self.fc2 = nn.Linear(hidden, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool1(self.relu1(self.conv1(x)))
        x = self.pool2(self.relu2(self.conv2(x)))
        return self.fc2(self.relu3(self.fc1(self.flatten(x))))


def load(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images uint8 [N, 1, 28, 28] and labels int64 [N]."""
    with np.load(path) as data:
        return data["images"].reshape(-1, 1, 28, 28), data["labels"].astype(np.int64)


def moved(x: Tensor, rng: torch.Generator) -> Tensor:
    """Images [N, C, H, W], each moved by up to SHIFT pixels."""
    n, _, h, w = x.shape
    padded = F.pad(x, (SHIFT, SHIFT, SHIFT, SHIFT))
    offsets = torch.randint(0, 2 * SHIFT + 1, (2, n, 1), generator=rng)
    rows, columns = offsets[0] + torch.arange(h), offsets[1] + torch.arange(w)
    return padded[torch.arange(n)[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def accuracy(model: nn.Module, x: NDArray[np.uint8], y: NDArray[np.int64]) -> float:
    """Fraction of images whose highest score is their label."""
    model.eval()
    with torch.no_grad():
        parts = [model(torch.from_numpy(x[i : i + 500]).float() / 255).argmax(1) for i in range(0, len(x), 500)]
    return float((torch.cat(parts).numpy() == y).mean())


def main(argv: Sequence[str] | None = None) -> None:
    default_data = os.environ.get("ESCC_DATA", str(ROOT / "../shared/data"))
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out", type=Path, help="folder for the model and its data")
    p.add_argument("--data", type=Path, default=Path(default_data), help="folder with images/ (default: %(default)s)")
    p.add_argument("--epochs", type=int, default=12)
    p.add_argument("--batch-size", type=int, default=128)
    p.add_argument("--lr", type=float, default=0.05, help="peak learning rate (default: %(default)s)")
    p.add_argument(
        "--threads", type=int, default=1, help="CPU threads; another number rounds differently (default: %(default)s)"
    )
    p.add_argument("--seed", type=int, default=0)
    args = p.parse_args(argv)

    torch.set_num_threads(args.threads)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(args.seed)
    train_x, train_y = load(args.data / "images/mnist_train.npz")
    test_x, test_y = load(args.data / "images/mnist_test.npz")
    images, labels = torch.from_numpy(train_x), torch.from_numpy(train_y)
    model = LeNet5()
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9, nesterov=True, weight_decay=5e-4)
    rng = torch.Generator().manual_seed(args.seed)
    steps = len(images) // args.batch_size
    for epoch in range(args.epochs):
        started = time.monotonic()
        model.train()
        order = torch.randperm(len(images), generator=rng)
        for i in range(steps):
            for group in optimizer.param_groups:
                done = (epoch * steps + i) / (args.epochs * steps)
                group["lr"] = args.lr * 0.5 * (1 + math.cos(math.pi * done))
            pick = order[i * args.batch_size : (i + 1) * args.batch_size]
            loss = F.cross_entropy(model(moved(images[pick], rng).float() / 255), labels[pick])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        seconds = time.monotonic() - started
        print(
            f"epoch {epoch + 1}/{args.epochs}: test {accuracy(model, test_x, test_y):.2%}, {seconds:.0f} s", flush=True
        )

    top1 = accuracy(model, test_x, test_y)
    with torch.no_grad():
        model.conv1.weight /= 255  # the exported network reads grey levels
    args.out.mkdir(parents=True, exist_ok=True)
    metadata = {"input": "grey levels 0..255", "top1_test": f"{top1:.4f}", "seed": str(args.seed)}
    export(model.eval(), args.out / "lenet5_mnist.onnx", (1, 28, 28), metadata)
    np.savez_compressed(args.out / "train.npz", x=train_x, y=train_y)
    np.savez_compressed(args.out / "test.npz", x=test_x.astype(np.float32), y=test_y)
    print(f"lenet5_mnist.onnx: top-1 {top1:.2%} of {len(test_y)} test images")


if __name__ == "__main__":
    main()
