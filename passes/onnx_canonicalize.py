"""`onnx-canonicalize`: the imported graph in the few forms that the rest of the compiler knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import GreedyRewritePatternApplier, PatternRewriteWalker

from dialects.locations import flatten_locations
from passes.analysis.preserved import Preserved
from passes.onnx_patterns import (
    affine,
    constants,
    dense,
    dilated,
    layout,
    pools,
    positions,
    rearranged,
    shapes,
    simplify,
    spread,
    tables,
    windows,
)


@dataclass(frozen=True)
class OnnxCanonicalizePass(ModulePass):
    """Bring the `onnx` level into canonical form.

    Removes Identity and Dropout and folds constants; makes whatever depends element by element on one tensor one
    function; folds BatchNormalization and arithmetic with a constant per channel into neighbouring Conv (or makes it a
    depthwise 1x1 Conv); turns Gemm and MatMul by a constant, also after Flatten, into Conv; turns global pools and
    ReduceMean over H and W into pools with a window; folds explicit Pad into Conv and pools; cancels
    Transpose pairs; sinks Reshape to the outputs; makes dilated windows dense ones; makes a map of a constant that
    varies from position to position. Node names of everything folded stay in the locations.
    """

    name = "onnx-canonicalize"
    PRESERVES: ClassVar[Preserved] = Preserved.NOTHING

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        # Functions first: a scaling that has gone into a convolution is no part of one any more.
        most = (simplify, pools, windows, rearranged, positions, layout, shapes, tables, affine, dense)
        for groups in ((simplify, tables), most, (*most, constants, spread), (*most, constants, spread, dilated)):
            patterns = [pattern for group in groups for pattern in group.PATTERNS]
            PatternRewriteWalker(GreedyRewritePatternApplier(patterns, dce_enabled=True)).rewrite_module(op)
        flatten_locations(op)
