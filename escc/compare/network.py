"""One network of a comparison: quantised once, with the images to time and to classify."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp

from dialects.interpreters.run import main_function, run_module
from dialects.signature import classes_of, inputs_of, moved_inputs, only_input
from escc import driver
from escc.universe import multiverse
from isa.arrays import Input, open_samples
from isa.errors import UserError
from isa.program import Program
from isa.reference import answers
from passes.math.calibration import load_inputs
from passes.pipelines import PipelineOptions, behind, build

Array: TypeAlias = NDArray[Any]

QUANTISED = "decompose-conv"
"""The pass that finds a network quantised and still dense."""
_BATCH_ELEMENTS = 1 << 22


@dataclass(frozen=True)
class Data:
    """Images of one network: float `timed` [n, ...], `classified` [m, ...] and their labels int64 [m] if there are
    any.
    """

    path: str
    timed: Array
    classified: Array
    labels: NDArray[np.int64] | None

    def top1(self, answers: NDArray[np.int64]) -> float | None:
        """Percent of right answers, None without labels."""
        return None if self.labels is None else 100 * float((answers == self.labels).mean())


@dataclass(frozen=True)
class CompareSettings:
    """How a network is quantised and how many images are used: `images` of them timed, at most `limit` classified.

    `shapes`: those of inputs with dynamic extents, by name.
    """

    target: str
    calibration: str
    samples: int
    seed: int
    images: int
    limit: int
    shapes: Mapping[str, Sequence[int]] = field(default_factory=dict[str, Sequence[int]])


class ComparedNetwork:
    """A model file, imported and quantised."""

    def __init__(self, context: Context, path: str, settings: CompareSettings):
        self.name = Path(path).name
        self.context = context
        self.settings = settings
        self.module = driver.load(context, path, "", settings.shapes)
        only_input(self.module, "a comparison")
        passes = build(multiverse().all_passes, self._options(), "esc", self._done())
        names = [p.name for p in passes]
        if QUANTISED not in names:
            raise UserError(f"{path}: is compressed already", "give the original network")
        driver.run_passes(context, self.module, passes[: names.index(QUANTISED)])

    def _options(self, **given: Any) -> PipelineOptions:
        s = self.settings
        return PipelineOptions(calibration=s.calibration, samples=s.samples, seed=s.seed, target=s.target, **given)

    def _done(self) -> tuple[str, ...]:
        return behind(driver.level_of(self.module), driver.provenance(self.module))

    def dense(self) -> ModuleOp:
        """The quantised network as every machine runs it: without channels that nothing reads."""
        return self.finished(self.module)

    def finished(self, module: ModuleOp) -> ModuleOp:
        """A copy of a quantised network without channels that nothing reads."""
        copy = module.clone()
        passes = build(multiverse().all_passes, self._options(scheme="dense"), "esc", self._done())
        driver.run_passes(self.context, copy, [p for p in passes if p.name == "drop-dead-channels"])
        return copy

    def compiled(self, scheme: str, **given: Any) -> Program:
        """The binary of a scheme; `given` are fields of `PipelineOptions`."""
        copy = self.module.clone()
        passes = build(multiverse().all_passes, self._options(scheme=scheme, **given), done=self._done())
        driver.run_passes(self.context, copy, passes)
        return driver.to_program(copy)

    def calibration(self, most: int) -> list[NDArray[np.float32]]:
        """Calibration inputs, at most so many."""
        s = self.settings
        return load_inputs(s.calibration, inputs_of(main_function(self.module)), min(most, s.samples), s.seed)

    def data(self, path: str) -> Data:
        """The images of a file. Raises UserError if they do not fit the model."""
        return read_data(path, only_input(self.module, "a comparison"), classes_of(self.module), self.settings)


def read_data(path: str, wanted: Input, classes: int, settings: CompareSettings) -> Data:
    """The images of a file for a model with one input. Raises UserError if they do not fit it."""
    samples = open_samples(path, [wanted])
    (stored,) = samples.inputs
    limit = min(settings.limit, len(stored))
    x = stored.read(slice(0, limit)).astype(np.float32)
    labels = None if samples.labels is None else samples.classes(classes)[:limit]
    return Data(path, x[: settings.images], x, labels)


def answers_of(module: ModuleOp, x: Array) -> NDArray[np.int64]:
    """The class that a network of level esc gives every float input [N, ...], which lies as the model declares it."""
    (x,) = moved_inputs(module, [x])
    step = max(1, min(64, _BATCH_ELEMENTS // x[0].size))
    parts: Sequence[NDArray[np.int64]] = [
        answers(run_module(module, [x[n : n + step]])[0]) for n in range(0, len(x), step)
    ]
    return np.concatenate(parts)
