"""Operators that become functions of one number written as text, and arithmetic that only such functions contain."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import cast

import numpy as np
from onnx import TensorProto
from xdsl.dialects.builtin import f32, i64
from xdsl.ir import SSAValue

from dialects import expressions, onnx
from dialects.expressions import Expression, X, number
from dialects.onnx_expression import ExpressionOp, MaxOp, MinOp, PowOp, TableOp
from dialects.scalar_functions import MORE_FUNCTIONS
from escc.onnx_import import constraints as c
from escc.onnx_import.emitting import Emitter, OnMaps, Operator
from escc.onnx_import.node import Node, Value, is_float, text
from escc.onnx_import.positions import pick, picks_from_a_map


def _gelu(n: Node) -> Expression:
    if n.attr("approximate", "none") == "tanh":
        inner = expressions.parse("Mul(0.7978845608028654, Add(x, Mul(0.044715, Mul(x, Mul(x, x)))))")
        outer = Expression("Tanh", (inner,))
    else:
        outer = Expression("Erf", (Expression("Mul", (X, number(math.sqrt(0.5)))),))
    return Expression("Mul", (Expression("Mul", (number(0.5), X)), Expression("Add", (number(1.0), outer))))


def _swish(n: Node) -> Expression:
    return Expression("Mul", (X, Expression("Sigmoid", (Expression("Mul", (number(n.attr("alpha", 1.0)), X)),))))


def _shrink(n: Node) -> Expression:
    bias, least = float(n.attr("bias", 0.0)), float(n.attr("lambd", 0.5))
    above = Expression("ThresholdedRelu", (X,), {"alpha": least})
    below = Expression("ThresholdedRelu", (Expression("Neg", (X,)),), {"alpha": least})
    # The sign of what is left, times the bias.
    kept = Expression("Sub", (above, below))
    return Expression("Sub", (kept, Expression("Mul", (number(bias), Expression("Sign", (kept,))))))


def _emit(make: Callable[[Node], Expression]) -> Callable[[Emitter, Node], SSAValue]:
    return lambda e, n: e.emit(n, ExpressionOp.of(e.operand(n, 0), make(n)))


def _named(name: str, parameters: Mapping[str, float]) -> Callable[[Node], Expression]:
    return lambda n: Expression(name, (X,), {p: float(n.attr(p, v)) for p, v in parameters.items()})


def _chain(op: type[onnx.BinaryOp]) -> Callable[[Emitter, Node], SSAValue]:
    def convert(e: Emitter, n: Node) -> SSAValue:
        total = e.operand(n, 0)
        for i in range(1, len(n.inputs)):
            total = e.emit(n, op(total, e.operand(n, i)))
        return total if len(n.inputs) > 1 else e.emit(n, onnx.IdentityOp(total))

    return convert


def _pow(e: Emitter, n: Node) -> SSAValue:
    """The exponent may be an integer, whatever the base is."""
    base, exponent = n.inputs
    if exponent is not None and exponent.const is not None and not is_float(exponent.const.dtype):
        exponent = Value.constant(exponent.name, exponent.const.astype(np.float32), exponent.origin)
    return _chain(cast("type[onnx.BinaryOp]", PowOp))(e, replace(n, inputs=[base, exponent]))


def _prelu(e: Emitter, n: Node) -> SSAValue:
    """One slope is LeakyRelu; several are slope * x + (1 - slope) * relu(x), two scalings of each channel."""
    slope = n.const(1)
    assert slope is not None
    x = e.operand(n, 0)
    if slope.size == 1:
        return e.emit(n, onnx.LeakyReluOp(x, {"alpha": onnx.float_attr(float(slope.reshape(())))}))
    slopes = slope.astype(np.float32)
    positive = e.emit(n, onnx.ReluOp(x))
    below = e.emit(n, onnx.MulOp(x, e.constant(n, slopes)))
    return e.emit(n, onnx.AddOp(below, e.emit(n, onnx.MulOp(positive, e.constant(n, 1 - slopes)))))


def _cast(e: Emitter, n: Node) -> SSAValue:
    """A Cast between floats, or of the indices of an ArgMax, becomes Identity. Integers of a QuantizeLinear pass
    unchanged: a table is indexed by them.
    """
    x = e.operand(n, 0)
    return e.emit(n, onnx.IdentityOp(x)) if onnx.element_of(x) in (f32, i64) else x


def _gather(e: Emitter, n: Node) -> SSAValue:
    """A table indexed by the integers of QuantizeLinear, as a function of the real numbers that these stand for; or
    indices of a map.
    """
    data = n.input(0)
    if data is not None and data.is_computed:
        return pick(e, n)
    stored = e.operand(n, 1)
    quantize, table = stored.owner, n.const(0)
    assert table is not None
    if not isinstance(quantize, onnx.QuantizeLinearOp) or quantize.scale.array.ndim or quantize.zero_point.array:
        raise ValueError("indices do not come from QuantizeLinear; requires those of one scale, with zero point 0")
    scale, zero = quantize.scale.array, quantize.zero_point.array
    real = e.emit(n, onnx.DequantizeLinearOp(stored, scale, zero))
    return e.emit(n, TableOp.of(real, table, float(scale), zero.dtype == np.int8))


def is_cast_of_floats_or_indices(node: Node) -> str | None:
    """Converts between floats, or the result of QuantizeLinear (for Gather) or ArgMax to int32 or int64
    (converting constants is always possible)
    """
    value = node.input(0)
    if value is None or value.dtype is None or is_float(value.dtype) or value.dtype.name == "bool":
        return c.cast_is_between_floats(node)
    to = int(node.attr("to", 0))
    if value.is_indices:
        integers = to in (TensorProto.INT32, TensorProto.INT64)
        return None if integers else f"converts indices to element type {to}; requires int32 or int64"
    if value.dtype.name not in ("int8", "uint8") or to not in (TensorProto.INT32, TensorProto.INT64):
        return f"converts {value.dtype} to element type {to}; requires floating-point types, or int8 or uint8 to int32"
    return None


def gathers_from_a_table(node: Node) -> str | None:
    """A table of 256 numbers is indexed by the integers of QuantizeLinear; or constants index C, H or W of a map"""
    table, index = node.input(0), node.input(1)
    if table is None or index is None:
        return "has fewer than 2 inputs; requires 2"
    if table.is_computed:
        return c.float_inputs(replace(node, inputs=[table])) or picks_from_a_map(node)
    if (table.shape is not None and table.shape != (256,)) or int(node.attr("axis", 0)) != 0:
        return "picks from something else than a constant list of 256 numbers; requires such a table and axis=0"
    if table.dtype is not None and not is_float(table.dtype):
        return f"picks from a table of {table.dtype}; requires float"
    return None


def numbers_or_functions(node: Node) -> str | None:
    """One operand is a single number, or both depend element by element on one tensor; the base is floating point"""
    base = node.input(0)
    if base is not None and base.dtype is not None and not is_float(base.dtype):
        return f"raises {base.dtype} to a power; requires a floating-point base"
    for value in node.inputs:
        if value is not None and value.const is not None and value.const.size != 1:
            return f"constant operand of shape {text(value.const.shape)} unsupported; requires a single number"
    return None


def threshold_is_not_negative(node: Node) -> str | None:
    """lambd is not negative"""
    least = float(node.attr("lambd", 0.5))
    return f"lambd={least:g} unsupported; requires at least 0" if least < 0 else None


def slope_is_per_channel(node: Node) -> str | None:
    """The slope is a constant, single or per channel"""
    slope, shape = node.input(1), node.shape()
    if slope is None or slope.is_computed:
        return "slope is computed from the model's input; requires a constant"
    if slope.shape is None or shape is None:
        return None
    aligned = (1,) * (len(shape) - len(slope.shape)) + slope.shape
    if len(aligned) > len(shape) or any(d != 1 for i, d in enumerate(aligned) if i != 1):
        return f"slope of shape {text(slope.shape)} unsupported; requires one value, or one per channel"
    return None


_FLOAT = (c.float_inputs,)
_ARITHMETIC = (c.float_inputs, numbers_or_functions)
_BOUNDS = (c.float_inputs, c.constants_are_per_channel)
_COMPOSED: Mapping[str, Callable[[Node], Expression]] = {"Gelu": _gelu, "Swish": _swish}

OPERATORS: Mapping[str, Operator] = {
    **{f.name: Operator(_emit(_named(f.name, f.parameters)), _FLOAT) for f in MORE_FUNCTIONS},
    **{name: Operator(_emit(make), _FLOAT) for name, make in _COMPOSED.items()},
    "Cast": Operator(_cast, (is_cast_of_floats_or_indices,)),
    "Gather": Operator(_gather, (gathers_from_a_table,), on_maps=OnMaps.MOVEMENT),
    "Max": Operator(_chain(cast("type[onnx.BinaryOp]", MaxOp)), _BOUNDS, on_maps=OnMaps.BROADCAST),
    "Min": Operator(_chain(cast("type[onnx.BinaryOp]", MinOp)), _BOUNDS, on_maps=OnMaps.BROADCAST),
    "PRelu": Operator(_prelu, (c.float_inputs, slope_is_per_channel), on_maps=OnMaps.BROADCAST),
    "Shrink": Operator(_emit(_shrink), (c.float_inputs, threshold_is_not_negative)),
    "Pow": Operator(_pow, _ARITHMETIC),
}
"""Operators by their names in ONNX."""
