"""`quantize`: from the legal `onnx` level to the integers of the `esc` level."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects import builtin, func
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.passes import ModulePass

from dialects import esc, onnx
from dialects.blob import DenseAttr
from dialects.interpreters.run import main_function, run_module
from dialects.locations import describe, fused
from dialects.onnx_elementwise import ScalarOp
from dialects.signature import inputs_of, outputs_of
from isa.errors import UserError
from isa.reference import fixed_point, pool_counts, quantize_input
from isa.target import load_target
from passes.decomposition.ternary_basis import TernaryBasis
from passes.decomposition.weight_form import Geometry
from passes.host_tail import host_tail, tail_operations
from passes.math.activation_quant import (
    Storage,
    addition,
    average_multipliers,
    bounded,
    changing_interval,
    identity,
    lookup_table,
)
from passes.math.calibration import SYNTHETIC_WARNING, Histogram, Method, load_inputs, synthetic_inputs
from passes.math.scales import step_factor
from passes.math.weight_quant import quantize_conv, weight_scales
from passes.quantization.onnx_decomposed_pairs import Pair, symmetric_integers
from passes.quantize_bias import Correction, correct_biases
from passes.quantize_plan import PRESCRIBED, QuantizationPlan, Reader, constant

Array = NDArray[Any]

_FLOAT_BUDGET = 1 << 24
"""Bytes of the largest float activation per batch of the calibration run."""
_ACCUMULATOR_BUDGET = 3 << 26
"""Bytes of the largest int32 accumulator over all samples of the bias correction."""


class _Statistics:
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
        sizes = [math.prod(esc.shape_of(r)) for op in block.ops for r in op.results] or [1]
        self._batch = max(1, min(64, _FLOAT_BUDGET // (4 * max(sizes))))
        self.correction_samples = max(1, min(len(inputs[0]), _ACCUMULATOR_BUDGET // (4 * max(sizes))))

    def collect(self, observed: set[SSAValue], averaged: set[SSAValue]) -> None:
        """Histograms of `observed` over all inputs; means per channel of `averaged` over the first
        `correction_samples`.
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
                        part = x[:rows].sum(axis=0, dtype=np.float64).reshape(x.shape[1], -1).mean(axis=1)
                        self.means[value] = self.means.get(value, 0.0) + part / self.correction_samples

            run_module(self._module, [x[start:stop] for x in self._inputs], observe)

    def _inputs_differ(self) -> bool:
        return any(bool((x[1:] != x[:1]).any()) for x in self._inputs)

    def _compare(self, value: SSAValue, x: Array) -> None:
        if (x != self._first.setdefault(value, x[:1].copy())).any():
            self.constant.discard(value)


def _observe(histogram: Histogram, x: Array, op: Operation) -> None:
    try:
        histogram.add(x)
    except ValueError as error:
        raise UserError(
            f"{describe(op)}: {error} on calibration inputs", "the model overflows; check its weights and the inputs"
        ) from error


