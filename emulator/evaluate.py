"""Classification accuracy and mean statistics over many images, in batches and on several threads."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from emulator.kernels import Bytes
from emulator.machine import Machine
from isa.errors import UserError
from isa.program import Port, Program

if TYPE_CHECKING:
    from emulator.statistics import Statistics

MEASURED = 4
"""Images whose statistics are averaged when there are many."""
TOP = 5
"""Answers among which `Accuracy.top5` looks for the label."""
BLOCKS_IN_MEMORY = 8
"""Batches for each thread that are held at a time."""
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


def classes(model: Program | Machine) -> int:
    """Number of classes of the only output, scores or their ArgMax. Raises `UserError` for a model of other outputs."""
    shapes = [p.scores if isinstance(p, Port) else p.shape for p in model.outputs]
    if len(shapes) != 1 or math.prod(shapes[0]) != max(shapes[0], default=0) or len(model.inputs) != 1:
        inputs, outputs = (
            ", ".join(f"'{p.name}' {list(p.shape)}" for p in ports) or "none" for ports in (model.inputs, model.outputs)
        )
        raise UserError(
            "accuracy needs a model with one input and one output of shape [1, classes] or [classes]; this one has "
            f"inputs: {inputs}; outputs: {outputs}",
            "esc-emu --output writes what the model gives, and run returns it: compare that with what is right",
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
    return scores(machine, x, jobs, progress).argmax(axis=1)


def scores(
    machine: Machine, x: NDArray[Any], jobs: int, progress: Callable[[int], None] | None = None
) -> NDArray[np.float32]:
    """Scores [N, classes] of a classifier for inputs [N, ...], computed by `jobs` threads; `progress` as `predict`.

    Of a model that ends in an ArgMax they are those that it chooses from.
    """
    port = machine.outputs[0]
    if isinstance(port, Port) and port.arg_max is not None:
        machine = machine.program.derive(_without_choice)
    step = min(batch_size(machine.program), max(1, -(-len(x) // jobs)))
    parts: Sequence[NDArray[Any]] = [x[n : n + step] for n in range(0, len(x), step)]

    def one(part: NDArray[Any]) -> NDArray[np.float32]:
        return machine.run([part]).outputs[0].reshape(len(part), -1)

    found: list[NDArray[np.float32]] = []
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
    return np.concatenate([np.empty((0, math.prod(machine.outputs[0].shape)), np.float32), *found])


def _without_choice(program: Program) -> Machine:
    """The machine of a program whose only output is scores, in the place of their ArgMax."""
    port = program.outputs[0]
    return Machine(replace(program, outputs=(replace(port, shape=port.scores, arg_max=None),)))


@dataclass(frozen=True)
class Accuracy:
    """How a classifier answers N images: `labels` and `answers` int64 [N], among `classes` classes.

    `among_best`: images whose label is among the five largest scores; of equal scores, that of the lower class counts
    as the larger. `fault`: what is wrong with the inputs as a whole where the accuracy is that of guessing, or "".
    """

    labels: NDArray[np.int64]
    answers: NDArray[np.int64]
    classes: int
    among_best: int
    fault: str = ""

    @property
    def images(self) -> int:
        """Number of images."""
        return len(self.labels)

    @property
    def right(self) -> int:
        """Number of images whose largest score is that of their label."""
        return int((self.labels == self.answers).sum())

    @property
    def top1(self) -> float:
        """Share of right answers, from 0 to 1."""
        return self.right / self.images

    @property
    def top5(self) -> float:
        """Share of the images whose label is among the five largest scores, from 0 to 1."""
        return self.among_best / self.images

    @cached_property
    def confusion(self) -> NDArray[np.int64]:
        """Numbers of images [classes, classes] by label (row) and answer (column)."""
        pairs = self.labels * self.classes + self.answers
        return np.bincount(pairs, minlength=self.classes**2).reshape(self.classes, self.classes)

    def _repr_html_(self) -> str:
        from emulator.confusion import confused
        from emulator.display import html_of_table

        top5 = f", top-5 {self.top5:.2%}" if self.classes > TOP else ""
        title = f"top-1 {self.top1:.2%}{top5} of {self.images:,} images; labels (rows) and answers"
        return html_of_table(confused(self), title)


def evaluate(
    machine: Machine,
    batches: Iterable[tuple[NDArray[Any], NDArray[np.int64]]],
    jobs: int,
    progress: Callable[[int], None] | None = None,
) -> Accuracy:
    """Accuracy of a classifier over inputs [n, ...] with labels [n] in [0, classes), one pair or more.

    Raises `UserError` if the program is no classifier.
    """
    count = classes(machine)
    port = machine.inputs[0]
    inputs = InputRange(port) if isinstance(port, Port) else None  # the host takes inputs of any range
    labels, answers, among_best = [np.empty(0, np.int64)], [np.empty(0, np.int64)], 0
    for x, y in batches:
        if inputs is not None:
            inputs.add(x)
        found = scores(machine, x, jobs, progress)
        labels.append(y)
        answers.append(found.argmax(axis=1))
        of_label = found[np.arange(len(y)), y][:, None]
        before = np.arange(count) < y[:, None]
        better = (found > of_label) | ((found == of_label) & before)
        among_best += int((better.sum(axis=1) < TOP).sum())
    result = Accuracy(np.concatenate(labels), np.concatenate(answers), count, among_best)
    fault = inputs.fault() if inputs is not None else ""
    return replace(result, fault=fault) if fault and at_chance(result.right, result.images, count) else result


def measure(machine: Machine, stored: Sequence[Bytes]) -> list[Statistics]:
    """Statistics of the first few images, one run each; `stored` as for `Machine.run_stored`."""
    images = min(MEASURED, len(stored[0])) if stored else 1  # a program without inputs runs once
    runs = [machine.run_stored([x[i : i + 1] for x in stored], stats=True) for i in range(images)]
    return [r.statistics for r in runs if r.statistics is not None]


def mean_of(statistics: Sequence[Statistics]) -> dict[str, Any]:
    """The figures of one image, or the means of several images."""
    from emulator.statistics import average

    return statistics[0].data if len(statistics) == 1 else average([s.data for s in statistics])
