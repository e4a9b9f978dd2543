"""`quantize`: from the legal `onnx` level to the integers of the `esc` level."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects import builtin, func
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass

from dialects import esc, onnx
from dialects.blob import DenseAttr
from dialects.interpreters.run import main_function
from dialects.locations import describe
from dialects.onnx_arg_max import ArgMaxOp
from dialects.signature import inputs_of, outputs_of
from isa.arrays import Arrays
from isa.errors import UserError
from isa.reference import quantize_input
from isa.target import load_target
from passes.analysis.preserved import Preserved
from passes.math.activation_quant import (
    Storage,
    changing_interval,
)
from passes.math.calibration import SYNTHETIC_WARNING, Histogram, Method, load_inputs, synthetic_inputs
from passes.math.percentiles import LEAST_PERCENTILE
from passes.quantization.bias import correct_biases
from passes.quantization.emitter import EscEmitter
from passes.quantization.host_tail import host_tail, tail_operations
from passes.quantization.plan import PRESCRIBED, Positions, QuantizationPlan, Reader, constant, kept_positions
from passes.quantization.statistics import CalibrationStatistics

Array = NDArray[Any]


def _tail_causes(function: func.FuncOp) -> list[str]:
    """Host operations that something other than an output reads, and outputs that are constants."""
    causes: list[str] = []
    terminator = function.body.block.last_op
    assert terminator is not None
    host: set[Operation] = {terminator}
    for value in terminator.operands:
        if constant(value) is not None:
            causes.append("an output of the model is a constant; requires computed outputs")
            continue
        host.update(tail_operations(value))
        try:
            host_tail(value)
        except UserError as error:
            causes += error.causes
    for op in function.body.block.ops:
        if not isinstance(op, onnx.SoftmaxOp | onnx.TransposeOp | ArgMaxOp):
            continue
        if op not in host or any(use.operation not in host for use in op.output.uses):
            kind = op.name.removeprefix("onnx.")
            causes.append(f"{describe(op)}: {kind} inside the network; requires {kind} at an output only")
    return causes


@dataclass(frozen=True)
class QuantizePass(ModulePass):
    """Post-training quantisation to 8 bits: a legal `onnx` function becomes `esc` operations.

    Activations get zero point 0 and one scale per tensor, uint8 where they cannot be negative and int8 elsewhere;
    weights are symmetric int8 per output channel. Ranges come from running the float network on calibration inputs,
    those of QDQ models from their QuantizeLinear nodes. What a concatenation joins has the scale of the result where
    that costs others who read it at most a bit. `bias-correction` removes the mean error of every
    convolution whose weights are rounded here. A pair of a 1x1 Conv with ternary weights and a grouped Conv with the
    same kernels for each group, all stored as int8, is a decomposed convolution: its integers are taken as they are.
    """

    name = "quantize"
    PRESERVES: ClassVar[Preserved] = Preserved.NOTHING

    calibration: str | Arrays | None = None
    """.npz or .npy of inputs [N, ...] (key: the input's name or `x`), or arrays in memory; seeded synthetic input
    without.
    """
    method: str = "mse"
    """Choice of ranges: mse, minmax or percentile."""
    percentile: float = 99.99
    """Percentage of the values by magnitude that the method percentile represents."""
    bias_correction: bool = True
    """Correct the mean error of each convolution."""
    samples: int = 128
    """Calibration inputs used at most."""
    seed: int = 0
    """Seed of the choice of samples and of synthetic input."""
    target: str = "esc1"
    """Installed target or target file."""

    def _validated_method(self) -> Method:
        if self.method not in ("mse", "minmax", "percentile"):
            raise UserError(f"quantize: method '{self.method}' is unknown; requires mse, minmax or percentile")
        if not LEAST_PERCENTILE < self.percentile <= 100 or self.samples < 1:
            raise UserError(
                f"quantize: percentile {self.percentile} and samples {self.samples}; requires a percentile above "
                f"{LEAST_PERCENTILE} and up to 100, and at least one sample"
            )
        return self.method

    def apply(self, ctx: Context, op: builtin.ModuleOp) -> None:
        method = self._validated_method()
        function = main_function(op)
        block = function.body.block
        if self.calibration is None:
            inputs = synthetic_inputs(inputs_of(function), self.samples, self.seed)
        else:
            inputs = load_inputs(self.calibration, inputs_of(function), self.samples, self.seed)
        plan = QuantizationPlan(function, [float(x.min()) for x in inputs])
        causes = _tail_causes(function)
        if causes:
            raise UserError(causes)
        if self.calibration is None and plan.observed():
            warnings.warn(SYNTHETIC_WARNING, UserWarning, stacklevel=2)
        if not plan.observed():
            function.attributes[PRESCRIBED] = builtin.UnitAttr()
        statistics = CalibrationStatistics(op, inputs)
        correct = self.bias_correction and self.calibration is not None
        convs = [o for o in plan.epilogues if isinstance(o, onnx.ConvOp)] if correct else []
        alone = [o for o in convs if o not in plan.pairs]
        averaged: dict[SSAValue, Positions | None] = {o.output: kept_positions(plan.epilogues[o].result) for o in alone}
        statistics.collect(plan.observed(), averaged)
        _warn_of_constant_outputs(function, statistics)

        def choose(value: SSAValue, negative: bool, functions: Sequence[Reader]) -> tuple[bool, float]:
            return _choose(statistics.histograms[value], method, self.percentile, negative, functions)

        plan.settle(choose)
        if plan.reexpressed:
            warnings.warn(_reexpressed_note(plan.reexpressed), UserWarning, stacklevel=2)
        ic_bits = load_target(self.target).array.ic_bits
        emitter = EscEmitter(plan, statistics.means, method, ic_bits, ctx.get_optional_op)
        emitter.run()
        sample = [_sample(x, plan.storage(argument)) for x, argument in zip(inputs, block.args, strict=True)]
        function.attributes["sample"] = DenseAttr.of(np.concatenate(sample))
        for old in [o for o in reversed(list(block.ops)) if not isinstance(o, esc.EscOp | func.ReturnOp)]:
            old.detach()
            old.erase()
        few = statistics.correction_samples
        correct_biases(block, [x[:few] for x in inputs], emitter.corrections)


def _warn_of_constant_outputs(function: func.FuncOp, statistics: CalibrationStatistics) -> None:
    for name, value in outputs_of(function):
        if value in statistics.constant:
            warnings.warn(
                f"output '{name}' does not depend on the input: it is the same for all inputs that were tried; look at "
                "the weights of the model, and whether the calibration data are scaled as in training",
                UserWarning,
                stacklevel=3,
            )


def _choose(
    histogram: Histogram, method: Method, percentile: float, negative: bool, functions: Sequence[Reader]
) -> tuple[bool, float]:
    """Whether a value is stored signed and its scale, over the range in which the functions that read it change."""
    within = (-math.inf, math.inf)
    if functions and histogram.low < histogram.high:
        within = changing_interval(functions, histogram.low, histogram.high)
    signed = negative and within[0] < 0
    return signed, histogram.scale(signed, method, percentile, within)


def _sample(x: Array, storage: Storage) -> NDArray[np.uint8]:
    return quantize_input(x[:1], storage.scale, storage.signed).view(np.uint8).reshape(-1)


def _reexpressed_note(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{n}'" for n in names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    count = f"{len(names)} tensors are" if len(names) > 1 else "1 tensor is"
    return f"{count} re-expressed with zero point 0 over the same range: {shown}"
