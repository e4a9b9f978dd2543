"""Pooling."""

from __future__ import annotations

from dialects import esc, esc_pools, onnx_pools
from isa.reference import pool_counts
from passes.math.activation_quant import average_multipliers
from passes.quantization.emitter import EscEmitter


def maximum(e: EscEmitter, op: onnx_pools.MaxPoolOp) -> None:
    """The maximum, stored as the operand."""
    kernel, strides, pads = (esc.ints(a) for a in (op.kernel_shape, op.strides, op.pads))
    result = e.type_of(op.output, e.plan.storage(op.output))
    e.values[op.output] = e.insert(esc_pools.MaxPoolOp(e.values[op.input], kernel, strides, pads, result), op)


def average(e: EscEmitter, op: onnx_pools.AveragePoolOp) -> None:
    """The mean, with the clamps behind it."""
    epilogue = e.plan.epilogues[op]
    source, target = e.plan.storage(op.input), e.plan.storage(epilogue.result)
    kernel, strides, pads = (esc.ints(a) for a in (op.kernel_shape, op.strides, op.pads))
    include = bool(op.count_include_pad.value.data)
    result = e.type_of(epilogue.result, target)
    size, out = esc.shape_of(op.input)[2:], result.get_shape()[1:3]
    counts = pool_counts(size, kernel, strides, pads, include, out)
    mult, count0, shift = average_multipliers(counts, source.scale, target.scale)
    low, high = target.clamp(epilogue.low, epilogue.high)
    x = e.values[op.input]
    pool = esc_pools.AvgPoolOp(x, kernel, strides, pads, include, mult, count0, shift, low, high, result)
    e.values[epilogue.result] = e.insert(pool, op, *epilogue.ops)
