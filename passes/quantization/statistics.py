"""What the float network does on the calibration inputs: distributions, means, outputs that never change."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects import builtin
from xdsl.ir import Operation, SSAValue

from dialects import esc, onnx
from dialects.interpreters.run import main_function, run_module
from dialects.locations import describe
from isa.errors import UserError
from passes.math.activation_quant import Array
from passes.math.calibration import Histogram
from passes.quantization.plan import Positions

_FLOAT_BUDGET = 1 << 24
"""Bytes of the largest float activation per batch of the calibration run."""
_TENSOR_BUDGET = 3 << 26
"""Bytes that the largest tensor, be it of weights, would take over all samples of the bias correction as int32."""


class CalibrationStatistics:
    """Distributions and channel means of a float network over the calibration inputs."""

    def __init__(self, module: builtin.ModuleOp, inputs: Sequence[Array]):
        self._module = module
        self._inputs = inputs
        self.histograms: dict[SSAValue, Histogram] = {}
        self.means: dict[SSAValue, NDArray[np.float64]] = {}
        self.constant: set[SSAValue] = set()
        """Outputs that are the same for all inputs, though these differ."""
        self._first: dict[SSAValue, Array] = {}
        block = main_function(module).body.block
        weights = _largest(op for op in block.ops if isinstance(op, onnx.ConstantOp))
        activations = _largest(op for op in block.ops if not isinstance(op, onnx.ConstantOp))
        self._batch = max(1, min(64, _FLOAT_BUDGET // (4 * activations)))
        most = _TENSOR_BUDGET // (4 * max(weights, activations))
        self.correction_samples = max(1, min(len(inputs[0]), most))

    def collect(self, observed: set[SSAValue], averaged: Mapping[SSAValue, Positions | None]) -> None:
        """Histograms of `observed` over all inputs; means per channel of `averaged` at their positions (None: all)
        over the first `correction_samples`.
        """
        block = main_function(self._module).body.block
        self.histograms = {value: Histogram() for value in observed}
        for argument, x in zip(block.args, self._inputs, strict=True):
            if argument in self.histograms:
                self.histograms[argument].add(x)
        if not observed - set(block.args) and not averaged:
            return
        total = len(self._inputs[0])
        if block.last_op is not None and self._inputs_differ():
            self.constant = set(block.last_op.operands) - set(block.args)
        for start in range(0, total, self._batch):
            stop = min(total, start + self._batch)
            rows = max(0, min(stop, self.correction_samples) - start)

            def observe(op: Operation, results: Sequence[Array], rows: int = rows, samples: int = stop - start) -> None:
                for value, x in zip(op.results, results, strict=True):
                    if value in self.constant:
                        self._compare(value, x.reshape(samples, -1))
                    if value in self.histograms:
                        _observe(self.histograms[value], x.reshape(samples, -1), op)
                    if rows and value in averaged:
                        kept = averaged[value]
                        few = x[:rows] if kept is None else x[:rows, :, kept[0]][:, :, :, kept[1]]
                        part = few.sum(axis=0, dtype=np.float64).reshape(x.shape[1], -1).mean(axis=1)
                        self.means[value] = self.means.get(value, 0.0) + part / self.correction_samples

            run_module(self._module, [x[start:stop] for x in self._inputs], observe)

    def _inputs_differ(self) -> bool:
        return any(bool((x[1:] != x[:1]).any()) for x in self._inputs)

    def _compare(self, value: SSAValue, x: Array) -> None:
        if (x != self._first.setdefault(value, x[:1].copy())).any():
            self.constant.discard(value)


def _largest(operations: Iterable[Operation]) -> int:
    """Elements of the largest result, at least 1."""
    return max((math.prod(esc.shape_of(r)) for op in operations for r in op.results), default=1)


def _observe(histogram: Histogram, x: Array, op: Operation) -> None:
    try:
        histogram.add(x)
    except ValueError as error:
        raise UserError(
            f"{describe(op)}: {error} on calibration inputs", "the model overflows; check its weights and the inputs"
        ) from error
