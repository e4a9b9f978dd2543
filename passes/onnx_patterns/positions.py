"""Channels that become positions, and positions that become channels, spelled as reshapes around a transpose."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from xdsl.ir import Operation, SSAValue
from xdsl.pattern_rewriter import PatternRewriter, RewritePattern, op_type_rewrite_pattern

from dialects import onnx
from dialects.attributes import ints
from dialects.onnx import shape_of
from dialects.onnx_positions import DepthToSpaceOp, TakeOp
from dialects.onnx_rearranged import ChannelShuffleOp
from passes.onnx_patterns.common import producer, replace

_Split = tuple[int, ...]


def _blocks_first(x: SSAValue, middle: _Split) -> list[Operation]:
    """Channels (by, bx, C): perm [0,3,4,1,5,2]."""
    return [DepthToSpaceOp(x, middle[1:3])]


def _blocks_last(x: SSAValue, middle: _Split) -> list[Operation]:
    """Channels (C, by, bx): perm [0,1,4,2,5,3]."""
    shuffled = ChannelShuffleOp(x, middle[1])
    return [shuffled, DepthToSpaceOp(shuffled.output, middle[2:4])]


def _positions_first(x: SSAValue, middle: _Split) -> list[Operation]:
    """Rows (H, by), columns (W, bx) as channels (by, bx, C): perm [0,3,5,1,2,4]."""
    (_, _, h, by, w, bx), new = middle, list[Operation]()
    for i in range(by):
        new += [onnx.SliceOp(x, [i, j], [h * by, w * bx], [2, 3], [by, bx]) for j in range(bx)]
    return [*new, onnx.ConcatOp([op.results[0] for op in new], 1)]


def _positions_last(x: SSAValue, middle: _Split) -> list[Operation]:
    """Rows (H, by), columns (W, bx) as channels (C, by, bx): perm [0,1,3,5,2,4]."""
    new = _positions_first(x, middle)
    return [*new, ChannelShuffleOp(new[-1].results[0], middle[3] * middle[5])]


_FORMS: Mapping[tuple[int, ...], Callable[[SSAValue, _Split], list[Operation]]] = {
    (0, 3, 4, 1, 5, 2): _blocks_first,
    (0, 1, 4, 2, 5, 3): _blocks_last,
    (0, 3, 5, 1, 2, 4): _positions_first,
    (0, 1, 3, 5, 2, 4): _positions_last,
}


class ReshapesToBlocks(RewritePattern):
    """Axes split, six of them put in another order and joined again: DepthToSpace, or slices side by side."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: onnx.ReshapeOp, rewriter: PatternRewriter) -> None:
        transpose = producer(op.input)
        form = _FORMS.get(ints(transpose.perm)) if isinstance(transpose, onnx.TransposeOp) else None
        split = producer(transpose.operands[0]) if transpose is not None else None
        if form is None or transpose is None or not isinstance(split, onnx.ReshapeOp):
            return
        shape, middle = shape_of(split.input), shape_of(split.output)
        deep = form in (_blocks_first, _blocks_last)
        want = (1, shape[1], *middle[4:]) if deep else (1, middle[1], middle[2] * middle[3], middle[4] * middle[5])
        moved = shape_of(transpose.results[0])
        joined = (
            (1, moved[1], moved[2] * moved[3], moved[4] * moved[5])
            if deep
            else (1, moved[1] * moved[2] * moved[3], *moved[4:])
        )
        if len(shape) != 4 or middle[0] != 1 or shape != want or shape_of(op.output) != joined:
            return
        replace(rewriter, op, form(split.input, middle), transpose, split)


class MergeTakes(RewritePattern):
    """Rows and columns of rows and columns that nothing else reads: one choice of both."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: TakeOp, rewriter: PatternRewriter) -> None:
        first = producer(op.input)
        if not isinstance(first, TakeOp) or not first.output.has_one_use():
            return
        rows, columns = (
            [ints(inner)[i] for i in ints(outer)]
            for inner, outer in ((first.rows, op.rows), (first.columns, op.columns))
        )
        if not _is_spread(first.input, rows, columns):
            replace(rewriter, op, [TakeOp(first.input, rows, columns)], first)


def _is_spread(x: SSAValue, rows: Sequence[int], columns: Sequence[int]) -> bool:
    """Whether one position is repeated along both axes."""
    return shape_of(x)[2:] == (1, 1) and min(len(rows), len(columns)) > 1


class SpreadInTwo(RewritePattern):
    """One position for all: first for all columns of a row, then that for all rows, an instruction for each of them."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: TakeOp, rewriter: PatternRewriter) -> None:
        rows, columns = ints(op.rows), ints(op.columns)
        if _is_spread(op.input, rows, columns):
            row = TakeOp(op.input, [0], columns)
            replace(rewriter, op, [row, TakeOp(row.output, rows, range(len(columns)))])


PATTERNS: tuple[RewritePattern, ...] = (ReshapesToBlocks(), MergeTakes(), SpreadInTwo())
