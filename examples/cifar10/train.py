"""Train the MLPerf-Tiny ResNet-8 on CIFAR-10 and write it as float ONNX: `python -m examples.cifar10.train`.

Images come from --data (or $ESCC_DATA, or ../shared/data): 50,000 JPEG training images and 5085 lossless ones; accuracy
is reported on the lossless test images. Every epoch has its own random generator, seeded by --seed and its number, and
leaves a checkpoint, so a run that was stopped goes on with the same result as an uninterrupted one.
"""

from __future__ import annotations

import argparse
import io
import math
import os
import random
import time
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from examples.torch_to_onnx import export

ROOT = Path(__file__).resolve().parents[2]
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CENTRE, SPREAD = 128.0, 64.0  # training sees (pixel - CENTRE) / SPREAD


class PixelConv(nn.Conv2d):
    """Stem convolution on pixels 0..255 that trains on centred values.

    Zero padding of pixels is black, so the centred image is padded with centred black: `folded` is then exactly the
    same function.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Pixels float32 [N, C, H, W] -> [N, K, H, W]."""
        border = (self.padding[1], self.padding[1], self.padding[0], self.padding[0])
        centred = F.pad((x - CENTRE) / SPREAD, border, value=-CENTRE / SPREAD)
        return F.conv2d(centred, self.weight, None, self.stride)

    def folded(self) -> nn.Conv2d:
        """The same function as a plain convolution of pixels, with a bias."""
        plain = nn.Conv2d(self.in_channels, self.out_channels, self.kernel_size, self.stride, self.padding)
        with torch.no_grad():
            plain.weight.copy_(self.weight / SPREAD)
            plain.bias.copy_(-CENTRE * plain.weight.sum(dim=(1, 2, 3)))
        return plain


