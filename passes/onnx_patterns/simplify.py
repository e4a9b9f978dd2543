"""Operations that do nothing, constants, bounds, chains of slices."""

from __future__ import annotations

import math

import numpy as np
from xdsl.ir import Operation
from xdsl.pattern_rewriter import PatternRewriter, RewritePattern, op_type_rewrite_pattern

from dialects import onnx
from dialects.attributes import ints
from dialects.onnx import shape_of
from passes.onnx_patterns.common import constant_array, float_constant, producer, replace

_WITH_BIAS = (onnx.ConvOp, onnx.GemmOp)
"""Operations whose third operand is a bias."""


class DropNoOps(RewritePattern):
    """Identity, Dropout, Clip without bounds, Pad by nothing: the input itself."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        match op:
            case onnx.IdentityOp() | onnx.DropoutOp():
                source = op.input
            case onnx.ClipOp() if op.min is None and op.max is None:
                source = op.input
            case onnx.PadOp() if not any(ints(op.pads)):
                source = op.input
            case _:
                return
        replace(rewriter, op, [], value=source)


class DropStepsOfSoftmax(RewritePattern):
    """QuantizeLinear and DequantizeLinear of the probabilities of a Softmax: these themselves, if all of them are
    stored to within a step. The host computes them in floating point.
    """

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: onnx.DequantizeLinearOp, rewriter: PatternRewriter) -> None:
        quantize = producer(op.input)
        if not isinstance(quantize, onnx.QuantizeLinearOp) or op.scale.array.ndim or quantize.scale != op.scale:
            return
        softmax = producer(quantize.input)
        if not isinstance(softmax, onnx.SoftmaxOp) or softmax.logarithm is not None:
            return
        ends = quantize.compute([np.asarray([0, 1], np.float32)])
        steps = np.abs(op.compute([ends]) - [0, 1]) / op.scale.array
        if np.all(steps <= 1.01):  # 1 is stored as 255/256
            replace(rewriter, op, [], value=softmax.output)


class FoldConstants(RewritePattern):
    """An operation on constants alone is a constant. Dequantised 8-bit weights stay: quantisation reads them. Biases do
    not, of however many bits.
    """

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        if not isinstance(op, onnx.OnnxOp) or isinstance(op, onnx.ConstantOp) or not op.operands:
            return
        if isinstance(op, onnx.DequantizeLinearOp):
            value = constant_array(op.output)
            biases = all(isinstance(u.operation, _WITH_BIAS) and u.index == 2 for u in op.output.uses)
            if value is not None and (biases or onnx.element_of(op.input) == onnx.i32):
                replace(rewriter, op, [float_constant(value, op)])
            return
        arrays = [array for o in op.operands if (array := constant_array(o)) is not None]
        if len(arrays) == len(op.operands):
            replace(rewriter, op, [onnx.ConstantOp(np.ascontiguousarray(op.compute(arrays)))])


class ClipToRelu(RewritePattern):
    """Clip from 0 up, LeakyRelu with slope 0: Relu."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        match op:
            case onnx.ClipOp() if op.low == 0 and op.high == math.inf:
                replace(rewriter, op, [onnx.ReluOp(op.input)])
            case onnx.LeakyReluOp() if op.alpha.value.data == 0:
                replace(rewriter, op, [onnx.ReluOp(op.input)])
            case _:
                return


class MergeSlices(RewritePattern):
    """Slice of Slice: one Slice."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: onnx.SliceOp, rewriter: PatternRewriter) -> None:
        first = producer(op.input)
        if not isinstance(first, onnx.SliceOp):
            return
        bounds: dict[int, tuple[int, int]] = dict.fromkeys((*ints(first.axes), *ints(op.axes)), (0, 1))
        for part in (first, op):
            for start, axis, step in zip(ints(part.starts), ints(part.axes), ints(part.steps), strict=True):
                offset, stride = bounds[axis]
                bounds[axis] = (offset + start * stride, stride * step)
        shape = shape_of(op.output)
        axes = sorted(bounds)
        starts = [bounds[a][0] for a in axes]
        steps = [bounds[a][1] for a in axes]
        ends = [s + (shape[a] - 1) * st + 1 for s, a, st in zip(starts, axes, steps, strict=True)]
        replace(rewriter, op, [onnx.SliceOp(first.input, starts, ends, axes, steps)], first)


PATTERNS: tuple[RewritePattern, ...] = (DropNoOps(), DropStepsOfSoftmax(), FoldConstants(), ClipToRelu(), MergeSlices())
