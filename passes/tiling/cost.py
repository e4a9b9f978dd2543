"""Estimated cycles of a tiling: what the search of `passes.tiling.search` minimises."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from functools import cached_property

import numpy as np

from isa.field_groups import ROW_GROUPS
from isa.formats import TensorFormat
from isa.integers import Number, by_value, ceil_div, choose, least, most
from isa.layout import requant_block_bytes
from isa.target import Target
from passes.tiling.geometry import pieces, total_span
from passes.tiling.memory import instances_per_buffer
from passes.tiling.problem import (
    Axes,
    Buffer,
    ComputeTile,
    InputSource,
    Loop,
    Tiling,
    TilingProblem,
    dependencies,
    executions,
    loops,
)

LONG_SEGMENT = 32
"""Positions of a line of a wide BITMAP tensor, about."""
_OVERLAP_LOSS = 0.02
"""Share of all work that is not hidden behind the busiest queue, at the borders of tiles."""
_WORK_LOSS = 0.2
"""What a cycle of work costs beside the busiest queue. The layers around hide a part of a layer's transfers, but none
of its work.
"""
_LAST_LOSS = 2.0
"""What a cycle costs in which the last tile goes through the post unit: the blocks wait for it, and the next layer then
begins with its own first tile alone, where of several tiles the early ones let it begin before.
"""
_FIRST_WEIGHTS = 0.7
"""Share of the first load of weights for which the blocks wait: it often passes while the layer before computes."""


@dataclass(frozen=True)
class _Compute:
    """Cycles of the convolution instructions of a layer, and how often the post unit reads finished partial sums."""

    cycles: Number
    posts: Number


@dataclass(frozen=True)
class Queued:
    """Estimated cycles of each queue of a layer: `act`, `residual` and `weights` are those of loads; `written` those in
    which DRAM takes what is stored; `first` and `last` those before and after the convolutions.
    """

    act: Number
    residual: Number
    weights: Number
    compute: Number
    post: Number
    store: Number
    written: Number
    first: Number
    last: Number

    @property
    def total(self) -> Number:
        """Cycles of the layer, if every queue works ahead: the busiest one, start and end. Of two tilings that are
        bound by DRAM, the one with less work is the cheaper one.
        """
        queues = self.loads + self.compute + self.post + self.store
        ends = self.first + _LAST_LOSS * self.last
        return self.busiest + ends + _OVERLAP_LOSS * queues + _WORK_LOSS * self.worked

    @property
    def loads(self) -> Number:
        """Cycles of the load queue."""
        return self.act + self.residual + self.weights

    @property
    def busiest(self) -> Number:
        """Cycles of the queue that has most to do, or of DRAM."""
        return most(most(most(self.loads + self.written, self.compute), self.post), self.store)

    @property
    def worked(self) -> Number:
        """Cycles in which the blocks or the post unit work, whichever are busier."""
        return most(self.compute, self.post)

    @property
    def exposed(self) -> Mapping[str, Number]:
        """Cycles that a buffer with a single instance costs, where it is filled more than once, by its name."""
        work = choose(self.compute > 0, self.compute, self.post)
        return {
            "act": least(self.act, work),
            "residual": least(self.residual, work),
            "weights": least(self.weights, self.compute),
            "psum": least(self.compute, self.post),
            "out": least(self.post, self.store),
        }

    @staticmethod
    def side_by_side(layers: Sequence[Queued]) -> Number:
        """Cycles of layers that run side by side, the last of which ends last. Transfers of one hide behind the work of
        another. Where several have partial sums, too few of these wait for the post unit to bridge the tile of a layer:
        the slower of post unit and blocks decides for each.
        """
        sums = [sum(column) for column in zip(*(astuple(layer) for layer in layers), strict=True)]
        whole = replace(Queued(*sums), last=layers[-1].last)
        worked = sum(layer.worked for layer in layers)
        alone = sum(layer.compute > 0 for layer in layers) < 2
        return whole.total if alone else whole.total + most(worked - whole.busiest, 0)


class CostModel:
    """Estimated cycles of a tiling of one problem on one machine, or of the columns of many (see `isa.integers`)."""

    def __init__(self, problem: TilingProblem, target: Target) -> None:
        self.p = problem
        self.target = target

    @cached_property
    def bandwidth(self) -> float:
        """DRAM bytes in an accelerator cycle, with an allowance for refresh and row misses."""
        return 0.85 * self.target.dram_bytes_per_cycle

    def compute(self, tile: ComputeTile) -> Number:
        """Cycles of one convolution instruction."""
        return self.p.work.compute_cycles(self.p, tile, self.target)

    def best_groups(self, t: Tiling) -> Number:
        """The number of row groups with the fewest cycles of a PSUM tile, the smallest among equals."""
        choices = {int(rows): set(self.p.work.row_groups(int(rows), self.target)) for rows in np.unique(t.psum_rows)}
        fewest: Number = math.inf
        best: Number = 1
        for groups in sorted(set[int]().union(*choices.values())):
            useful = {rows: groups in numbers for rows, numbers in choices.items()}
            cycles = self.compute(ComputeTile(t.psum_rows, t.columns, t.psum_channels, t.depth, groups))
            better = by_value(useful.__getitem__, t.psum_rows) & (cycles < fewest)
            fewest, best = choose(better, cycles, fewest), choose(better, groups, best)
        return best

    def _tile_traffic(
        self, source: InputSource, rows: Number, columns: Number, channels: Number, segment: int
    ) -> Number:
        """DRAM bytes of one tile, bursts and line ends included."""
        burst = self.target.dram.burst_bytes
        values = rows * columns * channels
        if source.format is TensorFormat.RAW:
            runs = choose(channels >= (source.stored_c or source.c), rows, rows * columns)
            return values + runs * burst / 2
        lines = rows * ceil_div(columns, segment) * ceil_div(channels, self.target.array.chunk)
        return values * (source.density + 1 / 8) + lines * burst / 2

    def _activation_cycles(self, t: Tiling, loads: Number, tiles: Number) -> tuple[Number, Number]:
        """Cycles of all loads of input tiles (each of `loads`), and of residual tiles (each of `tiles`)."""
        p, target, issue = self.p, self.target, self.target.dma.issue_cycles
        columns_in = by_value(
            lambda n: total_span(p.ow, n, p.kernel[1], p.strides[1], p.pads[1], p.w, p.columns), t.columns
        )
        rows_in = by_value(lambda n: total_span(p.oh, n, p.kernel[0], p.strides[0], p.pads[0], p.h, p.rows), t.rows)
        once = total_span(p.oh, p.oh, p.kernel[0], p.strides[0], p.pads[0], p.h, p.rows)
        rows_in = choose(p.rolls(t), least(rows_in, once), rows_in)
        n_y, n_x = ceil_div(p.oh, t.rows), ceil_div(p.ow, t.columns)
        cycles: Number = 0.0
        for s in (source for source in p.sources if not source.resident):
            if not p.work.reads_all_channels:
                deep = ceil_div(s.c, ceil_div(p.k, t.channels))
            else:
                deep = choose((t.input_channels < p.cpg) & p.accumulates, t.input_channels, s.c)
            tile = self._tile_traffic(s, ceil_div(rows_in, n_y), ceil_div(columns_in, n_x), deep, LONG_SEGMENT)
            cycles = cycles + loads * (issue + most(tile / self.bandwidth, tile / target.dma.bytes_per_cycle))
        if p.residual is None or p.residual.resident:
            return cycles, 0.0
        rows, columns, channels = p.residual_tile(t)
        tile = self._tile_traffic(p.residual, rows, columns, least(channels, p.residual.c), LONG_SEGMENT)
        return cycles, tiles * (issue + tile / self.bandwidth)

    def _weight_cycles(self, t: Tiling, nest: Sequence[Loop], loads: Number, axes: Axes) -> Number:
        """Cycles of all loads of weights (each of `loads`) and of requantisation parameters, which follow `axes`."""
        issue = self.target.dma.issue_cycles
        each = self.p.work.weight_load_cycles(self.p, t, self.target, self.bandwidth)
        parameters = requant_block_bytes(t.parameters) / self.bandwidth
        return loads * (issue + each) + executions(nest, axes) * (issue + parameters)

    def _compute(self, t: Tiling) -> _Compute:
        p = self.p
        instructions: Number = 0
        cycles: Number = 0.0
        for rows, many in pieces(p.oh, t.rows, t.psum_rows):
            for columns, wide in pieces(p.ow, t.columns, t.columns):
                for channels, deep in pieces(p.k, t.channels, t.psum_channels):
                    for depth, times in pieces(p.cpg, t.input_channels, t.depth):
                        count = many * wide * deep * times
                        instructions = instructions + count
                        cycles = cycles + count * self.compute(
                            ComputeTile(rows, columns, channels, depth, t.row_groups)
                        )
        steps = sum(count for _, count in pieces(p.cpg, t.input_channels, t.depth))
        return _Compute(cycles * p.parts, instructions // steps)

    def _single(self, needed: list[Buffer]) -> dict[str, Number]:
        """For each buffer, whether it is streamed and has one instance: what fills it and what reads it take turns.

        In place, so do the blocks and the post unit, as the bytes of the channels that they read and write alternate.
        """
        wanted = [(b.name, b.space, b.nbytes, b.streamed) for b in needed]
        counts = instances_per_buffer(wanted, self.target)
        alternating = "psum" if self.p.in_place else ""
        return {b.name: b.streamed & ((counts[b.name] == 1) | (b.name == alternating)) for b in needed}

    def post_tile(self, t: Tiling) -> float:
        """Cycles of the post unit for one PSUM tile, or for an output tile of a layer without partial sums."""
        rows, channels = (t.psum_rows, t.psum_channels) if self.p.accumulates else (t.rows, t.channels)
        return float(self.target.post.issue_cycles + rows * t.columns * channels / self.target.post.lanes)

    def queued(self, t: Tiling) -> Queued:
        """Estimated cycles of the queues."""
        p, target = self.p, self.target
        nest, depends = loops(p, t), dependencies(p, t)
        tiles = ceil_div(p.oh, t.rows) * ceil_div(p.ow, t.columns) * ceil_div(p.k, t.channels)
        act_loads = executions(nest, depends["act"]) * p.parts
        act_cycles, residual_cycles = self._activation_cycles(t, act_loads, tiles)

        weight_cycles: Number = 0.0
        weight_loads: Number = 1
        work = _Compute(0.0, tiles)
        if p.accumulates:
            weight_loads = executions(nest, depends["weights"]) * p.parts
            weight_cycles = self._weight_cycles(t, nest, weight_loads, depends["parameters"])
            work = self._compute(t)
        post = work.posts * target.post.issue_cycles + p.work.post_values(p, target) / target.post.lanes
        positions = math.prod(p.output)
        stored = positions * p.k * (p.output_density + 1 / 8 if p.output_format is TensorFormat.BITMAP else 1.0)
        if p.stored_c > p.k and p.output_format is TensorFormat.RAW:
            stored += positions * target.dram.burst_bytes / 2
        stored = 0.0 if p.output_resident else stored
        store = 0.0 if p.output_resident else tiles * target.dma.issue_cycles + stored / self.bandwidth
        first = (act_cycles + residual_cycles) / act_loads + _FIRST_WEIGHTS * weight_cycles / weight_loads
        written, last = stored / self.bandwidth, (post + store) / tiles
        return Queued(act_cycles, residual_cycles, weight_cycles, work.cycles, post, store, written, first, last)

    def cycles(self, t: Tiling, needed: list[Buffer]) -> Number:
        """Estimated cycles of the layer: the busiest queue, plus what single-buffered transfers expose, plus start
        and end.
        """
        q, single = self.queued(t), self._single(needed)
        total = q.total
        for name, waiting in q.exposed.items():
            total = total + choose(single.get(name, False), waiting, 0)
        return total


def group_choices(blocks: int, rows: int) -> list[int]:
    """Numbers of row groups worth a try: those that change the rows or the blocks of a group."""
    found = {1}
    g = 2
    while g <= min(blocks, rows, ROW_GROUPS.high):
        found.add(g)
        g += 1 if g < 8 else g // 4
    return sorted(found | {min(blocks, rows, ROW_GROUPS.high)})
