"""Comparisons, the logic of truths, and Where: functions of one number wherever they depend on one tensor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from xdsl.ir import SSAValue

from dialects import onnx
from dialects.expressions import parse
from dialects.onnx_choices import EqualOp, GreaterOp, GreaterOrEqualOp, LessOp, LessOrEqualOp, WhereOp
from dialects.onnx_expression import ExpressionOp, MaxOp
from escc.onnx_import import constraints as c
from escc.onnx_import.emitting import Emitter, OnMaps, Operator
from escc.onnx_import.node import Node, Value, is_float

TRUTHS = ("And", "Equal", "Greater", "GreaterOrEqual", "IsInf", "IsNaN", "Less", "LessOrEqual", "Not", "Or", "Xor")
"""Operators whose results are truths: 1 and 0 here, which no output may be."""


def _of_floats(node: Node) -> Node:
    """Constant truths among the inputs as 1 and 0."""
    return replace(node, inputs=[None if v is None else _as_float(v) for v in node.inputs])


def _as_float(value: Value) -> Value:
    if value.const is None or is_float(value.const.dtype):
        return value
    return Value.constant(value.name, value.const.astype(np.float32), value.origin)


def _two(op: Callable[[SSAValue, SSAValue], onnx.OnnxOp]) -> Callable[[Emitter, Node], SSAValue]:
    def convert(e: Emitter, n: Node) -> SSAValue:
        n = _of_floats(n)
        return e.emit(n, op(e.operand(n, 0), e.operand(n, 1)))

    return convert


def _where(e: Emitter, n: Node) -> SSAValue:
    n = _of_floats(n)
    return e.emit(n, WhereOp(*(e.operand(n, i) for i in range(3))))


def _not(e: Emitter, n: Node) -> SSAValue:
    return e.emit(n, ExpressionOp.of(e.operand(n, 0), parse("Sub(1.0, x)")))


def computed_are_floats_or_truths(node: Node) -> str | None:
    """Floating point, or truths that are computed from such"""
    for value in node.inputs:
        if value is None or not value.is_activation or value.dtype is None or value.dtype.name == "bool":
            continue
        if not is_float(value.dtype):
            return f"input '{value.name}' has type {value.dtype}; requires float"
    return None


_CHECKS = (computed_are_floats_or_truths, c.constants_are_per_channel)

OPERATORS: Mapping[str, Operator] = {
    "And": Operator(_two(onnx.MulOp), _CHECKS),
    "Equal": Operator(_two(EqualOp), _CHECKS, on_maps=OnMaps.BROADCAST),
    "Greater": Operator(_two(GreaterOp), _CHECKS, on_maps=OnMaps.BROADCAST),
    "GreaterOrEqual": Operator(_two(GreaterOrEqualOp), _CHECKS, on_maps=OnMaps.BROADCAST),
    "Less": Operator(_two(LessOp), _CHECKS, on_maps=OnMaps.BROADCAST),
    "LessOrEqual": Operator(_two(LessOrEqualOp), _CHECKS, on_maps=OnMaps.BROADCAST),
    "Not": Operator(_not, (computed_are_floats_or_truths,)),
    "Or": Operator(_two(MaxOp), _CHECKS),
    "Where": Operator(_where, _CHECKS, on_maps=OnMaps.BROADCAST),
}
"""Operators by their names in ONNX."""
