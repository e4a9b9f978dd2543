"""Poolings over whole maps, and explicit Pad before an operation that can pad itself."""

from __future__ import annotations

import math

from xdsl.dialects.builtin import UNKNOWN_LOC
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.pattern_rewriter import PatternRewriter, RewritePattern, op_type_rewrite_pattern

from dialects import onnx, onnx_pools
from dialects.attributes import i64_array, ints
from dialects.onnx import shape_of
from passes.onnx_patterns.common import Elementwise, producer, replace


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


def _spatial(pad: onnx.PadOp) -> tuple[int, int, int, int] | None:
    """[top, left, bottom, right] of a Pad that pads nothing but H and W."""
    pads = ints(pad.pads)
    if len(pads) != 8 or any(pads[i] for i in (0, 1, 4, 5)):
        return None
    return pads[2], pads[3], pads[6], pads[7]


def _never_negative(value: SSAValue) -> bool:
    """Whether a value is known to be at least 0, by the activation function it comes from."""
    op = producer(value)
    if isinstance(op, onnx.DequantizeLinearOp):
        chain = Elementwise.of(op)
        if chain is None:
            return False
        low = -128 if onnx.element_of(op.input) == onnx.i8 else 0
        return int(op.zero_point.array) == low or _never_negative(chain.source)
    return isinstance(op, onnx.ReluOp | onnx.SigmoidOp) or (isinstance(op, onnx.ClipOp) and op.low >= 0)


class PadIntoWindow(RewritePattern):
    """Pad of H and W before Conv, AveragePool or MaxPool becomes part of its pads, where that means the same."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        if not isinstance(op, onnx.ConvOp | onnx_pools.PoolOp):
            return
        pad = producer(op.input)
        extra = _spatial(pad) if isinstance(pad, onnx.PadOp) else None
        if not isinstance(pad, onnx.PadOp) or extra is None:
            return
        value, own = pad.constant_value.value.data, ints(op.pads)
        properties: dict[str, Attribute] = {"pads": i64_array([a + b for a, b in zip(own, extra, strict=True)])}
        match op:
            case onnx.ConvOp():
                fits = value == 0
            case onnx_pools.AveragePoolOp():
                fits = value == 0 and (not any(own) or bool(op.count_include_pad.value.data))
                properties["count_include_pad"] = onnx.ONE
            case _:
                # A window must not see a padded value win: below everything, or 0 below values that are never negative.
                fits = value == -math.inf or value <= -3e38 or (value <= 0 and _never_negative(pad.input))
        if not fits:
            return
        kernel = ints(op.kernel_shape)
        pads = [a + b for a, b in zip(own, extra, strict=True)]
        if isinstance(op, onnx_pools.PoolOp) and any(p >= k for p, k in zip(pads, kernel * 2, strict=True)):
            return
        again = op.on([pad.input, *list(op.operands)[1:]], properties)
        if shape_of(again.output) != shape_of(op.output):
            again.drop_all_references()
            return
        again.location = UNKNOWN_LOC
        replace(rewriter, op, [again], pad)


class SinkPadBelowQuantisation(RewritePattern):
    """Fake quantisation keeps 0, so a Pad with 0 may follow it; done where it then meets only Conv and AveragePool."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: onnx.DequantizeLinearOp, rewriter: PatternRewriter) -> None:
        chain = Elementwise.of(op)
        pad = None if chain is None else producer(chain.source)
        if chain is None or not isinstance(pad, onnx.PadOp) or pad.constant_value.value.data != 0:
            return
        if _spatial(pad) is None or not all(
            isinstance(u.operation, onnx.ConvOp | onnx_pools.AveragePoolOp) for u in op.output.uses
        ):
            return
        new, value = chain.on(pad.input)
        replace(rewriter, op, [*new, pad.on([value])])


PATTERNS: tuple[RewritePattern, ...] = (
    GlobalPools(),
    MeanToPool(),
    WholePoolOfReshape(),
    SinkPadBelowQuantisation(),
    PadIntoWindow(),
)
