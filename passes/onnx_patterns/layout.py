"""Transpose: pairs around NHWC regions sink and cancel; one that moves no data becomes Reshape."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from xdsl.ir import Operation, SSAValue
from xdsl.pattern_rewriter import PatternRewriter, RewritePattern, op_type_rewrite_pattern

from dialects import onnx
from dialects.attributes import i64_array, integer, ints
from dialects.onnx import shape_of
from passes.onnx_patterns.common import Elementwise, constant_array, float_constant, producer, replace


def inverse(perm: Sequence[int]) -> tuple[int, ...]:
    """The permutation that undoes `perm`."""
    return tuple(int(i) for i in np.argsort(perm))


class MergeTransposes(RewritePattern):
    """Transpose of Transpose is one; one that keeps the order of all axes longer than 1 is Reshape, or nothing."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: onnx.TransposeOp, rewriter: PatternRewriter) -> None:
        shape, perm = shape_of(op.input), ints(op.perm)
        moved = [p for p in perm if shape[p] > 1]
        if perm == tuple(range(len(perm))):
            replace(rewriter, op, [], value=op.input)
        elif moved == sorted(moved):
            replace(rewriter, op, [onnx.ReshapeOp(op.input, shape_of(op.output))])
        else:
            first = producer(op.input)
            if isinstance(first, onnx.TransposeOp):
                before = ints(first.perm)
                replace(rewriter, op, [onnx.TransposeOp(first.input, [before[p] for p in perm])], first)


def _transposed(value: SSAValue) -> onnx.TransposeOp | None:
    op = producer(value)
    return op if isinstance(op, onnx.TransposeOp) else None


class SinkTranspose(RewritePattern):
    """f(transpose(x)) -> transpose(f(x)) for elementwise f."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        chain = Elementwise.of(op)
        transpose = None if chain is None else _transposed(chain.source)
        if chain is None or transpose is None:
            return
        new, value = chain.on(transpose.input)
        replace(rewriter, op, [*new, transpose.on([value])])


class SinkTransposeOfArithmetic(RewritePattern):
    """Add, Sub, Mul or Div of two tensors transposed alike, or of a transposed one and a constant."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        if not isinstance(op, onnx.BinaryOp):
            return
        transpose = _transposed(op.lhs) or _transposed(op.rhs)
        if transpose is None or shape_of(op.output) != shape_of(transpose.output):
            return
        perm, operands, constants = ints(transpose.perm), list[SSAValue](), list[Operation]()
        for value in (op.lhs, op.rhs):
            other, array = _transposed(value), constant_array(value)
            if other is not None and ints(other.perm) == perm:
                operands.append(other.input)
            elif array is not None and array.ndim <= len(perm):
                source = producer(value)
                assert source is not None
                aligned = array.reshape((1,) * (len(perm) - array.ndim) + array.shape)
                constants.append(float_constant(aligned.transpose(inverse(perm)), source))
                operands.append(constants[-1].results[0])
            else:
                return
        again = op.on(operands)
        replace(rewriter, op, [*constants, again, transpose.on([again.output])])


class SinkTransposeOfConcat(RewritePattern):
    """Concat of tensors transposed alike."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: onnx.ConcatOp, rewriter: PatternRewriter) -> None:
        transposes = [t for t in map(_transposed, op.inputs) if t is not None]
        if len(transposes) != len(op.inputs) or len({ints(t.perm) for t in transposes}) != 1:
            return
        perm = ints(transposes[0].perm)
        again = op.on([t.input for t in transposes], {"axis": integer(perm[op.axis.value.data])})
        replace(rewriter, op, [again, transposes[0].on([again.output])])


class SinkTransposeOfMovement(RewritePattern):
    """Pad, Slice, Softmax and ReduceMean of a transposed tensor."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        if not isinstance(op, onnx.PadOp | onnx.SliceOp | onnx.SoftmaxOp | onnx.ReduceMeanOp):
            return
        transpose = _transposed(op.input)
        if transpose is None:
            return
        perm, x = ints(transpose.perm), transpose.input
        rank = len(perm)
        back = list(perm)
        match op:
            case onnx.PadOp():
                pads = ints(op.pads)
                undo = inverse(perm)
                again = op.on(
                    [x], {"pads": i64_array([pads[side + undo[i]] for side in (0, rank) for i in range(rank)])}
                )
            case onnx.SliceOp():
                rows = zip(ints(op.axes), ints(op.starts), ints(op.ends), ints(op.steps), strict=True)
                axes, starts, ends, steps = zip(*sorted((perm[a], s, e, st) for a, s, e, st in rows), strict=True)
                again = onnx.SliceOp(x, starts, ends, axes, steps)
            case onnx.SoftmaxOp():
                again = op.on([x], {"axis": integer(perm[op.axis.value.data])})
            case onnx.ReduceMeanOp():
                axes = sorted(perm[a] for a in ints(op.axes))
                again = op.on([x], {"axes": i64_array(axes)})
                if not op.keepdims.value.data:
                    kept = [p for p in perm if p not in axes]
                    back = [sorted(kept).index(p) for p in kept]
        again.location = op.location
        final = onnx.TransposeOp(again.results[0], back)
        final.location = transpose.location
        replace(rewriter, op, [again, final])


PATTERNS: tuple[RewritePattern, ...] = (
    MergeTransposes(),
    SinkTranspose(),
    SinkTransposeOfArithmetic(),
    SinkTransposeOfConcat(),
    SinkTransposeOfMovement(),
)
