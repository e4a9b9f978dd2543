"""Explicit Pad before an operation that can pad itself."""

from __future__ import annotations

from xdsl.dialects.builtin import UNKNOWN_LOC
from xdsl.ir import Operation, SSAValue
from xdsl.pattern_rewriter import PatternRewriter, RewritePattern, op_type_rewrite_pattern

from dialects import onnx
from dialects.attributes import ints
from dialects.onnx import shape_of
from dialects.onnx_base import LOWEST, PadsItself
from passes.onnx_patterns.common import Elementwise, producer, replace


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
    """Pad of H and W before an operation that pads itself becomes part of its pads, where that means the same."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        if not isinstance(op, PadsItself):
            return
        pad = producer(op.operands[0])
        extra = _spatial(pad) if isinstance(pad, onnx.PadOp) else None
        if not isinstance(pad, onnx.PadOp) or extra is None:
            return
        least = 0.0 if _never_negative(pad.input) else LOWEST
        properties = op.with_pads(extra, pad.constant_value.value.data, least)
        if properties is None:
            return
        again = op.on([pad.input, *list(op.operands)[1:]], properties)
        if shape_of(again.results[0]) != shape_of(op.results[0]):
            again.drop_all_references()
            return
        again.location = UNKNOWN_LOC
        replace(rewriter, op, [again], pad)


class SinkPadBelowQuantisation(RewritePattern):
    """Fake quantisation keeps 0, so a Pad with 0 may follow it; done where it then meets only operations whose own pads
    are zeros.
    """

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: onnx.DequantizeLinearOp, rewriter: PatternRewriter) -> None:
        chain = Elementwise.of(op)
        pad = None if chain is None else producer(chain.source)
        if chain is None or not isinstance(pad, onnx.PadOp) or pad.constant_value.value.data != 0:
            return
        if _spatial(pad) is None or not all(
            isinstance(u.operation, PadsItself) and u.operation.ZERO_PADS for u in op.output.uses
        ):
            return
        new, value = chain.on(pad.input)
        replace(rewriter, op, [*new, pad.on([value])])


PATTERNS: tuple[RewritePattern, ...] = (
    SinkPadBelowQuantisation(),
    PadIntoWindow(),
)
