"""Additions, functions of one number, changes of scale."""

from __future__ import annotations

from dialects import esc, esc_products, onnx
from dialects.onnx_elementwise import ScalarOp
from passes.math.activation_quant import addition, lookup_table, multiplication
from passes.quantization.emitter import EscEmitter


def add(e: EscEmitter, op: onnx.AddOp) -> None:
    """The sum of two tensors, with the clamps behind it."""
    epilogue = e.plan.epilogues[op]
    target = e.plan.storage(epilogue.result)
    low, high = target.clamp(epilogue.low, epilogue.high)
    p = addition(e.plan.storage(op.lhs).scale, e.plan.storage(op.rhs).scale, target, low, high)
    a, b = e.values[op.lhs], e.values[op.rhs]
    added = esc.AddOp(a, b, p.mult_a, p.mult_b, p.shift, p.lo, p.hi, e.type_of(epilogue.result, target))
    e.values[epilogue.result] = e.insert(added, op, *epilogue.ops)


def multiply(e: EscEmitter, op: onnx.MulOp) -> None:
    """The product of two tensors, the one of the whole extent first, with the clamps behind it."""
    epilogue = e.plan.epilogues[op]
    target = e.plan.storage(epilogue.result)
    low, high = target.clamp(epilogue.low, epilogue.high)
    a, b = sorted((op.lhs, op.rhs), key=lambda x: onnx.shape_of(x) != onnx.shape_of(op.output))
    p = multiplication(e.plan.storage(a).scale, e.plan.storage(b).scale, target, low, high)
    result = e.type_of(epilogue.result, target)
    product = esc_products.MulOp(e.values[a], e.values[b], p.mult_a, p.shift, p.lo, p.hi, result)
    e.values[epilogue.result] = e.insert(product, op, *epilogue.ops)


def look_up(e: EscEmitter, op: ScalarOp) -> None:
    """A function of one number, as a table."""
    target = e.plan.storage(op.output)
    table = lookup_table(op.function, e.plan.storage(op.input), target)
    e.values[op.output] = e.insert(esc.LookupOp(e.values[op.input], table, e.type_of(op.output, target)), op)


def rescale(e: EscEmitter, op: onnx.QuantizeLinearOp | onnx.DequantizeLinearOp) -> None:
    """The operand in the storage that the model prescribes."""
    if op.input in e.values:
        e.values[op.output] = e.stored_as(op.input, e.plan.storage(op.output), op)
