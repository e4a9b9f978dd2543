"""Whatever depends element by element on one tensor is one function of one number, and so one table.

`x * sigmoid(x)`, `x * clip(x + 3, 0, 6) / 6`, `0.5 * x * (1 + erf(x / sqrt(2)))`: however a model spells an activation
function, it becomes one `onnx.Expression`. Quantisation in between is a part of the function.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from xdsl.ir import Operation, SSAValue
from xdsl.pattern_rewriter import PatternRewriter, RewritePattern

from dialects import expressions, onnx
from dialects.expressions import Expression, X
from dialects.onnx import shape_of
from dialects.onnx_choices import OF_SEVERAL
from dialects.onnx_elementwise import ScalarOp
from dialects.onnx_expression import ExpressionOp, MaxOp, MinOp, TableOp
from passes.onnx_patterns.common import Elementwise, constant_array, producer, replace

_DEPTH = 64
"""Operations that are looked through, one behind the other."""
_AFFINE = (onnx.AddOp, onnx.SubOp, onnx.MulOp, onnx.DivOp)


@dataclass(frozen=True)
class ElementStep:
    """One operation as a function of the numbers that it reads; `ops` are what computes it from these."""

    operands: tuple[SSAValue, ...]
    call: Callable[..., Expression]
    ops: tuple[Operation, ...]

    @classmethod
    def of(cls, op: Operation | None) -> ElementStep | None:
        """The step that an operation is; None if it does not work element by element on tensors of one shape."""
        if isinstance(op, OF_SEVERAL):
            return _of_several(op)
        chain = None if op is None else Elementwise.of(op)
        if chain is None or op is None:
            return None
        match op:
            case ExpressionOp():
                return cls((chain.source,), op.parsed.on, chain.ops)
            case TableOp():
                return None
            case ScalarOp() if expressions.is_known(op.FUNCTION):
                return cls((chain.source,), _call(op.FUNCTION.name, op.parameters), chain.ops)
            case onnx.DequantizeLinearOp():
                return cls((chain.source,), _rounding(op), chain.ops)
            case onnx.IdentityOp() | onnx.DropoutOp():
                return cls((chain.source,), _same, chain.ops)
            case _:
                return None


def _same(x: Expression) -> Expression:
    return x


def _call(name: str, parameters: Mapping[str, float]) -> Callable[[Expression], Expression]:
    return lambda x: Expression(name, (x,), parameters)


def _rounding(op: onnx.DequantizeLinearOp) -> Callable[[Expression], Expression]:
    low, high = (-128.0, 127.0) if op.zero_point.array.dtype == np.int8 else (0.0, 255.0)
    scale, zero = float(op.scale.array.reshape(())), float(op.zero_point.array.reshape(()))
    parameters = {"scale": scale, "zero_point": zero, "low": low, "high": high}
    return _call("Quantize", parameters)


def _of_several(op: Operation) -> ElementStep | None:
    """Arithmetic of tensors of one shape and numbers."""
    name, computed = op.name.removeprefix("onnx."), list[SSAValue]()
    numbers: list[Expression | None] = []
    for value in op.operands:
        array = constant_array(value)
        if array is None:
            computed.append(value)
            numbers.append(None)
        elif array.size == 1:
            numbers.append(expressions.number(float(array.reshape(()))))
        else:
            return None
    if not computed or any(shape_of(value) != shape_of(op.results[0]) for value in computed):
        return None

    def call(*operands: Expression) -> Expression:
        given = iter(operands)
        return Expression(name, tuple(next(given) if n is None else n for n in numbers))

    return ElementStep(tuple(computed), call, (op,))


def _sources(value: SSAValue, depth: int = _DEPTH) -> list[SSAValue]:
    """Values that a value is a function of one number of, itself first, then those ever further up."""
    step = ElementStep.of(producer(value)) if depth else None
    if step is None:
        return [value]
    return [value, *_common([_sources(operand, depth - 1) for operand in step.operands])]


def _common(paths: list[list[SSAValue]]) -> list[SSAValue]:
    return [value for value in paths[0] if all(value in path for path in paths[1:])]


@dataclass
class _Region:
    """What lies between a source and a value: the function, and the operations that compute it."""

    source: SSAValue
    ops: dict[Operation, None]

    def expression(self, value: SSAValue) -> Expression:
        if value == self.source:
            return X
        op = producer(value)
        step = ElementStep.of(op)
        assert op is not None and step is not None
        self.ops.update(dict.fromkeys(step.ops))
        return step.call(*(self.expression(operand) for operand in step.operands))


def _fuse(op: Operation, source: SSAValue, rewriter: PatternRewriter) -> None:
    """Replace an operation by one function of `source`, unless that becomes too long to write down."""
    region = _Region(source, {})
    expression = region.expression(op.results[0])
    if expression.size > expressions.MAX_SIZE:
        return
    inner = [o for o in region.ops if o is not op and all(u.operation in region.ops for u in o.results[0].uses)]
    replace(rewriter, op, [ExpressionOp.of(source, expression)], *inner)


class FuseArithmetic(RewritePattern):
    """Arithmetic of several functions of one tensor: one function of it."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        step = ElementStep.of(op) if isinstance(op, OF_SEVERAL) else None
        if step is None or len(step.operands) < 2:
            return
        shared = _common([_sources(operand) for operand in step.operands])
        if shared:
            _fuse(op, shared[0], rewriter)


