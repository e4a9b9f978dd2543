"""The layer kind `pool`: maxima and averages of windows.

A window that does not fit a scratchpad is taken in parts. Sums and maxima are associative: an average becomes a
depthwise convolution with weights of 1, which accumulates in PSUM, and a maximum becomes one over columns and then one
over rows. Both are bit-identical to the original.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from xdsl.dialects.builtin import TensorType
from xdsl.ir import Operation

from dialects import esc, esc_pools
from dialects.attributes import ints
from dialects.bfs_pool import PoolOp
from dialects.esc import q_of, shape_of
from isa.formats import PoolKind
from isa.integers import ceil_div
from isa.reference import pool_counts
from isa.target import Target
from passes.layers.pooled import MaximaRule
from passes.tiling.esc_op_to_layer import MAX_WINDOW, LayerTiler, with_output
from passes.tiling.geometry import Span, window_span
from passes.tiling.layer_kind import LayerKind, TileRule
from passes.tiling.layer_to_instructions import LayerLowering
from passes.tiling.limits import field_range, room_faults, window_faults
from passes.tiling.loop_nest import Indices
from passes.tiling.loop_nest_builder import LoopNestBuilder
from passes.tiling.problem import TilingProblem, Workload


@dataclass(frozen=True)
class PoolWork(Workload):
    """The post unit takes every value of every window, some at a time."""

    name = "pool"

    def post_values(self, p: TilingProblem, target: Target) -> int:
        return p.oh * p.ow * p.k * ceil_div(p.taps, target.post.pool_places)


class PoolRule(TileRule):
    """`post.pool` of an output tile."""

    operation = PoolOp

    def lower(self, layer: LayerLowering, op: PoolOp, at: Indices) -> None:
        out, out_address = layer.held(op.out)
        act, address = layer.held(op.act)
        (r, s), (sy, sx), (pt, pl, _, _) = ints(op.kernel), ints(op.strides), ints(op.pads)
        h, w = layer.source(act).extents[:2]
        y, x = window_span(out.y, r, sy, pt, h), window_span(out.x, s, sx, pl, w)
        layer.emit(
            "post.pool",
            **layer.act_fields(act, address, (y, x, out.k)),
            r=r,
            s=s,
            sy=sy,
            sx=sx,
            pt=y.first - (out.y.first * sy - pt),
            pl=x.first - (out.x.first * sx - pl),
            kind=int(PoolKind.MAX if op.kind.data == "max" else PoolKind.AVERAGE),
            oh=out.y.extent,
            ow=out.x.extent,
            kn=out.k.extent,
            **layer.out_fields(out, out_address, out),
            **self._average_fields(layer, op, y, x, (h, w)),
        )

    def _average_fields(
        self, layer: LayerLowering, op: PoolOp, y: Span, x: Span, extents: tuple[int, int]
    ) -> dict[str, int]:
        """Fields of an average over rows `y` and columns `x` of its input; none for a maximum."""
        numbers = {"count0": op.count0, "shift": op.shift, "lo": op.lo, "hi": op.hi}
        values = {name: attr.value.data for name, attr in numbers.items() if attr is not None}
        if op.parameters is None or len(values) < len(numbers):
            return {}
        values["par"] = layer.held(op.parameters)[1]
        if op.count_include_pad.value.data:
            # Padding is counted where the tile ends with the tensor; elsewhere no window leaves the tile.
            top, left, bottom, right = ints(op.pads)
            values["bt"] = top if y.first == 0 else 0
            values["bl"] = left if x.first == 0 else 0
            values["bb"] = bottom if y.end == extents[0] else 0
            values["br"] = right if x.end == extents[1] else 0
        return values


def _average_faults(op: esc_pools.AvgPoolOp) -> Iterator[str]:
    """Numbers that the fields of an average cannot express."""
    _, most = field_range("post.pool", "bt")
    if op.count_include_pad.value.data and max(ints(op.pads)) > most:
        yield f"counted pads={list(ints(op.pads))}; requires at most {most}"
    _, most = field_range("post.pool", "count0")
    if op.count0.value.data > most:
        yield f"windows of {op.count0.value.data} positions; requires at most {most}"


def _needs(op: esc_pools.MaxPoolOp | esc_pools.AvgPoolOp, target: Target) -> list[tuple[str, int, int]]:
    """(what, bytes, capacity) of the smallest piece of a pooling that the machine can work on."""
    chunk, pads = target.array.chunk, target.scratchpad
    (_, h, w, c), (r, s) = shape_of(op.input), ints(op.kernel)
    channels = min(c, chunk)
    rows, columns = min(r, h), min(s, w)
    if isinstance(op, esc_pools.MaxPoolOp):
        return [("input of one row or column of a window", max(rows, columns) * channels, pads.act)]
    multipliers = ("multipliers", 4 * op.mult.array.size, pads.par)
    if _uniform_count(op) is not None:  # its windows are accumulated in parts if they must be
        return [("input of one position", channels, pads.act), multipliers]
    return [("input of one window", rows * columns * channels, pads.act), multipliers]


class PoolingKind(LayerKind):
    """A maximum or an average over windows."""

    name = PoolWork.name
    rules = (PoolRule(), MaximaRule())

    def faults(self, op: esc.EscOp, target: Target) -> Iterator[str]:
        if not isinstance(op, esc_pools.MaxPoolOp | esc_pools.AvgPoolOp):
            return
        yield from window_faults("post.pool", ints(op.kernel), ints(op.strides), ints(op.pads))
        if isinstance(op, esc_pools.AvgPoolOp):
            yield from _average_faults(op)
        yield from room_faults(target, _needs(op, target))

    def matches(self, op: Operation) -> bool:
        return isinstance(op, esc_pools.MaxPoolOp | esc_pools.AvgPoolOp)

    def tile(self, op: Operation, tiler: LayerTiler, averaged: bool = False) -> None:
        assert isinstance(op, esc_pools.MaxPoolOp | esc_pools.AvgPoolOp)
        inputs = tiler.inputs(op.input)
        if inputs is None:
            return
        h, w, c = inputs[0].shape
        _, oh, ow, _ = shape_of(op.output)
        kernel, strides, pads = ints(op.kernel), ints(op.strides), ints(op.pads)
        average = isinstance(op, esc_pools.AvgPoolOp)
        p = TilingProblem(
            PoolWork(),
            h,
            w,
            oh,
            ow,
            c,
            (inputs[0].whole(),),
            (kernel[0], kernel[1]),
            (strides[0], strides[1]),
            (pads[0], pads[1]),
            parameter_bytes=(op.mult.array.nbytes,) if average else (),
        )
        p = with_output(p, op.output, averaged=average)
        if max(kernel) <= MAX_WINDOW and not tiler.fits(p, op.output) and _in_parts(op, tiler):
            return
        build = tiler.start(op, p, op.output)
        if build is None:
            return
        build.before("act", build.load_act(inputs[0].name, p.sources[0].channels))
        _innermost(op, build, tiler)
        tiler.finish(build, op.output, [op])


def _innermost(op: esc_pools.MaxPoolOp | esc_pools.AvgPoolOp, build: LoopNestBuilder, tiler: LayerTiler) -> None:
    out, act = build.buffer["out"], build.source_buffer()
    kernel, strides, pads = ints(op.kernel), ints(op.strides), ints(op.pads)
    if not isinstance(op, esc_pools.AvgPoolOp):
        build.innermost(lambda _: [PoolOp(out, act, "max", kernel, strides, pads)])
        return
    parameters = tiler.resident(build, 0, op.mult)
    padded = op.count_include_pad.value.data != 0
    settings = (op.count0.value.data, op.shift.value.data, op.lo.value.data, op.hi.value.data)
    build.innermost(lambda _: [PoolOp(out, act, "average", kernel, strides, pads, padded, parameters, settings)])


def _in_parts(op: esc_pools.MaxPoolOp | esc_pools.AvgPoolOp, tiler: LayerTiler) -> bool:
    """Tile a pooling of which no whole window fits as other operations; False if there are none for it."""
    if isinstance(op, esc_pools.AvgPoolOp):
        requantize = _average_as_convolution(op, tiler)
        if requantize is not None:
            tiler.add(requantize, averaged=True)
        return requantize is not None
    passes = _separate_maximum(op, tiler)
    for part in passes or ():
        tiler.add(part)
    return passes is not None


def _uniform_count(op: esc_pools.AvgPoolOp) -> int | None:
    """The number of positions that every window of an average counts; None if windows differ."""
    kernel, strides, pads = ints(op.kernel), ints(op.strides), ints(op.pads)
    _, h, w, _ = shape_of(op.input)
    include = bool(op.count_include_pad.value.data)
    counts = pool_counts((h, w), kernel, strides, pads, include, shape_of(op.output)[1:3])
    return int(counts.flat[0]) if bool((counts == counts.flat[0]).all()) else None


def _average_as_convolution(op: esc_pools.AvgPoolOp, tiler: LayerTiler) -> esc.RequantizeOp | None:
    """Replace an average by a depthwise convolution and its requantisation, which is returned; None, and no change,
    if its windows count different numbers of positions.
    """
    count = _uniform_count(op)
    if count is None:
        return None
    c = shape_of(op.input)[3]
    ones = np.ones((c, *ints(op.kernel), 1), np.int8)
    sums = esc.Conv2dOp(op.input, ones, ints(op.strides), ints(op.pads), c)
    mult = np.full(c, op.mult.array[count - op.count0.value.data], np.int32)
    shift = np.full(c, op.shift.value.data)
    output = TensorType(q_of(op.output), shape_of(op.output))
    requantize = esc.RequantizeOp(
        sums.output, np.zeros(c, np.int32), mult, shift, op.lo.value.data, op.hi.value.data, output
    )
    sums.location = requantize.location = op.location
    tiler.replace(op, [sums, requantize])
    return requantize


def _separate_maximum(
    op: esc_pools.MaxPoolOp, tiler: LayerTiler
) -> tuple[esc_pools.MaxPoolOp, esc_pools.MaxPoolOp] | None:
    """Replace a maximum by one over the columns of each window and one over the rows of that; None, and no change,
    if the window is a single row or column.
    """
    (r, s), (sy, sx), (top, left, bottom, right) = ints(op.kernel), ints(op.strides), ints(op.pads)
    if 1 in (r, s):
        return None
    _, h, _, c = shape_of(op.input)
    _, oh, ow, _ = shape_of(op.output)
    q = q_of(op.output)
    columns = esc_pools.MaxPoolOp(op.input, (1, s), (1, sx), (0, left, 0, right), TensorType(q, (1, h, ow, c)))
    rows = esc_pools.MaxPoolOp(columns.output, (r, 1), (sy, 1), (top, 0, bottom, 0), TensorType(q, (1, oh, ow, c)))
    columns.location = rows.location = op.location
    tiler.replace(op, [columns, rows])
    return columns, rows


KIND = PoolingKind()
