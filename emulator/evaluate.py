"""Classification accuracy over many images, in batches and on several threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emulator.machine import Machine
from isa.errors import UserError
from isa.program import Program

_BATCH_BYTES = 1 << 26
"""Memory for the activations of a batch."""
_MOST_IMAGES = 16
"""Larger batches leave the processor's caches and gain nothing."""


def batch_size(program: Program) -> int:
    """Images that are run together."""
    pads = program.target.scratchpad
    return int(np.clip(_BATCH_BYTES // (program.arena_bytes + pads.act + pads.out + pads.psum), 1, _MOST_IMAGES))


def classes(program: Program) -> int:
    """Number of classes of the only output. Raises `UserError` if the model is no classifier."""
    shapes = [p.shape for p in program.outputs]
    if len(shapes) != 1 or int(np.prod(shapes[0][1:])) != max(shapes[0][1:], default=0) or len(program.inputs) != 1:
        text = ", ".join(str(list(shape)) for shape in shapes)
        raise UserError(
            f"accuracy needs a model with one input and one output of shape [1, classes]; this one has "
            f"{len(program.inputs)} inputs and outputs {text}"
        )
    return max(shapes[0][1:])


def check_labels(y: NDArray[Any], images: int, count: int, where: str) -> NDArray[np.int64]:
    """Labels int64 [images]. Raises `UserError` on a wrong number, type or class."""
    if y.dtype.kind not in "iu" or y.shape not in ((images,), (images, 1)):
        raise UserError(
            f"{where}: y is {y.dtype}{list(y.shape)}; requires integers [{images}], one for each image of x"
        )
    labels = y.reshape(-1).astype(np.int64)
    wrong = np.flatnonzero((labels < 0) | (labels >= count))
    if wrong.size:
        raise UserError(
            f"{where}: {wrong.size} of {images} labels are outside [0, {count}), "
            f"the first is y[{wrong[0]}] = {labels[wrong[0]]}"
        )
    return labels


def predict(
    machine: Machine, x: NDArray[Any], jobs: int, progress: Callable[[int], None] | None = None
) -> NDArray[np.int64]:
    """Index of the largest output for every image; `progress` is told how many images are done."""
    step = min(batch_size(machine.program), max(1, -(-len(x) // jobs)))
    parts: Sequence[NDArray[Any]] = [x[n : n + step] for n in range(0, len(x), step)]

    def one(part: NDArray[Any]) -> NDArray[np.int64]:
        scores = machine.run([part]).outputs[0]
        return scores.reshape(len(part), -1).argmax(axis=1)

    found: list[NDArray[np.int64]] = []
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        waiting = [pool.submit(one, part) for part in parts]
        try:
            for part, future in zip(parts, waiting, strict=True):
                found.append(future.result())
                if progress is not None:
                    progress(len(part))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return np.concatenate([np.empty(0, np.int64), *found])
