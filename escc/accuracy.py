"""Accuracy that a compression loses, measured on images that it has not seen, and what errors let one expect of it."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dialects.signature import classes_of, only_input
from isa.arrays import Arrays, Rows, open_samples
from isa.reference import answers as classes_chosen
from passes.math.noise import normal

if TYPE_CHECKING:
    from xdsl.dialects.builtin import ModuleOp

    from isa.program import Program

Array = NDArray[Any]
F = NDArray[np.float64]

_MOST_IMAGES = 2048
_FEW_IMAGES = 256
_BATCH_ELEMENTS = 1 << 22
_DRAWS = 8
"""Of noise for each image."""


@dataclass(frozen=True)
class Fold:
    """Images to compress by, as calibration data, and other images (rows of the data) to measure on."""

    calibration: str | Arrays
    rows: NDArray[np.int64]


class AccuracyCheck:
    """Top-1 accuracy lost against the network before compression, on images that the compression has not seen.

    `module` is the network (level onnx or esc). Where calibration takes `taken` of many images, the others are
    measured on; of few images, each half is measured on a network that is compressed by the other half. With labels
    (the array `y`) right answers are counted, without them answers that stay the same.
    """

    def __init__(self, module: ModuleOp, source: str | Arrays, taken: int, seed: int):
        from passes.math.calibration import sample_rows

        port, classes = only_input(module, "--max-drop"), classes_of(module)
        samples = open_samples(source, [port])
        (stored,) = samples.inputs
        others = np.setdiff1d(np.arange(len(stored)), sample_rows(len(stored), taken, seed))[:_MOST_IMAGES]
        if len(others) >= _FEW_IMAGES or len(stored) == 1:
            self.folds = [Fold(source, others if len(others) else np.arange(1))]
        else:
            self.folds = _halves(stored, seed)
        self._rows = np.sort(np.concatenate([fold.rows for fold in self.folds]))
        self._x = stored.read(self._rows)
        self._outputs = _outputs(module, port.moved(self._x))
        answers = classes_chosen(self._outputs)
        self._labelled = samples.labels is not None
        self._labels = samples.classes(classes)[self._rows] if self._labelled else answers
        self._before = answers == self._labels
        if self._labelled:
            guesses(str(source), int(self._before.sum()), len(answers), classes)

    @property
    def images(self) -> int:
        """On which is measured."""
        return len(self._rows)

    def lost(self, program: Program, fold: Fold) -> NDArray[np.float64]:
        """For each image of a fold, 1 if only the network before answers right, -1 if only the program does, else 0."""
        from emulator.evaluate import classes, predict
        from emulator.machine import Machine

        classes(program)
        at = np.searchsorted(self._rows, fold.rows)
        now = predict(Machine(program), self._x[at], os.cpu_count() or 1) == self._labels[at]
        return self._before[at].astype(np.float64) - now

    def expected(self, error: float) -> Drop:
        """The drop if the outputs had a relative error of that size, alike for all images and independent."""
        if self._outputs.dtype.kind in "iu":  # classes without scores: about what most networks lose
            return self._drop(50.0 * math.sqrt(error))
        spread = self._outputs - self._outputs.sum(axis=0) / len(self._outputs)
        size = np.sqrt(error * (spread * spread).sum(axis=0) / len(spread))
        rng = np.random.default_rng(0)
        lost = np.zeros(len(spread))
        for _ in range(_DRAWS):
            now = (self._outputs + size * normal(rng, spread.shape)).argmax(axis=1) == self._labels
            lost += self._before.astype(np.float64) - now
        return self._drop(100 * float(lost.sum()) / (_DRAWS * len(spread)))

    def _drop(self, points: float) -> Drop:
        """Points with the standard error that they have if no image is answered right that was not before."""
        return Drop(points, 10 * math.sqrt(max(points, 0.0) / len(self._rows)))

    def describe(self) -> str:
        """What the drop is measured on."""
        what = "of top-1" if self._labelled else "of answers changed"
        return f"{what} on {self.images} images that the compression has not seen"


def guesses(source: str, right: int, images: int, classes: int) -> bool:
    """Whether a network that answers so many of the images of `source` right does no more than guess; warns if so."""
    from emulator.evaluate import at_chance

    guessing = at_chance(right, images, classes)
    if guessing:
        warnings.warn(
            f"{source}: the network answers {right / images:.2%} of {images} images right before compression, no more "
            "than guessing: look at the labels, and at how the images are scaled",
            UserWarning,
            stacklevel=3,
        )
    return guessing


def output_error(before: Program, after: Program, inputs: Sequence[Array]) -> float:
    """How far a program's outputs are from those of another one: the mean over outputs of the squared differences as a
    share of the variance over the samples, or of the share of samples whose class differs.

    `inputs` are samples [N, ...] of each input.
    """
    differences = variances = 0.0
    for a, b in zip(_results(before, inputs), _results(after, inputs), strict=True):
        if a.dtype.kind in "iu":
            different = float((a != b).mean())
            differences, variances = differences + different, variances + 1.0
            continue
        a, b = a.astype(np.float64), b.astype(np.float64)
        spread = a - a.sum(axis=0) / len(a)
        whole = math.fsum((spread * spread).sum(axis=0))
        if whole > 0:
            differences += math.fsum(((a - b) ** 2).sum(axis=0)) / whole
            variances += 1.0
    return differences / max(1.0, variances)


def _results(program: Program, inputs: Sequence[Array]) -> list[Array]:
    """All outputs [N, values] of a program."""
    from emulator.evaluate import batch_size
    from emulator.machine import Machine

    machine, count = Machine(program), len(inputs[0]) if inputs else 1
    step = min(batch_size(program), max(1, -(-count // (os.cpu_count() or 1))))

    def part(first: int) -> list[Array]:
        return machine.run([x[first : first + step] for x in inputs]).outputs

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        parts = list(pool.map(part, range(0, count, step)))
    return [np.concatenate(found).reshape(count, -1) for found in zip(*parts, strict=True)]


@dataclass(frozen=True)
class Drop:
    """Points lost, and the standard error of that figure."""

    points: float
    error: float

    @classmethod
    def of(cls, lost: Sequence[F]) -> Drop:
        """That of images of several folds, of each as `AccuracyCheck.lost`."""
        each = np.concatenate(lost)
        return cls(100 * float(each.mean()), 100 * float(each.std()) / math.sqrt(len(each)))

    @property
    def least_sure(self) -> float:
        """With one standard error of safety: the images at hand are not those of the user."""
        return self.points + self.error

    def __str__(self) -> str:
        return f"{self.points:.2f} +- {self.error:.2f} points"


def _halves(stored: Rows, seed: int) -> list[Fold]:
    order = np.random.default_rng(seed).permutation(len(stored))
    halves = [np.sort(order[: len(stored) // 2]), np.sort(order[len(stored) // 2 :])]
    seen = [Arrays({"x": stored.read(rows)}, stored.path) for rows in halves]
    return [Fold(calibration, rows) for calibration, rows in zip(seen, reversed(halves), strict=True)]


def _outputs(module: ModuleOp, x: Array) -> Array:
    """Outputs of a network for every input: scores float64 [N, classes], or integers [N, 1] of a network that gives
    the class itself.
    """
    from dialects.interpreters.run import run_module

    step = max(1, min(64, _BATCH_ELEMENTS // x[0].size))
    parts: list[Array] = []
    for n in range(0, len(x), step):
        part = x[n : n + step].astype(np.float32)
        parts.append(run_module(module, [part])[0].reshape(len(part), -1))
    found = np.concatenate(parts)
    return found if found.dtype.kind in "iu" else found.astype(np.float64)
