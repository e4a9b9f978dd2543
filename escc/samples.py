"""Calibration data as Python holds them: arrays, mappings and loaders as arrays by name."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emulator.model import as_array
from isa.arrays import LABELS, Arrays, Input
from isa.errors import UserError

Calibration: TypeAlias = (
    "str | os.PathLike[str] | ArrayLike | Mapping[str, ArrayLike] | Iterable[ArrayLike | Mapping[str, ArrayLike]]"
)
"""A file, an array [N, C, H, W], arrays by the names of the inputs (labels as `y`), or batches of one of these; a batch
may also be a pair of inputs and labels, as the loaders of PyTorch give it."""

MOST_SAMPLES = 4096
"""Samples that are taken of batches: a loader may hold millions, or never end."""
_ONLY = "x"
"""Name of the only input, whatever the model calls it."""
_END = object()
"""What stands behind the last batch."""

Batch: TypeAlias = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class GivenSamples:
    """Arrays by name, in batches if they came so: then what is one sample, without the axis N, is a batch of one.

    Batches behind the first are read when the shapes that the model takes are known: `rest` is None for arrays that
    came whole.
    """

    first: Batch
    rest: Iterator[object] | None = None

    def examples(self) -> list[dict[str, NDArray[Any]]]:
        """What may be the first sample [1, ...] of each input, the likeliest first.

        Nobody knows yet the shapes that the model takes: [3, H, W] may be one image or signals [N, C, L].
        """
        found = {name: x for name, x in self.first.items() if name != LABELS}
        likely = {name: x[None] if x.ndim in (0, 1, 3) else x[:1] for name, x in found.items()}
        batched = {name: x[:1] if x.ndim > 1 else x[None] for name, x in found.items()}
        return [likely, batched] if any(x.ndim == 3 for x in found.values()) else [likely]

    def arrays(self, inputs: Sequence[Input]) -> Arrays:
        """Arrays [N, ...] for a model with these inputs: of batches, which are read until they end or hold as many,
        the first `MOST_SAMPLES` rows.

        Raises `UserError` on batches that differ in names, in shapes or in their numbers of inputs and labels, and on
        anything but what `Calibration` says.
        """
        if self.rest is None:
            return Arrays(self.first, "calibration")
        shapes = {i.name: i.shape for i in inputs} | {_ONLY: inputs[0].shape, LABELS: ()}
        rows = [_with_rows(self.first, shapes, 0)]
        count = _samples(rows[0])
        while count < MOST_SAMPLES and (item := next(self.rest, _END)) is not _END:
            index = len(rows)
            batch = _with_rows(_batch(item, f"calibration: batch {index}"), shapes, index)
            if set(batch) != set(rows[0]):
                raise UserError(
                    f"calibration: batch {index} holds {_quoted(batch)}, batch 0 {_quoted(rows[0])}; requires the same"
                )
            rows.append(batch)
            count += _samples(batch)
        joined = {name: np.concatenate([batch[name] for batch in rows])[:MOST_SAMPLES] for name in rows[0]}
        return Arrays(joined, "calibration")


def _samples(batch: Batch) -> int:
    return max(len(x) for x in batch.values())


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names) or "nothing"


def _with_rows(batch: Batch, shapes: Mapping[str, tuple[int, ...]], index: int) -> dict[str, NDArray[Any]]:
    """A batch with the axis N before every sample."""
    rows: dict[str, NDArray[Any]] = {}
    for name, x in batch.items():
        shape = shapes.get(name, x.shape[1:])
        rows[name] = x[None] if x.shape == shape else x
        if name == LABELS and rows[name].ndim == 2 and rows[name].shape[1] == 1:
            rows[name] = rows[name].reshape(-1)
        if rows[name].shape[1:] != shape:
            wanted = Input(name, shape)
            raise UserError(
                f"calibration: batch {index}: '{name}' has the shape {list(x.shape)}; requires {wanted.wanted}",
                wanted.note(x.shape),
            )
    counts = {name: len(x) for name, x in rows.items()}
    if len(set(counts.values())) > 1:
        raise UserError(
            f"calibration: batch {index} holds different numbers of samples: {counts}; requires equal numbers"
        )
    return rows


def given_samples(calibration: object) -> GivenSamples:
    """What was given as calibration data, if it is no file. Raises `UserError` on anything but what `Calibration` says.

    Of batches, only the first is read here.
    """
    if isinstance(calibration, Mapping) or _is_array(calibration):
        return GivenSamples(_batch(cast(object, calibration), "calibration"))
    if not isinstance(calibration, Iterable):
        raise UserError(
            f"calibration: found {type(calibration).__name__}; requires a file, an array, arrays by name, or batches"
        )
    batches = iter(cast("Iterable[object]", calibration))
    first = next(batches, _END)
    if first is _END:
        raise UserError("calibration: holds no batch; requires at least one")
    return GivenSamples(_batch(first, "calibration: batch 0"), batches)


def _is_array(value: object) -> bool:
    return hasattr(value, "__array__")


def _batch(item: object, title: str) -> Batch:
    """Arrays by name of a mapping, an array, or a pair of an array and labels."""
    if isinstance(item, Mapping):
        found = {str(name): as_array(x, f"{title}: '{name}'") for name, x in cast("Mapping[Any, Any]", item).items()}
        if not set(found) - {LABELS}:
            raise UserError(f"{title}: holds no input; requires an array for each input of the model")
        return found
    if isinstance(item, tuple | list):
        parts = cast("Sequence[object]", item)
        if len(parts) == 2 and (_is_array(parts[0]) and (_is_array(parts[1]) or isinstance(parts[1], int))):
            labels = as_array(parts[1], f"{title}: labels")
            if labels.dtype.kind not in "iu" or labels.ndim > 2:
                raise UserError(
                    f"{title}: the second of a pair is {labels.dtype}{list(labels.shape)}; requires integer labels",
                    "give several inputs as a mapping from their names to arrays",
                )
            return {_ONLY: as_array(parts[0], title), LABELS: labels}
        raise UserError(f"{title}: found {len(parts)} items; requires an array, or a pair of inputs and labels")
    if not _is_array(item):
        raise UserError(
            f"{title}: found {type(item).__name__}; requires an array, arrays by name, or a pair with labels"
        )
    return {_ONLY: as_array(item, title)}