class Block(nn.Module):
    """Residual block: two 3x3 convolutions; a strided one has a 1x1 convolution on its shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=True) if stride > 1 else nn.Sequential()
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        return self.relu2(y + self.shortcut(x))


class ResNet8(nn.Module):
    """Three stages of 16, 32 and 64 channels, one residual block each; input pixels 0..255, output class scores."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = PixelConv(3, 16, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        self.stage1 = Block(16, 16, 1)
        self.stage2 = Block(16, 32, 2)
        self.stage3 = Block(32, 64, 2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(64, len(CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn(self.stem(x)))
        return self.fc(self.flatten(self.pool(self.stage3(self.stage2(self.stage1(x))))))


def load_npz(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images uint8 [N, H, W, C] and labels int64 [N]."""
    with np.load(path) as data:
        return data["images"], data["labels"].astype(np.int64)


def load_jpeg(path: Path, limit: int | None = None) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The same from a zip of `.../<class name>/<number>.jpg`; about `limit` of them, of all classes."""
    from PIL import Image

    with zipfile.ZipFile(path) as archive:
        names = sorted(n for n in archive.namelist() if n.endswith(".jpg"))
        names = names[:: 1 if limit is None else max(1, len(names) // limit)]
        images = np.stack([np.asarray(Image.open(io.BytesIO(archive.read(n))).convert("RGB")) for n in names])
    return images, np.array([CLASSES.index(Path(n).parent.name) for n in names])


def load_training(data: Path, lossless_repeats: int, limit: int | None) -> tuple[Tensor, Tensor]:
    """JPEG images and `lossless_repeats` copies of the lossless ones, uint8 [N, H, W, C], and labels int64 [N].

    A `limit` takes about so many images of each source.
    """
    jpeg_x, jpeg_y = load_jpeg(data / "images/cifar10_train_jpeg.zip", limit)
    clean_x, clean_y = load_npz(data / "images/cifar10_train_lossless.npz")
    x = np.concatenate([jpeg_x, *[clean_x[:limit]] * lossless_repeats])
    y = np.concatenate([jpeg_y, *[clean_y[:limit]] * lossless_repeats])
    return torch.from_numpy(x), torch.from_numpy(y)


def batches(
    x: Tensor, y: Tensor, size: int, rng: torch.Generator, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Shuffled float32 [size, C, H, W] batches; each image is shifted by up to four pixels and flipped at random.

    The incomplete last batch is left out.
    """
    border = 4
    side = x.shape[1]
    order = torch.randperm(len(x), generator=rng)
    offsets = torch.randint(0, 2 * border + 1, (len(x), 2), generator=rng)
    flips = torch.rand(len(x), generator=rng) < 0.5
    span = torch.arange(side)
    for start in range(0, len(x) - size + 1, size):
        pick = order[start : start + size]
        padded = F.pad(x[pick], (0, 0, border, border, border, border))
        rows = offsets[pick, 0, None] + span
        columns = offsets[pick, 1, None] + torch.where(flips[pick, None], span.flip(0), span)
        crop = padded[torch.arange(size)[:, None, None], rows[:, :, None], columns[:, None, :]]
        yield crop.permute(0, 3, 1, 2).to(device, torch.float32), y[pick].to(device)


def accuracy(model: nn.Module, x: NDArray[np.uint8], y: NDArray[np.int64], device: torch.device) -> float:
    """Fraction of images whose highest score is their label."""
    model.eval()
    right = 0
    with torch.no_grad():
        for start in range(0, len(x), 256):
            pixels = torch.from_numpy(x[start : start + 256]).permute(0, 3, 1, 2).to(device, torch.float32)
            right += int((model(pixels).argmax(1).cpu() == torch.from_numpy(y[start : start + 256])).sum())
    return right / len(y)


def learning_rate(step: int, total: int, peak: float) -> float:
    """Linear warm-up over the first twentieth, then a cosine down to zero."""
    warm = max(1, total // 20)
    return (
        peak * (step + 1) / warm
        if step < warm
        else peak * 0.5 * (1 + math.cos(math.pi * (step - warm) / (total - warm)))
    )


def train(model: nn.Module, args: argparse.Namespace, device: torch.device) -> None:
    """Train in place, from the checkpoint when there is one; writes the checkpoint after each epoch."""
    x, y = load_training(args.data, args.lossless_repeats, args.limit)
    test_x, test_y = load_npz(args.data / "images/cifar10_test.npz")
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.SGD(
        [{"params": decayed, "weight_decay": args.weight_decay}, {"params": plain, "weight_decay": 0.0}],
        lr=args.lr,
        momentum=0.9,
        nesterov=True,
    )
    first = 0
    if args.checkpoint.exists():
        state = torch.load(args.checkpoint, map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["epoch"]
        print(f"resuming after epoch {first}", flush=True)
    steps = len(x) // args.batch_size
    for epoch in range(first, args.epochs if args.stop_after is None else min(args.epochs, args.stop_after)):
        started = time.monotonic()
        rng = torch.Generator().manual_seed(args.seed * 1_000_003 + epoch)
        model.train()
        loss_sum = torch.zeros((), device=device)
        for i, (bx, by) in enumerate(batches(x, y, args.batch_size, rng, device)):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(epoch * steps + i, args.epochs * steps, args.lr)
            loss = F.cross_entropy(model(bx), by, label_smoothing=args.label_smoothing)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            loss_sum += loss.detach()
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch + 1}
        args.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        partial = args.checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(args.checkpoint)
        top1 = accuracy(model, test_x, test_y, device)
        seconds = time.monotonic() - started
        mean_loss = float(loss_sum) / max(1, steps)
        print(f"epoch {epoch + 1}/{args.epochs}: loss {mean_loss:.4f}, test {top1:.4f}, {seconds:.0f} s", flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    default_data = os.environ.get("ESCC_DATA", str(ROOT / "../shared/data"))
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", type=Path, default=Path(default_data), help="folder with images/ (default: %(default)s)")
    p.add_argument(
        "--output", type=Path, default=ROOT / "examples/models/resnet8_cifar10.onnx", help="the ONNX file to write"
    )
    p.add_argument(
        "--checkpoint",
        type=Path,
        default=ROOT / "out/resnet8_cifar10.pt",
        help="state of the run; resumed when it exists",
    )
    p.add_argument("--epochs", type=int, default=36)
    p.add_argument("--stop-after", type=int, help="end after this epoch; a later run goes on")
    p.add_argument("--batch-size", type=int, default=128)
    p.add_argument("--lr", type=float, default=0.1, help="peak learning rate (default: %(default)s)")
    p.add_argument("--weight-decay", type=float, default=2e-4)
    p.add_argument("--label-smoothing", type=float, default=0.0)
    p.add_argument(
        "--lossless-repeats",
        type=int,
        default=3,
        help="times each lossless image is seen in an epoch (default: %(default)s)",
    )
    p.add_argument("--limit", type=int, help="images of each source to use (for a quick try)")
    p.add_argument(
        "--threads", type=int, default=1, help="CPU threads; another number rounds differently (default: %(default)s)"
    )
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = p.parse_args(argv)

    torch.set_num_threads(args.threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # deterministic cuBLAS
    torch.use_deterministic_algorithms(True)
    random.seed(args.seed)
    np.random.seed(args.seed)
    torch.manual_seed(args.seed)
    device = torch.device(args.device)

    model = ResNet8().to(device, memory_format=torch.channels_last)
    train(model, args, device)

    model = model.to("cpu", memory_format=torch.contiguous_format)
    model.stem = model.stem.folded()
    top1 = accuracy(model, *load_npz(args.data / "images/cifar10_test.npz"), torch.device("cpu"))
    metadata = {
        "input": "RGB pixels 0..255",
        "classes": " ".join(CLASSES),
        "top1_lossless_test_1017": f"{top1:.4f}",
        "epochs": str(args.epochs),
        "seed": str(args.seed),
    }
    args.output.parent.mkdir(parents=True, exist_ok=True)
    export(model.eval(), args.output, (3, 32, 32), metadata)
    print(f"{args.output.name}: top-1 {top1:.2%} of the lossless test images")


if __name__ == "__main__":
    main()
