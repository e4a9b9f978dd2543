"""CIFAR-10 from the files of $ESCC_DATA: reading, a decoded copy that is mapped into memory, and augmented batches."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from examples.cifar10.networks import CENTRE, CLASSES

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("ESCC_DATA", str(ROOT / "../shared/data")))
BORDER = 4
"""Pixels by which an image is shifted at most."""
COPY = 6.0
"""Two images whose means over 4x4 pixels differ by less, in the mean square, show the same."""


@dataclass(frozen=True)
class Images:
    """uint8 pixels `x` [N, H, W, C] and int64 classes `y` [N], on one device."""

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)

    def part(self, start: int, stop: int | None = None) -> Images:
        """The images of a range."""
        return Images(self.x[start:stop], self.y[start:stop])

    def to(self, device: torch.device) -> Images:
        """The images on a device."""
        return Images(self.x.to(device), self.y.to(device))

    def pixels(self, start: int, size: int) -> Tensor:
        """`size` images from `start` on as a network takes them, float32 [size, C, H, W]."""
        return self.x[start : start + size].permute(0, 3, 1, 2).float()


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


def load(data: Path, cache: Path, limit: int | None = None) -> tuple[Images, Images, Images]:
    """JPEG training images, lossless training images, and lossless test images.

    A `limit` takes about so many of each source. JPEG images are decoded once: `cache` keeps the pixels, which are
    mapped into memory from there.
    """
    archive = data / "images/cifar10_train_jpeg.zip"
    stem = "jpeg" if limit is None else f"jpeg-{limit}"
    kept = [cache / f"{stem}-{part}.npy" for part in ("x", "y")]
    if not all(path.exists() and path.stat().st_mtime > archive.stat().st_mtime for path in kept):
        cache.mkdir(parents=True, exist_ok=True)
        for path, array in zip(kept, load_jpeg(archive, limit), strict=True):
            partial = path.with_suffix(f".{os.getpid()}.partial")
            with partial.open("wb") as file:
                np.save(file, array)
            partial.replace(path)
    x, y = (np.load(path, mmap_mode="c") for path in kept)
    others = (load_npz(data / f"images/cifar10_{name}.npz") for name in ("train_lossless", "test"))
    pairs = [(x, y), *((a[:limit], b[:limit]) for a, b in others)]
    jpeg, lossless, test = (Images(torch.from_numpy(a), torch.from_numpy(b)) for a, b in pairs)
    return jpeg, lossless, test


@dataclass(frozen=True)
class Mixture:
    """An epoch of images: all JPEG ones, and each lossless one `repeats` times, shuffled and changed at random.

    Each is shifted by up to four pixels and mirrored half of the time; a square of `cutout` pixels a side turns grey.
    """

    jpeg: Images
    lossless: Images
    repeats: int
    cutout: int

    def __len__(self) -> int:
        return len(self.jpeg) + self.repeats * len(self.lossless)

    def batches(self, size: int, side: int, rng: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """Pixels float32 [size, C, side, side] and classes. The incomplete last batch is left out.

        `rng` is a generator of the CPU, so that every device draws the same.
        """
        device, n = self.jpeg.x.device, len(self)
        order = torch.randperm(n, generator=rng).to(device)
        offsets = torch.randint(0, 2 * BORDER + 1, (n, 2), generator=rng).to(device)
        flips = (torch.rand(n, generator=rng) < 0.5).to(device)
        holes = torch.randint(0, self.jpeg.x.shape[1], (n, 2), generator=rng).to(device)
        for start in range(0, n - size + 1, size):
            part = slice(start, start + size)
            x, y = self._pick(order[part])
            x = _crop(x, offsets[part], flips[part])
            if self.cutout:
                x = _cut(x, holes[part], self.cutout)
            if side != x.shape[2]:
                x = F.interpolate(x, (side, side), mode="bilinear", antialias=True, align_corners=False)
            yield x, y

    def _pick(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Images of numbers below `len(self)`; those of the JPEG images come first."""
        jpeg = len(self.jpeg)
        clean = (index >= jpeg)[:, None, None, None]
        a, b = index.clamp(max=jpeg - 1), (index - jpeg).clamp(min=0) % len(self.lossless)
        x = torch.where(clean, self.lossless.x[b], self.jpeg.x[a])
        return x, torch.where(clean[:, 0, 0, 0], self.lossless.y[b], self.jpeg.y[a])


def _crop(x: Tensor, offsets: Tensor, flips: Tensor) -> Tensor:
    """uint8 [N, H, W, C] -> float32 [N, C, H, W] in the channels-last layout; `offsets` [N, 2] in 0..2*BORDER."""
    span = torch.arange(x.shape[1], device=x.device)
    padded = F.pad(x, (0, 0, BORDER, BORDER, BORDER, BORDER))
    rows = offsets[:, 0, None] + span
    columns = offsets[:, 1, None] + torch.where(flips[:, None], span.flip(0), span)
    picked = padded[torch.arange(len(x), device=x.device)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return picked.permute(0, 3, 1, 2).float()


def _cut(x: Tensor, centres: Tensor, size: int) -> Tensor:
    """`x` [N, C, H, W] with a grey square around each of the `centres` [N, 2]."""
    span = torch.arange(x.shape[2], device=x.device)
    near = (span - centres[:, :, None] + size // 2 >= 0) & (span - centres[:, :, None] < size - size // 2)
    return torch.where((near[:, 0, :, None] & near[:, 1, None, :])[:, None], CENTRE, x)


def without_copies(images: Images, held: Images) -> Images:
    """`images` without copies of any of `held`: the lossless training images are among the JPEG ones."""
    a, b = (F.avg_pool2d(i.x.permute(0, 3, 1, 2).float(), 4).flatten(1) for i in (images, held))
    length = a.square().sum(1)
    keep = torch.ones(len(images), dtype=torch.bool, device=images.y.device)
    for one in b:
        apart = (length - 2 * (a @ one) + one.square().sum()) / len(one)
        keep &= apart > COPY * COPY
    return Images(images.x[keep], images.y[keep])
