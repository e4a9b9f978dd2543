"""Constants that vary from position to position: position embeddings, masks, mean images, parts of a concatenation.

The machine computes every tensor from the input. So such a constant becomes a map that depends on it in name only.
"""

from __future__ import annotations

import numpy as np
from xdsl.ir import Operation, SSAValue
from xdsl.pattern_rewriter import PatternRewriter, RewritePattern

from dialects import onnx
from dialects.onnx import shape_of
from dialects.onnx_choices import ChoiceOp, WhereOp
from dialects.onnx_expression import MaxOp, MinOp
from dialects.onnx_positions import DepthToSpaceOp
from passes.onnx_patterns.affine import channel_values
from passes.onnx_patterns.common import Array, constant_array, float_constant, replace

_OF_MAPS = (onnx.BinaryOp, MaxOp, MinOp, ChoiceOp, WhereOp, onnx.ConcatOp)
"""Operations of several maps."""


def _as_map(array: Array, x: SSAValue) -> list[Operation]:
    """A constant [1, C, H, W] as a map: the biases of a 1x1 Conv by zeros of one value of x, then put in their places.

    Zeros leave the whole range of an accumulator to the biases, so that only the result is rounded.
    """
    _, c, h, w = array.shape
    one = onnx.SliceOp(x, [0, 0, 0], [1, 1, 1], [1, 2, 3], [1, 1, 1])
    zeros = float_constant(np.zeros((c * h * w, 1, 1, 1)))
    values = float_constant(array[0].transpose(1, 2, 0).reshape(-1))
    made = onnx.ConvOp(one.output, zeros.output, values.output)
    new: list[Operation] = [one, zeros, values, made]
    return new if (h, w) == (1, 1) else [*new, DepthToSpaceOp(made.output, (h, w))]


def _varies(op: Operation, index: int, array: Array, x: SSAValue) -> bool:
    """Whether an operand is a constant that no arithmetic per channel of x stands for."""
    if isinstance(op, onnx.ConcatOp):
        return True
    if array.size == 1:
        return False
    if isinstance(op, onnx.DivOp | WhereOp) and index == 0:
        return True
    shape = shape_of(op.results[0])
    return shape_of(x) != shape or channel_values(array, shape) is None


class ConstantAsMap(RewritePattern):
    """A constant operand that is not one value for each channel is a map."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        if not isinstance(op, _OF_MAPS) or len(shape_of(op.results[0])) != 4:
            return
        arrays = [constant_array(x) for x in op.operands]
        computed = [x for x, array in zip(op.operands, arrays, strict=True) if array is None and len(shape_of(x)) == 4]
        if not computed:
            return
        new, operands = list[Operation](), list(op.operands)
        for index, array in enumerate(arrays):
            if array is None or array.ndim > 4 or not _varies(op, index, array, computed[0]):
                continue
            if isinstance(op, onnx.DivOp) and index == 1:
                factor = float_constant(1 / array.astype(np.float64), op)
                replace(rewriter, op, [factor, onnx.MulOp(op.lhs, factor.output)])
                return
            made = _as_map(array.reshape((1,) * (4 - array.ndim) + array.shape), computed[0])
            new += made
            operands[index] = made[-1].results[0]
        if new:
            replace(rewriter, op, [*new, op.on(operands)])


PATTERNS: tuple[RewritePattern, ...] = (ConstantAsMap(),)
