"""Poolings over whole maps, or whole blocks of them."""

from __future__ import annotations

from xdsl.ir import Operation
from xdsl.pattern_rewriter import PatternRewriter, RewritePattern, op_type_rewrite_pattern

from dialects import onnx, onnx_pools
from dialects.attributes import i64_array, ints
from dialects.onnx import shape_of
from passes.onnx_patterns.common import producer, replace
from passes.tiling.limits import field_range

_MOST = field_range("post.pool", "r")[1]
"""Rows or columns of a window that an instruction can name."""


class GlobalPools(RewritePattern):
    """GlobalAveragePool and GlobalMaxPool are pools with the kernel of the whole map."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        match op:
            case onnx_pools.GlobalAveragePoolOp():
                replace(rewriter, op, [onnx_pools.AveragePoolOp.of(op.input, shape_of(op.input)[2:])])
            case onnx_pools.GlobalMaxPoolOp():
                replace(rewriter, op, [onnx_pools.MaxPoolOp(op.input, shape_of(op.input)[2:])])
            case _:
                return


class MeanToPool(RewritePattern):
    """ReduceMean over H, W or both (also over a map whose H and W were flattened into one axis) is AveragePool."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: onnx.ReduceMeanOp, rewriter: PatternRewriter) -> None:
        x, axes = op.input, ints(op.axes)
        flat = producer(x)
        if isinstance(flat, onnx.ReshapeOp) and len(shape_of(x)) == 3 and axes == (2,):
            shape = shape_of(flat.input)
            if len(shape) != 4 or shape[:2] != shape_of(x)[:2]:
                return
            x, axes = flat.input, (2, 3)
        shape = shape_of(x)
        if len(shape) != 4 or not axes or not set(axes) <= {2, 3}:
            return
        pool = onnx_pools.AveragePoolOp.of(x, [shape[a] if a in axes else 1 for a in (2, 3)])
        new: list[Operation] = [pool]
        if shape_of(pool.output) != shape_of(op.output):
            new.append(onnx.ReshapeOp(pool.output, shape_of(op.output)))
        replace(rewriter, op, new)


class WholePoolOfReshape(RewritePattern):
    """A pool over a whole map whose rows and columns were put in another order: over the map as it was."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        if not isinstance(op, onnx_pools.PoolOp):
            return
        reshape = producer(op.input)
        if not isinstance(reshape, onnx.ReshapeOp) or len(shape_of(reshape.input)) != 4:
            return
        before, after = shape_of(reshape.input), shape_of(op.input)
        if before[:2] == after[:2] and ints(op.kernel_shape) == after[2:] and not any(ints(op.pads)):
            whole = {"kernel_shape": i64_array(before[2:]), "strides": i64_array([1, 1])}
            replace(rewriter, op, [op.on([reshape.input], whole)], reshape)


class LargeBlocks(RewritePattern):
    """A pool of a whole map, or of whole blocks of it, with more rows or columns than the machine counts: in two steps,
    first of the smallest blocks of which it can count the rest.
    """

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        if not isinstance(op, onnx_pools.PoolOp):
            return
        extents, kernel, strides = shape_of(op.input)[2:], ints(op.kernel_shape), ints(op.strides)
        sides = zip(extents, kernel, strides, strict=True)
        if (
            max(kernel) <= _MOST
            or any(ints(op.pads))
            or not all(d == k or (k == s and d % k == 0) for d, k, s in sides)
        ):
            return
        blocks = [next(b for b in range(1, k + 1) if k % b == 0 and k // b <= _MOST) for k in kernel]
        if any(b == k > _MOST for b, k in zip(blocks, kernel, strict=True)):
            return
        first = op.on([op.input], {"kernel_shape": i64_array(blocks), "strides": i64_array(blocks)})
        rest = i64_array([k // b for k, b in zip(kernel, blocks, strict=True)])
        replace(rewriter, op, [first, op.on([first.results[0]], {"kernel_shape": rest, "strides": rest})])


PATTERNS: tuple[RewritePattern, ...] = (
    GlobalPools(),
    MeanToPool(),
    WholePoolOfReshape(),
    LargeBlocks(),
)
