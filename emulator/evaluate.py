"""Classification accuracy over many images, in batches and on several threads."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emulator.machine import Machine
from isa.errors import UserError
from isa.program import Port, Program

_BATCH_BYTES = 1 << 26
"""Memory for the activations of a batch."""
_MOST_IMAGES = 16
"""Larger batches leave the processor's caches and gain nothing."""
_TELLING = 30
_MUCH, _LITTLE = 0.1, 0.02
"""Share of the inputs outside the range, and share of the range in use, that are worth a warning."""


def batch_size(program: Program) -> int:
    """Images that are run together."""
    pads = program.target.scratchpad
    return int(np.clip(_BATCH_BYTES // (program.arena_bytes + pads.act + pads.psum), 1, _MOST_IMAGES))


def classes(program: Program) -> int:
    """Number of classes of the only output. Raises `UserError` if the model is no classifier."""
    shapes = [p.shape for p in program.outputs]
    if len(shapes) != 1 or math.prod(shapes[0]) != max(shapes[0], default=0) or len(program.inputs) != 1:
        inputs, outputs = (
            ", ".join(f"'{p.name}' {list(p.shape)}" for p in ports) for ports in (program.inputs, program.outputs)
        )
        raise UserError(
            f"accuracy needs a model with one input and one output of shape [1, classes] or [classes]; this one has "
            f"{len(program.inputs)} inputs: {inputs}; outputs: {outputs}"
        )
    return max(shapes[0])


@dataclass
class InputRange:
    """How inputs lie in the range that a port can represent, which is that of the calibration."""

    port: Port
    values: int = 0
    outside: int = 0
    largest: float = 0.0

    def __post_init__(self) -> None:
        tensor = self.port.tensor
        low, high = (-128, 127) if tensor.signed else (0, 255)
        self.low, self.high = low * tensor.scale, high * tensor.scale

    def add(self, x: NDArray[Any]) -> None:
        """Take in values of any shape."""
        half = self.port.tensor.scale / 2  # a value that rounds to the last step is inside
        self.values += x.size
        self.outside += int(np.count_nonzero((x < self.low - half) | (x > self.high + half)))
        self.largest = max(self.largest, float(np.abs(x).max(initial=0)))

    def fault(self) -> str:
        """What is wrong with the inputs as a whole, or ""."""
        if self.outside > _MUCH * self.values:
            return (
                f"{self.outside / self.values:.1%} of the input values lie outside [{self.low:.4g}, {self.high:.4g}], "
                "the range that the model was calibrated for"
            )
        if self.largest < _LITTLE * self.high:
            return (
                f"no input value is larger than {self.largest:.4g}, where the model was calibrated for values up to "
                f"{self.high:.4g}"
            )
        return ""


def at_chance(right: int, images: int, count: int) -> bool:
    """Whether so many right answers among `count` classes are what guessing gives, by two standard deviations.

    Of a few images nothing is said.
    """
    share = 1 / count
    return count > 1 and images >= _TELLING and right <= images * share + 2 * math.sqrt(images * share * (1 - share))


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
