"""Pass `lower-prune`: `prune.threshold` becomes a lookup table, which the machine has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, TensorType
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import PatternRewriter, PatternRewriteWalker, RewritePattern, op_type_rewrite_pattern

from dialects.esc import LookupOp, q_of
from escc_prune.dialect import ThresholdOp


class LowerThreshold(RewritePattern):
    """One table entry for each stored byte."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: ThresholdOp, rewriter: PatternRewriter) -> None:
        values = np.arange(256, dtype=np.uint8).view(q_of(op.input).dtype)
        small = np.abs(values.astype(np.int16)) < op.threshold.value.data
        assert isinstance(op.output.type, TensorType)
        lookup = LookupOp(op.input, np.where(small, 0, values).astype(values.dtype), op.output.type)
        lookup.location = op.location
        rewriter.replace_op(op, lookup)


@dataclass(frozen=True)
class LowerPrunePass(ModulePass):
    """Lower `prune.threshold` to `esc.lookup`; `fuse-epilogues` then puts the table into the requantisation."""

    name = "lower-prune"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        PatternRewriteWalker(LowerThreshold(), apply_recursively=False).rewrite_module(op)
