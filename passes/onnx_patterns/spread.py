"""Two tensors of which one is spread over the other, maxima of two tensors, and means over channels.

These come last: what is a function of one tensor, and what a transpose goes through, is known by then.
"""

from __future__ import annotations

import numpy as np
from xdsl.ir import Operation, SSAValue
from xdsl.pattern_rewriter import PatternRewriter, RewritePattern, op_type_rewrite_pattern

from dialects import onnx
from dialects.attributes import ints
from dialects.expressions import Expression, X, number
from dialects.onnx import shape_of
from dialects.onnx_choices import ChoiceOp, WhereOp
from dialects.onnx_expression import ExpressionOp, MaxOp, MinOp
from dialects.onnx_pools import most_of_blocks
from dialects.onnx_positions import DepthToSpaceOp, TakeOp
from dialects.onnx_shapes import map_axes
from isa.reference import map_shape
from passes.onnx_patterns.affine import channel_values
from passes.onnx_patterns.common import constant_array, float_constant, producer, replace

_TWO = (onnx.AddOp, onnx.MulOp, MaxOp, MinOp)


def _ones(inputs: int, outputs: int, scale: float) -> list[Operation]:
    """Weights [outputs, inputs, 1, 1] that all are `scale`, as exact integers."""
    integers = onnx.ConstantOp(np.ones((outputs, inputs, 1, 1), np.int8))
    steps = np.asarray(scale, np.float32), np.zeros((), np.int8)
    return [integers, onnx.DequantizeLinearOp(integers.output, *steps, axis=0)]


def _spread(x: SSAValue, shape: tuple[int, ...]) -> tuple[list[Operation], SSAValue]:
    """A map repeated along the axes where it has extent 1."""
    new: list[Operation] = []
    _, c, h, w = shape_of(x)
    if (h, w) != shape[2:]:
        rows, columns = ([0] * out if size == 1 else range(out) for size, out in zip((h, w), shape[2:], strict=True))
        new.append(TakeOp(x, rows, columns))
        x = new[-1].results[0]
    if c != shape[1]:
        weights = _ones(1, shape[1], 1.0)
        new += [*weights, onnx.ConvOp(x, weights[-1].results[0])]
    return new, new[-1].results[0]


def _repeats(x: SSAValue) -> tuple[SSAValue, list[Operation]]:
    """What a map was repeated from along axes where that has extent 1, and the operations that repeat it."""
    steps = list[Operation]()
    while isinstance(op := producer(x), TakeOp | onnx.ConcatOp):
        if isinstance(op, onnx.ConcatOp):
            source = op.inputs[0]
            if op.axis.value.data != 1 or shape_of(source)[1] != 1 or len(set(op.inputs)) != 1:
                break
        else:
            source = op.input
            taken = zip(shape_of(source)[2:], (ints(op.rows), ints(op.columns)), strict=True)
            if any(size > 1 and indices != tuple(range(size)) for size, indices in taken):
                break
        steps.append(op)
        x = source
    return x, steps


class RepeatedFactor(RewritePattern):
    """A factor that was repeated along axes where it had extent 1 is as it was: the product repeats it."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: onnx.MulOp, rewriter: PatternRewriter) -> None:
        shape = shape_of(op.output)
        if len(shape) != 4 or any(constant_array(x) is not None for x in op.operands):
            return
        for i, other in ((0, op.rhs), (1, op.lhs)):
            source, steps = _repeats(op.operands[i])
            if steps and shape_of(other) == shape:
                factors = [other, other]
                factors[i] = source
                replace(rewriter, op, [op.on(factors)], *steps)
                return


class SpreadOperand(RewritePattern):
    """An operation of two maps, one of which has extent 1 along some axes: it is repeated; a factor is as it is."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        if not isinstance(op, _TWO) or any(constant_array(x) is not None for x in op.operands):
            return
        shape = shape_of(op.output)
        if len(shape) != 4 or any(len(shape_of(x)) != 4 for x in op.operands):
            return
        narrow = [i for i, x in enumerate(op.operands) if shape_of(x) != shape]
        if isinstance(op, onnx.MulOp):
            narrow = narrow[:-1]  # the product spreads one of them
        if not narrow:
            return
        new, operands = list[Operation](), list(op.operands)
        for i in narrow:
            made, operands[i] = _spread(operands[i], shape)
            new += made
        replace(rewriter, op, [*new, op.on(operands)])


class MaximumOfTwo(RewritePattern):
    """The maximum of two maps: both side by side as columns, and a pool over these."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: MaxOp, rewriter: PatternRewriter) -> None:
        shape = shape_of(op.output)
        if any(constant_array(x) is not None or shape_of(x) != shape for x in op.operands) or len(shape) != 4:
            return
        both = onnx.ConcatOp([op.lhs, op.rhs], 1)
        columns = DepthToSpaceOp(both.output, (1, 2))
        replace(rewriter, op, [both, columns, most_of_blocks(columns.output, (1, 2))])


class MinimumOfTwo(RewritePattern):
    """min(a, b) of two maps is -max(-a, -b)."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: MinOp, rewriter: PatternRewriter) -> None:
        if any(constant_array(x) is not None for x in op.operands) or len(shape_of(op.output)) != 4:
            return
        minus = Expression("Neg", (X,))
        negated = [ExpressionOp.of(x, minus) for x in op.operands]
        most = MaxOp(negated[0].output, negated[1].output)
        replace(rewriter, op, [*negated, most, ExpressionOp.of(most.output, minus)])


