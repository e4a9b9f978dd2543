"""Convolutions whose taps lie apart: the machine's lie side by side, so zeros go between them, or rows move together.

Of a window with a dilation of d, every tap of one row reads rows of one phase, those whose numbers leave one rest when
divided by d. With the rows put in the order of their phases, zeros between these, the taps lie side by side. The same
holds for columns. A convolution then makes its own results and some more at the ends of the phases; the former are
taken out of them. Where that is not less work, the weights are spread and hold zeros.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.ir import Operation, SSAValue
from xdsl.pattern_rewriter import PatternRewriter, RewritePattern, op_type_rewrite_pattern

from dialects import onnx
from dialects.attributes import ints
from dialects.onnx import shape_of
from dialects.onnx_positions import TakeOp
from passes.onnx_patterns.common import Elementwise, Weight, producer, replace

Array = NDArray[Any]

MAX_SPREAD = 1 << 28
"""Weights of a convolution that is spread by dilations, zeros included: a gigabyte."""
LEAST_GAIN = 64
"""Products that phases must save for each value moved for them: about what the machine makes in that time."""


def spread_taps(array: Array, dilations: Sequence[int], fill: Array) -> Array:
    """Weights [M, C, kH, kW] with `fill` between the taps of the window."""
    kh, kw = (((k - 1) * d + 1) for k, d in zip(array.shape[2:], dilations, strict=True))
    wide = np.broadcast_to(fill, (*array.shape[:2], kh, kw)).astype(array.dtype).copy()
    wide[:, :, :: dilations[0], :: dilations[1]] = array
    return wide


def spread_fault(shape: Sequence[int], dilations: Sequence[int]) -> str | None:
    """Why weights of a shape [M, C, kH, kW] cannot be spread; None if they can."""
    kh, kw = (((k - 1) * d + 1) for k, d in zip(shape[2:], dilations, strict=True))
    values = math.prod((*shape[:2], kh, kw))
    if values <= MAX_SPREAD:
        return None
    return (
        f"dilations=[{dilations[0]},{dilations[1]}] make windows of {kh}x{kw}, {values:,} weights with the zeros "
        f"between; requires at most {MAX_SPREAD:,}"
    )


@dataclass(frozen=True)
class PhaseAxis:
    """Rows, or columns, in the order of their phases.

    `taken`: indices of the map that stand side by side, `size` of the map for one of zeros. `pads`: zeros before and
    after that the convolution adds. `kept`: indices of its results, in order.
    """

    size: int
    taken: tuple[int, ...]
    pads: tuple[int, int]
    kept: tuple[int, ...]

    @classmethod
    def of(cls, size: int, taps: int, dilation: int, pads: tuple[int, int], out: int) -> PhaseAxis:
        """The axis of a convolution with stride 1."""
        if dilation == 1:
            return cls(size, tuple(range(size)), pads, tuple(range(out)))
        taken, kept = list[int](), [0] * out
        for phase in range(min(dilation, out)):
            results = range(phase, out, dilation)
            padded = (results.start + dilation * i for i in range(len(results) + taps - 1))
            rows = [j - pads[0] if 0 <= j - pads[0] < size else size for j in padded]
            first = len(taken) - _shared(taken, rows, taps - 1, size)
            taken[first:] = rows
            for i, result in enumerate(results):
                kept[result] = first + i
        return cls(size, tuple(taken), (0, 0), tuple(kept))

    @property
    def made(self) -> int:
        """Results that the convolution makes."""
        return max(self.kept) + 1


def _shared(taken: Sequence[int], rows: Sequence[int], most: int, zero: int) -> int:
    """Rows of zeros at the end of some that can be those at the start of others, fewer than a window has taps."""
    behind = next((i for i, row in enumerate(reversed(taken)) if row != zero), len(taken))
    before = next((i for i, row in enumerate(rows) if row != zero), len(rows))
    return min(behind, before, most)


def _phases(conv: onnx.ConvOp) -> list[PhaseAxis] | None:
    """Both axes of a dilated convolution by phases; None where strides are in the way."""
    if ints(conv.strides) != (1, 1):
        return None
    shape, out, pads = shape_of(conv.input)[2:], shape_of(conv.output)[2:], ints(conv.pads)
    sides = zip(shape, ints(conv.kernel_shape), ints(conv.dilations), out, (0, 1), strict=True)
    return [PhaseAxis.of(size, k, d, (pads[i], pads[i + 2]), extent) for size, k, d, extent, i in sides]


def _is_less_work(conv: onnx.ConvOp, axes: Sequence[PhaseAxis]) -> bool:
    """Whether phases save more products than moving rows and columns costs."""
    taps, dilations = ints(conv.kernel_shape), ints(conv.dilations)
    _, channels, *size = shape_of(conv.input)
    _, outputs, *out = shape_of(conv.output)
    spread = math.prod((k - 1) * d + 1 for k, d in zip(taps, dilations, strict=True)) * math.prod(out)
    dense = math.prod(taps) * math.prod(axis.made for axis in axes)
    before = math.prod(size) + math.prod(len(axis.taken) for axis in axes)
    moved = channels * before + outputs * math.prod(out)
    return outputs * shape_of(conv.weight)[1] * (spread - dense) >= LEAST_GAIN * moved


class DilatedConv(RewritePattern):
    """A Conv with dilations as one without."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: onnx.ConvOp, rewriter: PatternRewriter) -> None:
        dilations = ints(op.dilations)
        if dilations == (1, 1):
            return
        if _without_dead_taps(op, rewriter):
            return
        axes, fault = _phases(op), spread_fault(shape_of(op.weight), dilations)
        if axes is not None and (fault is not None or _is_less_work(op, axes)):
            self._by_phases(op, axes, rewriter)
        elif fault is None:
            self._spread(op, rewriter)

    def _by_phases(self, op: onnx.ConvOp, axes: Sequence[PhaseAxis], rewriter: PatternRewriter) -> None:
        new, x = list[Operation](), op.input
        zeros = [int(axis.size in axis.taken) for axis in axes]
        if any(zeros):
            new.append(onnx.PadOp(x, (0, 0, 0, 0, 0, 0, *zeros)))
            x = new[-1].results[0]
        new.append(TakeOp(x, *(axis.taken for axis in axes)))
        (top, bottom), (left, right) = (axis.pads for axis in axes)
        conv = onnx.ConvOp(
            new[-1].results[0], op.weight, op.bias, pads=(top, left, bottom, right), group=op.group.value.data
        )
        conv.attributes |= op.attributes
        replace(rewriter, op, [*new, conv, TakeOp(conv.output, *(axis.kept for axis in axes))])

    def _spread(self, op: onnx.ConvOp, rewriter: PatternRewriter) -> None:
        weight = Weight.of(op.weight)
        if weight is None:
            return
        fill = np.zeros((), weight.data.dtype)
        if weight.zero_point is not None:
            along = [-1 if i == weight.axis else 1 for i in range(4)]
            fill = weight.zero_point.reshape(along if weight.zero_point.ndim else [])
        new, value = weight.with_data(spread_taps(weight.data, ints(op.dilations), fill), weight.axis).emit()
        replace(rewriter, op, [*new, _conv_with(op, value, ints(op.pads), (1, 1))])


