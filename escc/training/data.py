"""Images and labels of the training: kept in the type of the file, cast and augmented batch by batch."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from isa.errors import UserError

Array = NDArray[Any]

_SHIFT = 8
"""Augmentation moves an image by up to the shorter side divided by this."""


@dataclass(frozen=True)
class Preprocessing:
    """x = (pixel - mean) / std for each channel; nothing where empty."""

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


class Samples:
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

    def subset(self, index: Tensor) -> Samples:
        """Some of the samples."""
        return Samples(self.x[index], None if self.y is None else self.y[index], self._preprocessing)

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
        order = torch.randperm(len(self), generator=rng)
        size = min(size, len(self))
        for start in range(0, len(self) - size + 1, size):
            pick = order[start : start + size]
            x = self.x[pick].to(device)
            if augment:
                x = augmented(x, rng, augment)
            yield self.inputs(x), None if self.y is None else self.y[pick].to(device)

    def digest(self) -> str:
        """Fingerprint of the samples."""
        h = hashlib.sha256()
        for part in (self.x, self.y):
            if part is not None:
                h.update(f"{part.dtype}{list(part.shape)}".encode())
                h.update(np.ascontiguousarray(part.numpy()).data)
        return h.hexdigest()


def augmented(x: Tensor, rng: torch.Generator, kinds: Sequence[str]) -> Tensor:
    """Images [N, C, H, W], each mirrored with probability 1/2 ("flip") and moved over a border of zeros ("shift")."""
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


def load_samples(path: str, shape: Sequence[int], preprocessing: Preprocessing, labels: bool) -> Samples:
    """Samples of an .npz file with x [N, *shape] and, if it has them, y [N]. Raises UserError."""
    wanted = f"needs x [N,{','.join(map(str, shape))}] of uint8 or float, and y [N] of integers for accuracy"
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays: dict[str, Array] = {name: archive[name] for name in ("x", "y") if name in archive.files}
    except OSError as e:
        raise UserError(f"{path}: {e.strerror or e}") from e
    except (ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as e:
        raise UserError(f"{path}: not an .npz archive of numbers", wanted) from e
    if "x" not in arrays:
        raise UserError(f"{path}: no array 'x'", wanted)
    x, y = arrays["x"], arrays.get("y")
    if tuple(x.shape[1:]) != tuple(shape) or x.dtype.kind not in "fiu" or not len(x):
        raise UserError(f"{path}: x is {x.dtype}{list(x.shape)}", wanted)
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        raise UserError(f"{path}: values of x are not all finite")
    if labels and y is None:
        raise UserError(f"{path}: no array 'y'", wanted)
    if y is not None and (y.dtype.kind not in "iu" or y.reshape(-1).shape != (len(x),)):
        raise UserError(f"{path}: y is {y.dtype}{list(y.shape)}; requires integers [{len(x)}]", wanted)
    if x.dtype.name not in ("uint8", "float32"):
        x = x.astype(np.float32)
    target = None if y is None else torch.as_tensor(y.reshape(-1).astype(np.int64))
    return Samples(torch.as_tensor(x), target, preprocessing)


def split(samples: Samples, share: float, seed: int) -> tuple[Samples, Samples]:
    """Training and held-out samples, the latter a seeded random `share` of all (at least one)."""
    held = max(1, round(share * len(samples)))
    if held >= len(samples):
        raise UserError(f"{len(samples)} samples cannot be split", "give more samples, or --validation")
    order = torch.as_tensor(np.random.default_rng(seed).permutation(len(samples)))
    return samples.subset(order[held:].sort().values), samples.subset(order[:held].sort().values)