class BoundPerChannel(RewritePattern):
    """max(x, c) with one c for each channel is relu(x - c) + c; the minimum is c - relu(c - x)."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        if not isinstance(op, MaxOp | MinOp):
            return
        left, right = constant_array(op.lhs), constant_array(op.rhs)
        x, bound = (op.lhs, right) if right is not None else (op.rhs, left)
        shape = shape_of(op.output)
        values = None if bound is None or len(shape) != 4 or shape_of(x) != shape else channel_values(bound, shape)
        if values is None:
            return
        limit = float_constant(values.reshape(1, -1, 1, 1), op)
        if isinstance(op, MaxOp):
            above = onnx.SubOp(x, limit.output)
            cut = onnx.ReluOp(above.output)
            replace(rewriter, op, [limit, above, cut, onnx.AddOp(cut.output, limit.output)])
        else:
            below = onnx.SubOp(limit.output, x)
            cut = onnx.ReluOp(below.output)
            replace(rewriter, op, [limit, below, cut, onnx.SubOp(limit.output, cut.output)])


class QuotientOfTwo(RewritePattern):
    """a / b of two tensors is a * (1 / b)."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: onnx.DivOp, rewriter: PatternRewriter) -> None:
        if any(constant_array(x) is not None for x in op.operands):
            return
        inverse = ExpressionOp.of(op.rhs, Expression("Reciprocal", (X,)))
        replace(rewriter, op, [inverse, onnx.MulOp(op.lhs, inverse.output)])


class ComparisonOfTwo(RewritePattern):
    """A comparison of two tensors is one of their difference with 0."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        if not isinstance(op, ChoiceOp) or all(constant_array(x) is not None for x in op.operands):
            return
        apart = onnx.SubOp(op.lhs, op.rhs)
        relation = Expression(op.relation, (X, number(0.0)))
        replace(rewriter, op, [apart, ExpressionOp.of(apart.output, relation)])


class ChoiceOfTwo(RewritePattern):
    """where(c, a, b) of a truth c is c * a + (1 - c) * b."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: WhereOp, rewriter: PatternRewriter) -> None:
        if constant_array(op.condition) is not None:
            return
        other = ExpressionOp.of(op.condition, Expression("Sub", (number(1.0), X)))
        first, second = onnx.MulOp(op.condition, op.lhs), onnx.MulOp(other.output, op.rhs)
        replace(rewriter, op, [other, first, second, onnx.AddOp(first.output, second.output)])


class MeanOfChannels(RewritePattern):
    """ReduceMean over C, perhaps over H and W too: a 1x1 Conv whose weights are equal, then the rest."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: onnx.ReduceMeanOp, rewriter: PatternRewriter) -> None:
        shape, axes = shape_of(op.input), ints(op.axes)
        if len(shape) != 4 or 1 not in axes or 0 in axes or isinstance(producer(op.input), onnx.TransposeOp):
            return
        weights = _ones(shape[1], 1, 1 / shape[1])
        mean = onnx.ConvOp(op.input, weights[-1].results[0])
        new, value = [*weights, mean], mean.output
        if rest := [a for a in axes if a != 1]:
            new.append(onnx.ReduceMeanOp(value, rest, True))
            value = new[-1].results[0]
        if shape_of(value) != shape_of(op.output):
            new.append(onnx.ReshapeOp(value, shape_of(op.output)))
        replace(rewriter, op, new)


class ConcatOfPositions(RewritePattern):
    """Maps side by side in rows or columns: the sum of all, each with zeros in the places of the others."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: onnx.ConcatOp, rewriter: PatternRewriter) -> None:
        axis, shape = op.axis.value.data, shape_of(op.output)
        if len(shape) != 4 or axis < 2 or any(constant_array(x) is not None for x in op.inputs):
            return
        new, first, total = list[Operation](), 0, None
        for x in op.inputs:
            pads = [0] * 8
            pads[axis], pads[axis + 4] = first, shape[axis] - first - shape_of(x)[axis]
            first += shape_of(x)[axis]
            new.append(onnx.PadOp(x, pads))
            if total is not None:
                new.append(onnx.AddOp(total, new[-1].results[0]))
            total = new[-1].results[0]
        replace(rewriter, op, new)


class MeanOnMap(RewritePattern):
    """ReduceMean of a tensor of another rank than 4 is one of a map."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: onnx.ReduceMeanOp, rewriter: PatternRewriter) -> None:
        shape, reduced = shape_of(op.input), ints(op.axes)
        axes = map_axes(len(shape), reduced)
        if len(shape) == 4 or axes is None or 0 in axes or isinstance(producer(op.input), onnx.TransposeOp):
            return
        source = onnx.ReshapeOp(op.input, map_shape(shape))
        mean = onnx.ReduceMeanOp(source.output, axes, True)
        replace(rewriter, op, [source, mean, onnx.ReshapeOp(mean.output, shape_of(op.output))])


PATTERNS: tuple[RewritePattern, ...] = (
    RepeatedFactor(),
    SpreadOperand(),
    MaximumOfTwo(),
    MinimumOfTwo(),
    BoundPerChannel(),
    QuotientOfTwo(),
    ComparisonOfTwo(),
    ChoiceOfTwo(),
    MeanOfChannels(),
    MeanOnMap(),
    ConcatOfPositions(),
)