class _Emitter:
    """Writes the `esc` operations of a planned function before its terminator, one onnx operation after the other."""

    def __init__(self, plan: QuantizationPlan, statistics: _Statistics, method: Method, ic_bits: int):
        self._plan = plan
        self._means = statistics.means
        self._method: Method = method
        self._ic_bits = ic_bits
        terminator = plan.block.last_op
        assert isinstance(terminator, func.ReturnOp)
        self._return = terminator
        self._values: dict[SSAValue, SSAValue] = {}
        self.corrections: dict[esc.RequantizeOp, Correction] = {}

    def _insert(self, op: esc.EscOp, *origin: Operation) -> SSAValue:
        op.location = fused(*origin)
        self._plan.block.insert_op_before(op, self._return)
        return op.results[0]

    def run(self) -> None:
        """Emit everything and replace the operands of the terminator."""
        block = self._plan.block
        for argument in block.args:
            storage = self._plan.storage(argument)
            shape = esc.shape_of(argument)
            n, c, h, w = (*shape, 1, 1)[:4]
            op = esc.QuantizeOp(argument, esc.q_tensor((n, h, w, c), storage.signed, storage.scale))
            self._values[argument] = self._insert(op)
        for op in list(block.ops):
            if op is self._return:
                break
            if not isinstance(op, esc.EscOp) and op not in self._plan.absorbed:
                self._emit(op)
        for i, value in enumerate(self._return.operands):
            self._return.operands[i] = self._output(value)

    def _emit(self, op: Operation) -> None:
        match op:
            case onnx.ConstantOp() | onnx.SoftmaxOp():
                return
            case onnx.ConvOp():
                self._conv(op)
            case onnx.AddOp():
                self._add(op)
            case onnx.AveragePoolOp():
                self._average(op)
            case onnx.MaxPoolOp():
                x = self._values[op.input]
                kernel, strides, pads = (esc.ints(a) for a in (op.kernel_shape, op.strides, op.pads))
                result = self._type(op.output, self._plan.storage(op.output))
                self._values[op.output] = self._insert(esc.MaxPoolOp(x, kernel, strides, pads, result), op)
            case onnx.ConcatOp():
                storage = self._plan.storage(op.output)
                parts = [self._stored_as(x, storage, op) for x in op.inputs]
                self._values[op.output] = self._insert(esc.ConcatOp(parts), op)
            case onnx.SliceOp() | onnx.PadOp():
                self._move(op)
            case onnx.ReshapeOp() | onnx.TransposeOp():
                if op.input in self._values:
                    self._values[op.output] = self._values[op.input]
            case onnx.QuantizeLinearOp() | onnx.DequantizeLinearOp():
                if op.input in self._values:
                    self._values[op.output] = self._stored_as(op.input, self._plan.storage(op.output), op)
            case ScalarOp():
                target = self._plan.storage(op.output)
                table = lookup_table(op.function, self._plan.storage(op.input), target)
                lookup = esc.LookupOp(self._values[op.input], table, self._type(op.output, target))
                self._values[op.output] = self._insert(lookup, op)
            case _:
                raise TypeError(f"{op.name} has no counterpart")

    @staticmethod
    def _type(value: SSAValue, storage: Storage) -> builtin.TensorType[Attribute]:
        n, c, h, w = (*esc.shape_of(value), 1, 1)[:4]
        return esc.q_tensor((n, h, w, c), storage.signed, storage.scale)

    def _stored_as(self, value: SSAValue, storage: Storage, op: Operation) -> SSAValue:
        """The value in the given storage, through a table if it has another."""
        source = self._plan.storage(value)
        if storage.holds(source):
            return self._values[value]
        table = lookup_table(identity, source, storage)
        return self._insert(esc.LookupOp(self._values[value], table, self._type(value, storage)), op)

    def _conv(self, op: onnx.ConvOp) -> None:
        pair = self._plan.pairs.get(op)
        if pair is not None:
            self._pair(pair)
            return
        epilogue = self._plan.epilogues[op]
        source, target = self._plan.storage(op.input), self._plan.storage(epilogue.result)
        raw = constant(op.weight)
        assert raw is not None
        weight = raw.transpose(0, 2, 3, 1)
        given = symmetric_integers(op.weight)
        scales = weight_scales(weight, self._method) if given is None else given[1]
        integers = quantize_conv(weight, _bias(op), source.scale, source.limit, scales)
        strides, pads = esc.ints(op.strides), esc.ints(op.pads)
        conv = esc.Conv2dOp(self._values[op.input], integers.weight, strides, pads, op.group.value.data)
        requantize = self._requantize(self._insert(conv, op), op, integers.bias, integers.scale / target.scale)
        prescribed = isinstance(op.weight.owner, onnx.DequantizeLinearOp) and integers.represents(weight, source.scale)
        if op.output in self._means and not prescribed:
            self.corrections[requantize] = Correction(integers, self._means[op.output], source.limit)

    def _pair(self, pair: Pair) -> None:
        """A convolution that the model brings decomposed, with exactly its coefficients, bases and scales."""
        first, second = pair.first, pair.second
        source, target = self._plan.storage(first.input), self._plan.storage(self._plan.epilogues[second].result)
        q = esc.QType.of(source.signed, source.scale)
        given = TernaryBasis(pair.coefficients, pair.basis, step_factor(pair.scale, source.scale, target.scale))
        bias = _bias(second) / target.scale
        try:
            integers = given.to_integers(lambda _: bias, q.low, q.high, self._ic_bits)
        except ValueError as error:
            raise UserError(f"{describe(second)}: {error}", "use fewer bases or smaller ones") from error
        geometry = Geometry(esc.ints(second.strides), esc.ints(second.pads), self._ic_bits)
        acc = self._values[first.input]
        for made, op in zip(integers.operations(acc, geometry), (first, second), strict=True):
            acc = self._insert(made, op)
        self._requantize(acc, second, integers.bias, integers.factor)

    def _requantize(self, acc: SSAValue, op: onnx.ConvOp, bias: Array, factor: Array) -> esc.RequantizeOp:
        """Emit the requantisation of an accumulator whose steps are `factor` steps of the target."""
        epilogue = self._plan.epilogues[op]
        target = self._plan.storage(epilogue.result)
        mult, shift = fixed_point(bounded(factor))
        low, high = target.clamp(epilogue.low, epilogue.high)
        result = self._type(epilogue.result, target)
        requantize = esc.RequantizeOp(acc, bias, mult, shift, low, high, result)
        self._values[epilogue.result] = self._insert(requantize, op, *epilogue.ops)
        return requantize

    def _add(self, op: onnx.AddOp) -> None:
        epilogue = self._plan.epilogues[op]
        target = self._plan.storage(epilogue.result)
        low, high = target.clamp(epilogue.low, epilogue.high)
        p = addition(self._plan.storage(op.lhs).scale, self._plan.storage(op.rhs).scale, target, low, high)
        a, b = self._values[op.lhs], self._values[op.rhs]
        added = esc.AddOp(a, b, p.mult_a, p.mult_b, p.shift, p.lo, p.hi, self._type(epilogue.result, target))
        self._values[epilogue.result] = self._insert(added, op, *epilogue.ops)

    def _average(self, op: onnx.AveragePoolOp) -> None:
        epilogue = self._plan.epilogues[op]
        source, target = self._plan.storage(op.input), self._plan.storage(epilogue.result)
        kernel, strides, pads = (esc.ints(a) for a in (op.kernel_shape, op.strides, op.pads))
        include = bool(op.count_include_pad.value.data)
        result = self._type(epilogue.result, target)
        size, out = esc.shape_of(op.input)[2:], result.get_shape()[1:3]
        counts = pool_counts(size, kernel, strides, pads, include, out)
        mult, count0, shift = average_multipliers(counts, source.scale, target.scale)
        low, high = target.clamp(epilogue.low, epilogue.high)
        x = self._values[op.input]
        pool = esc.AvgPoolOp(x, kernel, strides, pads, include, mult, count0, shift, low, high, result)
        self._values[epilogue.result] = self._insert(pool, op, *epilogue.ops)

    def _move(self, op: onnx.SliceOp | onnx.PadOp) -> None:
        """Slice and Pad as one movement: offsets [y, x, c] into the operand, negative before it."""
        starts, steps = [0, 0, 0, 0], [1, 1, 1, 1]
        if isinstance(op, onnx.PadOp):
            starts = [-p for p in esc.ints(op.pads)[:4]]
        else:
            for axis, start, step in zip(esc.ints(op.axes), esc.ints(op.starts), esc.ints(op.steps), strict=True):
                starts[axis], steps[axis] = start, step
        offsets, strides = (starts[2], starts[3], starts[1]), (steps[2], steps[3])
        result = self._type(op.output, self._plan.storage(op.output))
        self._values[op.output] = self._insert(esc.SliceOp(self._values[op.input], offsets, strides, result), op)

    def _output(self, value: SSAValue) -> SSAValue:
        """Float result that the host makes of a returned value."""
        tail = host_tail(value)
        result = builtin.TensorType(builtin.f32, esc.shape_of(value))
        origin = [tail.computed.owner] if isinstance(tail.computed.owner, Operation) else []
        stored = self._values[tail.computed]
        real = self._insert(esc.DequantizeOp(stored, result, tail.view, tail.perm), *origin)
        return real if tail.softmax is None else self._insert(esc.SoftmaxOp(real, tail.axis), tail.softmax)


