"""Requantisation, addition and tables as nodes of ONNX."""

from __future__ import annotations

from pkgutil import resolve_name

from dialects import esc, esc_products
from dialects.esc_base import AccumulatorOp
from dialects.locations import describe, node_names
from escc.onnx_export.emitter import BASIS, OnnxEmitter, main_name
from isa.errors import UserError


def requantise(e: OnnxEmitter, op: esc.RequantizeOp) -> str:
    """The convolution before the requantisation, then its clamp, table and addition."""
    source = op.input.owner
    if not isinstance(source, AccumulatorOp) or not source.ONNX_FORM:
        raise UserError(f"{describe(op)}: its input is not a convolution accumulator")
    if op.table is not None and op.table_in is None:
        raise UserError(f"{describe(op)}: has a table but no `table_in` type")
    conv = main_name(source).removesuffix(BASIS)
    x = resolve_name(source.ONNX_FORM)(e, source, op, conv)
    own = node_names(source)
    names = [n for n in node_names(op) if n not in own]
    first = op.first_type
    bounded = (op.lo.value.data, op.hi.value.data) != (first.low, first.high)
    x = e.clamp(x, op.lo.value.data, op.hi.value.data, first, names[0] if names else f"{main_name(op)}/clamp")
    x = e.graph.quantised(x, first, conv)
    # Of the nodes fused here, the activation function before the addition comes first.
    if names and (bounded or not first.signed or op.table is not None):
        activation = names.pop(0)
    else:
        activation = f"{main_name(op)}/activation"
    if op.table is not None:
        x = e.lookup(op, x, op.table.array, first, op.mid_type, activation)
    if op.residual is None:
        return x
    scales = op.mid_type.scale, esc.q_of(op.residual).scale
    return e.add(op, op, [x, e.values[op.residual]], scales, esc.q_of(op.output), names)


def add(e: OnnxEmitter, op: esc.AddOp) -> str:
    """Add, with its clamp."""
    operands = [e.values[op.lhs], e.values[op.rhs]]
    scales = esc.q_of(op.lhs).scale, esc.q_of(op.rhs).scale
    return e.add(op, op, operands, scales, esc.q_of(op.output), list(node_names(op)))


def multiply(e: OnnxEmitter, op: esc_products.MulOp) -> str:
    """Mul, with its clamp."""
    return e.multiply(op, esc.q_of(op.output))


def look_up(e: OnnxEmitter, op: esc.LookupOp) -> str:
    """The elementwise function that the table is."""
    return e.lookup(op, e.values[op.input], op.table.array, esc.q_of(op.input), esc.q_of(op.output))
