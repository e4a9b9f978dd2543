"""Flatten, Squeeze, Unsqueeze and Reshape: vectors become maps [1,C,1,1], what reshapes sinks to the outputs."""

from __future__ import annotations

from xdsl.ir import Operation
from xdsl.pattern_rewriter import PatternRewriter, RewritePattern, op_type_rewrite_pattern

from dialects import onnx
from dialects.attributes import integer
from dialects.onnx import shape_of
from dialects.onnx_arg_max import ArgMaxOp
from isa.reference import map_shape
from passes.onnx_patterns.common import Elementwise, constant_array, producer, replace

_SUMS = (onnx.BinaryOp,)
"""Operations of two tensors of which every element goes to its place."""


class ToReshape(RewritePattern):
    """Flatten, Squeeze and Unsqueeze are Reshape."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        if isinstance(op, onnx.FlattenOp | onnx.SqueezeOp | onnx.UnsqueezeOp):
            replace(rewriter, op, [onnx.ReshapeOp(op.input, shape_of(op.output))])


class MergeReshapes(RewritePattern):
    """Reshape of Reshape is one; Reshape to the same shape is none."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: onnx.ReshapeOp, rewriter: PatternRewriter) -> None:
        if shape_of(op.input) == shape_of(op.output):
            replace(rewriter, op, [], value=op.input)
            return
        first = producer(op.input)
        if isinstance(first, onnx.ReshapeOp):
            replace(rewriter, op, [onnx.ReshapeOp(first.input, shape_of(op.output))], first)


class ReshapeIntoArgMax(RewritePattern):
    """reshape(arg_max(x)) is one operation."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: onnx.ReshapeOp, rewriter: PatternRewriter) -> None:
        choice = producer(op.input)
        if isinstance(choice, ArgMaxOp):
            replace(rewriter, op, [choice.on([choice.input], {"shape": op.shape})], choice)


class SinkReshape(RewritePattern):
    """f(reshape(x)) -> reshape(f(x)) for elementwise f of a map x; what was made a map stays one."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        chain = Elementwise.of(op)
        if chain is None:
            return
        reshape = producer(chain.source)
        if not isinstance(reshape, onnx.ReshapeOp) or len(shape_of(reshape.input)) != 4:
            return
        new, value = chain.on(reshape.input)
        replace(rewriter, op, [*new, reshape.on([value])])


class SinkReshapesOfSum(RewritePattern):
    """reshape(x) + reshape(y) -> reshape(x + y) when x and y have one shape; products likewise."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        if not isinstance(op, _SUMS):
            return
        a, b = producer(op.lhs), producer(op.rhs)
        if not (isinstance(a, onnx.ReshapeOp) and isinstance(b, onnx.ReshapeOp)):
            return
        if shape_of(a.input) != shape_of(b.input) or shape_of(op.lhs) != shape_of(op.rhs):
            return
        if len(shape_of(a.input)) != 4:
            return  # what was made a map stays one
        total = op.on([a.input, b.input])
        replace(rewriter, op, [total, a.on([total.output])])


class VectorsAsMaps(RewritePattern):
    """An activation function, Add, Mul or Concat of tensors of other ranks than 4 works on maps (`map_shape`)."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        chain = Elementwise.of(op)
        if chain is not None:
            operands = [chain.source]
        elif isinstance(op, _SUMS) or (isinstance(op, onnx.ConcatOp) and op.axis.value.data == 1):
            operands = list(op.operands)
        else:
            return
        ranks = {len(shape_of(x)) for x in (*operands, op.results[0])}
        if len(ranks) != 1 or not ranks <= {1, 2, 3, 5} or any(shape_of(x)[0] != 1 for x in (*operands, op.results[0])):
            return
        if ranks == {1} and isinstance(op, onnx.ConcatOp):
            return
        if isinstance(op, _SUMS) and shape_of(op.lhs) != shape_of(op.rhs):
            return
        if any(constant_array(x) is not None for x in operands):
            return
        maps = [onnx.ReshapeOp(x, map_shape(shape_of(x))) for x in operands]
        if isinstance(op, (*_SUMS, onnx.ConcatOp)):
            again = op.on([m.output for m in maps])
            new, value = [again], again.output
        else:
            assert chain is not None
            new, value = chain.on(maps[0].output)
        replace(rewriter, op, [*maps, *new, onnx.ReshapeOp(value, shape_of(op.results[0]))])


class SoftmaxLast(RewritePattern):
    """reshape(softmax(x)) -> softmax(reshape(x)) when only the axis of the Softmax is longer than 1."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: onnx.ReshapeOp, rewriter: PatternRewriter) -> None:
        softmax = producer(op.input)
        if not isinstance(softmax, onnx.SoftmaxOp):
            return
        old, new, axis = shape_of(op.input), shape_of(op.output), softmax.axis.value.data
        if any(d != 1 for i, d in enumerate(old) if i != axis) or old[axis] not in new:
            return
        reshape = op.on([softmax.input])
        again = softmax.on([reshape.output], {"axis": integer(new.index(old[axis]))})
        replace(rewriter, op, [reshape, again])


PATTERNS: tuple[RewritePattern, ...] = (
    ToReshape(),
    MergeReshapes(),
    ReshapeIntoArgMax(),
    SinkReshape(),
    SinkReshapesOfSum(),
    VectorsAsMaps(),
    SoftmaxLast(),
)