def _bias(op: onnx.ConvOp) -> NDArray[np.float64]:
    """Bias of a convolution [K], zeros where it has none."""
    bias = None if op.bias is None else constant(op.bias)
    return np.zeros(esc.shape_of(op.output)[1]) if bias is None else bias


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
        if not isinstance(op, onnx.SoftmaxOp | onnx.TransposeOp):
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
    those of QDQ models from their QuantizeLinear nodes. `bias-correction` removes the mean error of every
    convolution whose weights are rounded here. A pair of a 1x1 Conv with ternary weights and a grouped Conv with the
    same kernels for each group, all stored as int8, is a decomposed convolution: its integers are taken as they are.
    """

    name = "quantize"

    calibration: str | None = None
    """.npz or .npy of inputs [N, ...] (key: the input's name or `x`); seeded synthetic input without."""
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
        if not 0 < self.percentile <= 100 or self.samples < 1:
            raise UserError(
                f"quantize: percentile {self.percentile} and samples {self.samples}; requires "
                "0 < percentile <= 100 and samples >= 1"
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
        statistics = _Statistics(op, inputs)
        correct = self.bias_correction and self.calibration is not None
        convs = [o for o in plan.epilogues if isinstance(o, onnx.ConvOp)] if correct else []
        averaged: set[SSAValue] = {o.output for o in convs if o not in plan.pairs}
        statistics.collect(plan.observed(), averaged)
        _warn_of_constant_outputs(function, statistics)

        def choose(value: SSAValue, negative: bool, functions: Sequence[Reader]) -> tuple[bool, float]:
            return _choose(statistics.histograms[value], method, self.percentile, negative, functions)

        plan.settle(choose)
        if plan.reexpressed:
            warnings.warn(_reexpressed_note(plan.reexpressed), UserWarning, stacklevel=2)
        emitter = _Emitter(plan, statistics, method, load_target(self.target).array.ic_bits)
        emitter.run()
        sample = [_sample(x, plan.storage(argument)) for x, argument in zip(inputs, block.args, strict=True)]
        function.attributes["sample"] = DenseAttr.of(np.concatenate(sample))
        for old in [o for o in reversed(list(block.ops)) if not isinstance(o, esc.EscOp | func.ReturnOp)]:
            old.detach()
            old.erase()
        few = statistics.correction_samples
        correct_biases(block, [x[:few] for x in inputs], emitter.corrections)


def _warn_of_constant_outputs(function: func.FuncOp, statistics: _Statistics) -> None:
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
