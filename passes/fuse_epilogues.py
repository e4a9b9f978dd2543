"""`fuse-epilogues`: tables and residual additions move into the requantisation before them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects import builtin
from xdsl.ir import Block, Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    GreedyRewritePatternApplier,
    PatternRewriter,
    PatternRewriteWalker,
    RewritePattern,
    op_type_rewrite_pattern,
)

from dialects import esc
from dialects.interpreters.run import main_function
from dialects.locations import flatten_locations, fused
from isa.reference import lookup
from passes.analysis.preserved import Preserved


def _single_use(value: SSAValue) -> bool:
    return sum(1 for _ in value.uses) == 1


def _replace(rewriter: PatternRewriter, old: Operation, new: Operation, *origin: Operation) -> None:
    new.location = fused(*origin)
    rewriter.replace(old, new)


def _vanish(rewriter: PatternRewriter, op: Operation) -> None:
    """Let an operation that changes nothing disappear; what computes its operand stands for its node too."""
    operand = op.operands[0]
    if isinstance(operand.owner, Operation):
        operand.owner.location = fused(operand.owner, op)
    rewriter.replace(op, [], [operand])


class FuseLookupIntoRequantize(RewritePattern):
    """requantize + lookup: the table follows the clamp (composed with the table that is already there)."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: esc.LookupOp, rewriter: PatternRewriter) -> None:
        first = op.input.owner
        if not isinstance(first, esc.RequantizeOp) or first.residual is not None or not _single_use(op.input):
            return
        table = op.table.array
        if first.table is not None:
            table = lookup(first.table.array, table)
        bias, mult, shift = (a.array for a in (first.bias, first.mult, first.shift))
        low, high = first.lo.value.data, first.hi.value.data
        result = esc.tensor_type(op.output)
        source = first.first_type if first.table is None else first.table_in
        merged = esc.RequantizeOp(first.input, bias, mult, shift, low, high, result, table=table, table_in=source)
        _replace(rewriter, op, merged, first, op)
        rewriter.erase(first)


class FuseAddIntoRequantize(RewritePattern):
    """requantize (+ table) + add: the other operand becomes the residual. Of two candidates the later one takes the
    addition.
    """

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: esc.AddOp, rewriter: PatternRewriter) -> None:
        candidates: list[tuple[esc.RequantizeOp, SSAValue, bool]] = []
        for value, other, swapped in ((op.lhs, op.rhs, False), (op.rhs, op.lhs, True)):
            first = value.owner
            if isinstance(first, esc.RequantizeOp) and first.residual is None and _single_use(value):
                candidates.append((first, other, swapped))
        if not candidates:
            return
        first, residual, swapped = candidates[-1]
        if len(candidates) == 2 and candidates[1][0].is_before_in_block(candidates[0][0]):
            first, residual, swapped = candidates[0]
        addition = op.addition
        if swapped:
            addition = replace(addition, mult_a=addition.mult_b, mult_b=addition.mult_a)
        merged = esc.RequantizeOp(
            first.input,
            first.bias.array,
            first.mult.array,
            first.shift.array,
            first.lo.value.data,
            first.hi.value.data,
            esc.tensor_type(op.output),
            table=None if first.table is None else first.table.array,
            residual=residual,
            mid=esc.q_of(first.output),
            addition=addition,
            table_in=first.table_in,
        )
        _replace(rewriter, op, merged, first, op)
        rewriter.erase(first)


class ComposeLookups(RewritePattern):
    """lookup + lookup: one table; a table that changes nothing disappears."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: esc.LookupOp, rewriter: PatternRewriter) -> None:
        first = op.input.owner
        if isinstance(first, esc.LookupOp) and _single_use(op.input):
            table = lookup(first.table.array, op.table.array)
            _replace(rewriter, op, esc.LookupOp(first.input, table, esc.tensor_type(op.output)), first, op)
            rewriter.erase(first)
        elif op.input.type == op.output.type and bool(
            (op.table.array.view(np.uint8) == np.arange(256, dtype=np.uint8)).all()
        ):
            _vanish(rewriter, op)


class ComposeSlices(RewritePattern):
    """slice + slice: one movement, where no zero of the padding between them would turn into data; a full copy
    disappears.
    """

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: esc.SliceOp, rewriter: PatternRewriter) -> None:
        first = op.input.owner
        offsets, strides = esc.ints(op.offsets), esc.ints(op.strides)
        if isinstance(first, esc.SliceOp) and _single_use(op.input):
            composed = _composed(first, op)
            if composed is not None:
                merged = esc.SliceOp(first.input, *composed, esc.tensor_type(op.output))
                _replace(rewriter, op, merged, first, op)
                rewriter.erase(first)
        elif op.input.type == op.output.type and not any(offsets) and strides == (1, 1):
            _vanish(rewriter, op)


def _composed(first: esc.SliceOp, second: esc.SliceOp) -> tuple[Sequence[int], Sequence[int]] | None:
    """Offsets and strides of both movements in one, None if there is no such movement."""
    offsets: list[int] = []
    strides: list[int] = []
    axes = zip(
        esc.shape_of(first.input)[1:],
        esc.shape_of(first.output)[1:],
        esc.shape_of(second.output)[1:],
        esc.ints(first.offsets),
        (*esc.ints(first.strides), 1),
        esc.ints(second.offsets),
        (*esc.ints(second.strides), 1),
        strict=True,
    )
    for source, middle, target, offset1, stride1, offset2, stride2 in axes:
        between: NDArray[np.int64] = np.arange(target, dtype=np.int64) * stride2 + offset2
        read = between * stride1 + offset1
        outside = (between < 0) | (between >= middle)
        if bool((outside & (read >= 0) & (read < source)).any()):
            return None
        offsets.append(offset2 * stride1 + offset1)
        strides.append(stride1 * stride2)
    return offsets, strides[:2]


def _sink_accumulators(block: Block) -> None:
    """Place each accumulator's producers directly before the requantisation that reads it."""
    for op in list(block.ops):
        if not isinstance(op, esc.RequantizeOp):
            continue
        before: Operation = op
        producer = op.input.owner
        while isinstance(producer, esc.EscOp) and producer.SOLE_READER:
            if not _single_use(producer.results[0]):
                break
            producer.detach()
            block.insert_op_before(producer, before)
            before, producer = producer, producer.operands[0].owner


@dataclass(frozen=True)
class FuseEpiloguesPass(ModulePass):
    """Fuse what the post unit does in one go, without changing a single bit of any result.

    requantize + lookup and requantize (+ lookup) + add become one `esc.requantize` with `table` and `residual` where
    the value between has no other use; chains of lookups and of slices become one. Accumulators then stand directly
    before their requantisation.
    """

    name = "fuse-epilogues"
    PRESERVES: ClassVar[Preserved] = Preserved.VALUES

    def apply(self, ctx: Context, op: builtin.ModuleOp) -> None:
        patterns = [FuseLookupIntoRequantize(), FuseAddIntoRequantize(), ComposeLookups(), ComposeSlices()]
        PatternRewriteWalker(GreedyRewritePatternApplier(list(patterns))).rewrite_module(op)
        flatten_locations(op)
        _sink_accumulators(main_function(op).body.block)
