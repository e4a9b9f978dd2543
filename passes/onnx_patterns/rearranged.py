"""Rearrangements that models spell in several nodes."""

from __future__ import annotations

import math

from xdsl.pattern_rewriter import PatternRewriter, RewritePattern, op_type_rewrite_pattern

from dialects import onnx
from dialects.attributes import ints
from dialects.onnx import shape_of
from dialects.onnx_rearranged import ChannelShuffleOp
from passes.onnx_patterns.common import producer, replace


class ReshapesToShuffle(RewritePattern):
    """Channels split in two axes, these exchanged, and joined again: ChannelShuffle."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: onnx.ReshapeOp, rewriter: PatternRewriter) -> None:
        transpose = producer(op.input)
        if not isinstance(transpose, onnx.TransposeOp):
            return
        split = producer(transpose.input)
        if not isinstance(split, onnx.ReshapeOp):
            return
        shape, middle, perm = shape_of(split.input), shape_of(split.output), ints(transpose.perm)
        if len(shape) != 4 or shape_of(op.output) != shape or shape[0] != 1 or len(middle) < 4:
            return
        exchanged = perm == (0, 2, 1, *range(3, len(middle)))
        if middle[0] != 1 or not exchanged or math.prod(middle[1:3]) != shape[1]:
            return
        replace(rewriter, op, [ChannelShuffleOp(split.input, middle[1])], transpose, split)


PATTERNS: tuple[RewritePattern, ...] = (ReshapesToShuffle(),)