def _conv_with(op: onnx.ConvOp, weight: SSAValue, pads: Sequence[int], dilations: Sequence[int]) -> onnx.ConvOp:
    again = onnx.ConvOp(
        op.input,
        weight,
        op.bias,
        strides=ints(op.strides),
        pads=pads,
        dilations=dilations,
        group=op.group.value.data,
    )
    again.attributes |= op.attributes
    return again


def _live(size: int, taps: int, dilation: int, stride: int, pads: tuple[int, int], out: int) -> range:
    """The taps from the first to the last one that ever lies inside the map; all where none does."""
    spans = [(i, i * dilation - pads[0], i * dilation - pads[0] + (out - 1) * stride) for i in range(taps)]
    live = [i for i, first, last in spans if first < size and last >= 0]
    return range(live[0], live[-1] + 1) if live else range(taps)


def _without_dead_taps(op: onnx.ConvOp, rewriter: PatternRewriter) -> bool:
    """Drop taps at the ends of a window that never lie inside the map, as those of large dilations on small maps."""
    weight = Weight.of(op.weight)
    shape, out, pads = shape_of(op.input)[2:], shape_of(op.output)[2:], ints(op.pads)
    taps, dilations, strides = ints(op.kernel_shape), ints(op.dilations), ints(op.strides)
    rows, columns = (_live(shape[i], taps[i], dilations[i], strides[i], (pads[i], pads[i + 2]), out[i]) for i in (0, 1))
    if weight is None or (len(rows), len(columns)) == taps:
        return False
    data = weight.data[:, :, rows.start : rows.stop, columns.start : columns.stop]
    new, value = weight.with_data(data, weight.axis).emit()
    left = [len(rows), len(columns)]
    steps = [d if k > 1 else 1 for k, d in zip(left, dilations, strict=True)]
    sides = [
        _pads_for(shape[i], left[i], steps[i], strides[i], pads[i] - kept.start * dilations[i], out[i])
        for i, kept in enumerate((rows, columns))
    ]
    before, after = zip(*sides, strict=True)
    if min(*before, *after) < 0:
        return False
    replace(rewriter, op, [*new, _conv_with(op, value, (*before, *after), steps)])
    return True


def _pads_for(size: int, taps: int, dilation: int, stride: int, before: int, out: int) -> tuple[int, int]:
    """Zeros before and after with which a window makes `out` results."""
    return before, (out - 1) * stride + (taps - 1) * dilation + 1 - before - size


class SinkTake(RewritePattern):
    """f(take(x)) -> take(f(x)) for elementwise f, where x is a convolution by phases: f is a part of it."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        chain = Elementwise.of(op)
        take = None if chain is None else producer(chain.source)
        if chain is None or not isinstance(take, TakeOp) or not take.output.has_one_use():
            return
        if any(len(set(ints(kept))) != len(ints(kept)) for kept in (take.rows, take.columns)):
            return
        if not _is_convolved(take.input):
            return
        new, value = chain.on(take.input)
        again = TakeOp(value, ints(take.rows), ints(take.columns))
        again.location = take.location
        replace(rewriter, op, [*new, again])


def _is_convolved(x: SSAValue) -> bool:
    """Whether a value is what a convolution makes, perhaps behind elementwise operations."""
    op = producer(x)
    while op is not None and (chain := Elementwise.of(op)) is not None:
        op = producer(chain.source)
    return isinstance(op, onnx.ConvOp)


PATTERNS: tuple[RewritePattern, ...] = (DilatedConv(), SinkTake())