class NumberArithmetic(RewritePattern):
    """Arithmetic of a tensor and a number that is no scaling: a clamp, or a function."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        step = ElementStep.of(op) if isinstance(op, OF_SEVERAL) else None
        if step is None or len(step.operands) != 1:
            return
        if not isinstance(op, onnx.BinaryOp):
            _fuse(op, step.operands[0], rewriter)
            return
        array = constant_array(op.lhs) if step.operands[0] == op.rhs else constant_array(op.rhs)
        assert array is not None
        bound = float(array.reshape(()))
        match op:
            case MaxOp():
                replace(rewriter, op, [onnx.ClipOp.of(step.operands[0], bound, math.inf)])
            case MinOp():
                replace(rewriter, op, [onnx.ClipOp.of(step.operands[0], -math.inf, bound)])
            case onnx.DivOp() if step.operands[0] == op.lhs:
                return
            case onnx.AddOp() | onnx.SubOp() | onnx.MulOp():
                return
            case _:
                _fuse(op, step.operands[0], rewriter)


class FuseBehind(RewritePattern):
    """A function, or arithmetic with a number, of a function that nothing else reads: one function.

    A scaling is left to the convolution that alone reads it.
    """

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        step = ElementStep.of(op)
        if step is None or len(step.operands) != 1 or isinstance(op, onnx.DequantizeLinearOp):
            return
        first = producer(step.operands[0])
        if first is None or not first.results[0].has_one_use():
            return
        inner = ElementStep.of(first)
        if inner is None or len(inner.operands) != 1 or isinstance(first, onnx.DequantizeLinearOp):
            return
        if _worth_it(first, op):
            _fuse(op, inner.operands[0], rewriter)


def _worth_it(first: Operation, op: Operation) -> bool:
    """Whether two steps should be one. Two plain functions stay: tables are composed later, and clamps cost nothing."""
    if isinstance(first, ExpressionOp):
        return True
    if isinstance(op, _AFFINE):
        convolved = all(isinstance(u.operation, onnx.ConvOp) for u in op.results[0].uses)
        return isinstance(first, ScalarOp) and not convolved
    if isinstance(first, _AFFINE):
        return isinstance(op, ScalarOp) and not isinstance(_scaled_by(first), _SCALERS)
    return isinstance(op, ExpressionOp) and isinstance(first, ScalarOp)


def _scaled_by(op: Operation) -> Operation | None:
    step = ElementStep.of(op)
    return None if step is None else producer(step.operands[0])


_SCALERS = (onnx.ConvOp, onnx.BatchNormalizationOp, onnx.GemmOp, onnx.MatMulOp)
"""Operations that take a scaling behind them into their weights."""

PATTERNS: tuple[RewritePattern, ...] = (FuseArithmetic(), NumberArithmetic(), FuseBehind())
