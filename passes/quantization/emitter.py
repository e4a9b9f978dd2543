"""Writing the `esc` operations of a planned function: what the forms of operations share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pkgutil import resolve_name

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects import builtin, func
from xdsl.ir import Attribute, Operation, SSAValue

from dialects import esc, onnx
from dialects.locations import fused
from dialects.onnx_base import StorageRule
from isa.reference import fixed_point, map_shape
from passes.math.activation_quant import Array, Storage, bounded, identity, lookup_table
from passes.math.calibration import Method
from passes.quantization.bias import Correction
from passes.quantization.host_tail import host_tail
from passes.quantization.plan import QuantizationPlan


class EscEmitter:
    """Writes `esc` operations before the terminator, one onnx operation after the other.

    `values` maps the values of the float network to the stored ones. `means` are those of convolutions, float64 [C].
    `corrections` says what the accumulators before a requantisation should average to. `operation` gives operations of
    other packages by name.
    """

    def __init__(
        self,
        plan: QuantizationPlan,
        means: Mapping[SSAValue, NDArray[np.float64]],
        method: Method,
        ic_bits: int,
        operation: Callable[[str], type[Operation] | None],
    ):
        self.operation = operation
        self.plan = plan
        self.means = means
        self.method: Method = method
        self.ic_bits = ic_bits
        terminator = plan.block.last_op
        assert isinstance(terminator, func.ReturnOp)
        self._return = terminator
        self.values: dict[SSAValue, SSAValue] = {}
        self.corrections: dict[esc.RequantizeOp, Correction] = {}
        self._stored: dict[tuple[SSAValue, Storage], SSAValue] = {}

    def insert(self, op: esc.EscOp, *origin: Operation) -> SSAValue:
        """Append an operation that comes from others; its result."""
        op.location = fused(*origin)
        self.plan.block.insert_op_before(op, self._return)
        return op.results[0]

    def run(self) -> None:
        """Emit everything and replace the operands of the terminator."""
        block = self.plan.block
        for argument in block.args:
            storage = self.plan.storage(argument)
            shape = esc.shape_of(argument)
            n, c, h, w = map_shape(shape)
            op = esc.QuantizeOp(argument, esc.q_tensor((n, h, w, c), storage.signed, storage.scale))
            self.values[argument] = self.insert(op)
        for op in list(block.ops):
            if op is self._return:
                break
            if not isinstance(op, esc.EscOp) and op not in self.plan.absorbed:
                self._emit(op)
        for i, value in enumerate(self._return.operands):
            self._return.operands[i] = self._output(value)

    def _emit(self, op: Operation) -> None:
        if isinstance(op, onnx.ConstantOp) or (isinstance(op, onnx.OnnxOp) and op.STORAGE is StorageRule.HOST):
            return
        if not isinstance(op, onnx.OnnxOp) or not op.QUANTISED_FORM:
            raise TypeError(f"{op.name} has no counterpart")
        resolve_name(op.QUANTISED_FORM)(self, op)

    @staticmethod
    def type_of(value: SSAValue, storage: Storage) -> builtin.TensorType[Attribute]:
        """Type of a value [N, C, H, W] in a storage."""
        n, c, h, w = map_shape(esc.shape_of(value))
        return esc.q_tensor((n, h, w, c), storage.signed, storage.scale)

    def stored_as(self, value: SSAValue, storage: Storage, op: Operation) -> SSAValue:
        """The value in the given storage, through a table if it has another."""
        source = self.plan.storage(value)
        if storage.holds(source):
            return self.values[value]
        if (value, storage) not in self._stored:
            table = lookup_table(identity, source, storage)
            lookup = esc.LookupOp(self.values[value], table, self.type_of(value, storage))
            self._stored[value, storage] = self.insert(lookup, op)
        return self._stored[value, storage]

    def requantise(self, acc: SSAValue, op: onnx.ConvOp, bias: Array, factor: Array) -> esc.RequantizeOp:
        """Emit the requantisation of an accumulator whose steps are `factor` steps of the target."""
        epilogue = self.plan.epilogues[op]
        target = self.plan.storage(epilogue.result)
        mult, shift = fixed_point(bounded(factor))
        low, high = target.clamp(epilogue.low, epilogue.high)
        result = self.type_of(epilogue.result, target)
        requantize = esc.RequantizeOp(acc, bias, mult, shift, low, high, result)
        self.values[epilogue.result] = self.insert(requantize, op, *epilogue.ops)
        return requantize

    def _output(self, value: SSAValue) -> SSAValue:
        """Result that the host makes of a returned value."""
        tail = host_tail(value)
        result = builtin.TensorType(builtin.f32, tail.shape)
        origin = [tail.computed.owner] if isinstance(tail.computed.owner, Operation) else []
        stored = self.values[tail.computed]
        real = self.insert(esc.DequantizeOp(stored, result, tail.view, tail.perm), *origin)
        if tail.softmax is not None:
            real = self.insert(esc.SoftmaxOp(real, tail.axis, tail.softmax.logarithm is not None), tail.softmax)
        if tail.arg_max is None:
            return real
        choice = tail.arg_max.choice
        indices = builtin.TensorType(builtin.i64, esc.shape_of(value))
        return self.insert(esc.ArgMaxOp(real, indices, choice.axis, choice.last), tail.arg_max)
