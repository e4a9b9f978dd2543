"""Train a small CNN on scikit-learn's 8x8 digits in seconds: `python -m examples.digits.train OUT_DIR`.

Writes digits.onnx (float), train.npz (x, y), calibration.npz (x) and test.npz (x, y) to OUT_DIR. Inputs are grey levels
0..16, as the data set has them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

from examples.torch_to_onnx import export


class DigitsNet(nn.Module):
    """Three 3x3 convolutions of 16, 32 and 32 channels on [N, 1, 8, 8], an average over the map, a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(32)
        self.relu2 = nn.ReLU()
        self.pool = nn.MaxPool2d(2, 2)
        self.conv3 = nn.Conv2d(32, 32, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(32)
        self.relu3 = nn.ReLU()
        self.average = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu1(self.bn1(self.conv1(x)))
        x = self.pool(self.relu2(self.bn2(self.conv2(x))))
        x = self.relu3(self.bn3(self.conv3(x)))
        return self.fc(self.flatten(self.average(x)))


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out", type=Path, help="folder for digits.onnx and the three .npz")
    p.add_argument("--epochs", type=int, default=20)
    p.add_argument("--seed", type=int, default=0)
    args = p.parse_args()

    torch.set_num_threads(1)  # one order of additions, hence one result
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(args.seed)
    digits = load_digits()
    x = digits.images[:, None].astype(np.float32)
    y = digits.target.astype(np.int64)
    train_x, test_x, train_y, test_y = train_test_split(x, y, test_size=450, stratify=y, random_state=args.seed)

    model = DigitsNet()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    batch = 64
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=args.epochs * (len(train_x) // batch))
    for _ in range(args.epochs):
        order = torch.randperm(len(train_x))
        for start in range(0, len(order) - batch + 1, batch):
            pick = order[start : start + batch]
            loss = nn.functional.cross_entropy(model(torch.from_numpy(train_x)[pick]), torch.from_numpy(train_y)[pick])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()

    model.eval()
    with torch.no_grad():
        top1 = float((model(torch.from_numpy(test_x)).argmax(1).numpy() == test_y).mean())
    args.out.mkdir(parents=True, exist_ok=True)
    export(model, args.out / "digits.onnx", (1, 8, 8))
    np.savez(args.out / "train.npz", x=train_x, y=train_y)
    np.savez(args.out / "calibration.npz", x=train_x[:256])
    np.savez(args.out / "test.npz", x=test_x, y=test_y)
    print(f"float top-1 on {len(test_y)} test images: {top1:.2%}")


if __name__ == "__main__":
    main()
