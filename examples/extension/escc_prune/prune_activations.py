"""Pass `prune-activations`: insert `prune.threshold` where convolutions read."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    GreedyRewritePatternApplier,
    PatternRewriter,
    PatternRewriteWalker,
    RewritePattern,
    op_type_rewrite_pattern,
)
from xdsl.rewriter import InsertPoint

from dialects.esc import Conv2dOp, RequantizeOp
from escc_prune.dialect import ThresholdOp


@dataclass
class PruneRequantized(RewritePattern):
    """A requantised tensor that a convolution reads is thresholded, for all its users."""

    threshold: int

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: RequantizeOp, rewriter: PatternRewriter) -> None:
        if not any(isinstance(use.operation, Conv2dOp) for use in op.output.uses):
            return
        threshold = ThresholdOp(op.output, self.threshold)
        threshold.location = op.location  # the ONNX node that the value belongs to
        rewriter.insert_op(threshold, InsertPoint.after(op))
        op.output.replace_uses_with_if(threshold.output, lambda use: use.operation is not threshold)


@dataclass(frozen=True)
class PruneActivationsPass(ModulePass):
    """Zero requantised activations below `threshold` (stored integers) wherever a convolution reads them."""

    name = "prune-activations"

    threshold: int = 2

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        patterns = GreedyRewritePatternApplier([PruneRequantized(self.threshold)])
        PatternRewriteWalker(patterns, apply_recursively=False).rewrite_module(op)
