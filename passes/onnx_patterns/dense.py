"""Gemm and MatMul by a constant become Conv: 1x1 on vectors, of the map's size on a flattened map."""

from __future__ import annotations

import math

import numpy as np
from xdsl.ir import Operation
from xdsl.pattern_rewriter import PatternRewriter, RewritePattern, op_type_rewrite_pattern

from dialects import onnx
from dialects.attributes import ints
from dialects.onnx import shape_of
from passes.onnx_patterns.common import Weight, constant_array, float_constant, floats, producer, replace
from passes.onnx_patterns.layout import inverse


def _as_kernel(weight: Weight, transposed: bool) -> Weight:
    """Matrix [K,N] (or [N,K] when `transposed`) as 1x1 kernel [N,K,1,1]."""
    if transposed:
        return weight.with_data(weight.data[:, :, None, None], weight.axis)
    return weight.with_data(weight.data.T[:, :, None, None], 1 - weight.axis)


class GemmToConv(RewritePattern):
    """Gemm of a vector with constants: 1x1 Conv on [1,K,1,1]."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: onnx.GemmOp, rewriter: PatternRewriter) -> None:
        weight = Weight.of(op.rhs)
        bias = None if op.bias is None else constant_array(op.bias)
        rows, columns = shape_of(op.output)
        if weight is None or rows != 1 or (op.bias is not None and bias is None):
            return
        kernel = _as_kernel(weight, bool(op.transB.value.data)).scaled(np.full(columns, op.alpha.value.data))
        if kernel is None:
            real = float_constant(floats_of(weight) * op.alpha.value.data, *weight.sources)
            kernel = _as_kernel(Weight(real.value.array, None, None, 0, weight.sources), bool(op.transB.value.data))
        new, value = kernel.emit()
        x = onnx.ReshapeOp(op.lhs, (1, math.prod(shape_of(op.lhs)), 1, 1))
        bias_value = None
        if bias is not None and op.bias is not None:
            source = producer(op.bias)
            assert source is not None
            total = np.broadcast_to(floats(bias) * op.beta.value.data, (1, columns))
            new.append(float_constant(total.reshape(columns), source))
            bias_value = new[-1].results[0]
        conv = onnx.ConvOp(x.output, value, bias_value)
        replace(rewriter, op, [*new, x, conv, onnx.ReshapeOp(conv.output, (1, columns))])


def floats_of(weight: Weight) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Real numbers of a weight."""
    array = constant_array(weight.sources[-1].results[0])
    assert array is not None
    return floats(array)


class MatMulToConv(RewritePattern):
    """MatMul by a constant matrix: 1x1 Conv, of a vector [1,K] or of every position of a map [1,H,W,K]."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: onnx.MatMulOp, rewriter: PatternRewriter) -> None:
        weight, shape = Weight.of(op.rhs), shape_of(op.lhs)
        if weight is None or weight.data.ndim != 2 or shape[0] != 1 or len(shape) not in (2, 4):
            return
        new, value = _as_kernel(weight, transposed=False).emit()
        if len(shape) == 2:
            before: Operation = onnx.ReshapeOp(op.lhs, (*shape, 1, 1))
        else:
            before = onnx.TransposeOp(op.lhs, (0, 3, 1, 2))
        conv = onnx.ConvOp(before.results[0], value)
        if len(shape) == 2:
            after: Operation = onnx.ReshapeOp(conv.output, shape_of(op.output))
        else:
            after = onnx.TransposeOp(conv.output, (0, 2, 3, 1))
        replace(rewriter, op, [*new, before, conv, after])


class FlattenIntoKernel(RewritePattern):
    """1x1 Conv on a flattened map [1,C,H,W] (transposed before or not): a Conv with kernel HxW on the map itself."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: onnx.ConvOp, rewriter: PatternRewriter) -> None:
        reshape, weight = producer(op.input), Weight.of(op.weight)
        if not isinstance(reshape, onnx.ReshapeOp) or weight is None or op.group.value.data != 1:
            return
        if (
            shape_of(op.input)[0] != 1
            or shape_of(op.input)[2:] != (1, 1)
            or any(ints(op.pads))
            or ints(op.kernel_shape) != (1, 1)
        ):
            return
        x, perm = reshape.input, (0, 1, 2, 3)
        transpose = producer(x)
        if isinstance(transpose, onnx.TransposeOp) and len(ints(transpose.perm)) == 4:
            x, perm = transpose.input, ints(transpose.perm)
        shape = shape_of(reshape.input)
        if shape == shape_of(op.input):
            return
        if len(shape) != 4 or shape[0] != 1 or perm[0] != 0 or (weight.per_axis and weight.axis != 0):
            return
        m = weight.data.shape[0]
        data = weight.data.reshape(m, *shape[1:]).transpose(inverse(perm))
        new, value = weight.with_data(data, 0 if weight.per_axis else 1).emit()
        conv = onnx.ConvOp(x, value, op.bias)
        replace(rewriter, op, [*new, conv], reshape)


PATTERNS: tuple[RewritePattern, ...] = (GemmToConv(), MatMulToConv(), FlattenIntoKernel())
