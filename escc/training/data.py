"""Images and labels of the training: kept in the type of the file, cast and augmented batch by batch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from isa.arrays import Input, open_samples
from isa.errors import UserError

_SHIFT = 8
"""Augmentation moves an image by up to the shorter side divided by this."""
UNLABELLED = -100
"""The class of a sample that has none: torch's cross entropy passes over it."""


@dataclass(frozen=True)
class Preprocessing:
    """x = (pixel - mean) / std for each channel; nothing where empty."""

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


class TrainingSamples:
    """Inputs [N, ...] of any number type and labels int64 [N] (or none)."""

    def __init__(self, x: Tensor, y: Tensor | None, preprocessing: Preprocessing):
        self.x, self.y = x, y
        self._preprocessing = preprocessing

    def __len__(self) -> int:
        return len(self.x)

    @property
    def labelled(self) -> bool:
        """Whether there are labels."""
        return self.y is not None

    def subset(self, index: Tensor) -> TrainingSamples:
        """Some of the samples."""
        return TrainingSamples(self.x[index], None if self.y is None else self.y[index], self._preprocessing)

    def some(self, most: int, seed: int) -> TrainingSamples:
        """A seeded random choice of at most so many samples, in random order: the first few of them speak for all too,
        even of data that lie class by class.
        """
        return self.subset(torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))[:most])

    def to(self, device: torch.device) -> TrainingSamples:
        """The same samples in the memory of a device."""
        return TrainingSamples(self.x.to(device), None if self.y is None else self.y.to(device), self._preprocessing)

    def inputs(self, x: Tensor) -> Tensor:
        """Model inputs (float) of stored samples."""
        out = x.to(torch.get_default_dtype())
        p = self._preprocessing
        shape = (1, -1) + (1,) * (x.ndim - 2)
        if p.mean:
            out = out - torch.tensor(p.mean, device=out.device).reshape(shape)
        if p.std:
            out = out / torch.tensor(p.std, device=out.device).reshape(shape)
        return out.contiguous(memory_format=torch.channels_last) if out.ndim == 4 else out

    def batches(self, size: int, device: torch.device) -> Iterator[tuple[Tensor, Tensor | None]]:
        """All samples in order."""
        for start in range(0, len(self), size):
            part = slice(start, start + size)
            y = None if self.y is None else self.y[part].to(device)
            yield self.inputs(self.x[part].to(device)), y

    def shuffled(
        self, size: int, rng: torch.Generator, augment: Sequence[str], device: torch.device
    ) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Shuffled full batches (one smaller batch if there are fewer samples than that), augmented."""
        order = torch.randperm(len(self), generator=rng).to(self.x.device)
        size = min(size, len(self))
        for start in range(0, len(self) - size + 1, size):
            pick = order[start : start + size]
            x = self.inputs(augmented(self.x[pick].to(device), rng, augment))
            y = None if self.y is None else self.y[pick].to(device)
            yield mixed(x, y, rng) if "mix" in augment else (x, y)

    def digest(self) -> str:
        """Fingerprint of the samples."""
        h = hashlib.sha256()
        for part in (self.x, self.y):
            if part is not None:
                h.update(f"{part.dtype}{list(part.shape)}".encode())
                h.update(np.ascontiguousarray(part.numpy()).data)
        return h.hexdigest()


def augmented(x: Tensor, rng: torch.Generator, kinds: Sequence[str]) -> Tensor:
    """Samples [N, ...]: images [N, C, H, W], each mirrored with probability 1/2 ("flip") and moved over a border of
    zeros ("shift").
    """
    if not {"flip", "shift"} & set(kinds):
        return x
    n, _, h, w = x.shape
    border = max(1, min(h, w) // _SHIFT) if "shift" in kinds else 0
    rows = torch.arange(h).expand(n, h)
    columns = torch.arange(w).expand(n, w)
    if "flip" in kinds:
        mirrored = torch.rand(n, generator=rng) < 0.5
        columns = torch.where(mirrored[:, None], columns.flip(1), columns)
    if border:
        offsets = torch.randint(0, 2 * border + 1, (2, n, 1), generator=rng)
        rows, columns = rows + offsets[0], columns + offsets[1]
        x = F.pad(x, (border,) * 4)
    index = torch.arange(n, device=x.device)[:, None, None]
    rows, columns = rows.to(x.device), columns.to(x.device)
    return x.permute(0, 2, 3, 1)[index, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def mixed(x: Tensor, y: Tensor | None, rng: torch.Generator) -> tuple[Tensor, Tensor | None]:
    """Samples [N, ...] of which every other one is a mean of two in random shares, and their labels [N].

    A mean has no label: the teacher says what it shows ("mixup", Zhang et al., ICLR 2018, without its mean of labels).
    """
    share = torch.rand((len(x), *[1] * (x.ndim - 1)), generator=rng).to(x)
    share[::2] = 1
    other = x[torch.randperm(len(x), generator=rng).to(x.device)]
    if y is not None:
        y = y.clone()
        y[1::2] = UNLABELLED
    return share * x + (1 - share) * other, y


def load_samples(path: str, wanted: Input, classes: int, preprocessing: Preprocessing, labels: bool) -> TrainingSamples:
    """Samples of a file for the input of a model, and labels below `classes` if it has them or they are required.

    uint8 and float32 keep their type, others become float32. Raises UserError.
    """
    found = open_samples(path, [wanted])
    known = found.labels is not None or labels
    target = torch.as_tensor(found.classes(classes)) if known else None
    x = wanted.moved(found.inputs[0].read())
    if x.dtype.name not in ("uint8", "float32"):
        x = x.astype(np.float32)
    return TrainingSamples(torch.as_tensor(x), target, preprocessing)


def split(samples: TrainingSamples, share: float, seed: int) -> tuple[TrainingSamples, TrainingSamples]:
    """Training and held-out samples, the latter a seeded random `share` of all (at least one)."""
    held = max(1, round(share * len(samples)))
    if held >= len(samples):
        raise UserError(
            f"--data: {len(samples)} sample{'s' * (len(samples) != 1)}; to hold out {held} leaves nothing to train on",
            "give more samples, or --validation",
        )
    order = torch.as_tensor(np.random.default_rng(seed).permutation(len(samples)))
    return samples.subset(order[held:].sort().values), samples.subset(order[:held].sort().values)
