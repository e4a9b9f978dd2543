"""Estimated cycles of a tiling: what the search of `passes.tiling.search` minimises."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

from isa.field_groups import ROW_GROUPS
from isa.formats import TensorFormat
from isa.layout import ceil_div, requant_block_bytes
from isa.target import Target
from passes.tiling.geometry import pieces, total_span
from passes.tiling.memory import instances_per_buffer
from passes.tiling.problem import Buffer, Loop, Source, Tiling, TilingProblem, dependencies, executions, loops

LONG_SEGMENT = 32
"""Positions of a line of a wide BITMAP tensor, about."""
_OVERLAP_LOSS = 0.02
"""Share of all work that is not hidden behind the busiest queue, at the borders of tiles."""


@dataclass(frozen=True)
class _Compute:
    """Cycles of the convolution instructions of a layer, and how often the post unit reads finished partial sums."""

    cycles: float
    posts: int


class CostModel:
    """Estimated cycles of a tiling of one problem on one machine."""

    def __init__(self, problem: TilingProblem, target: Target) -> None:
        self.p = problem
        self.target = target
        self._groups: dict[tuple[int, int, int, int], tuple[float, int]] = {}

    @cached_property
    def bandwidth(self) -> float:
        """DRAM bytes in an accelerator cycle, with an allowance for refresh and row misses."""
        d = self.target.dram
        return 0.85 * d.bytes_per_clock * d.clock_mhz / self.target.clock.frequency_mhz

    def compute(self, rows: int, columns: int, channels: int, depth: int, groups: int) -> float:
        """Cycles of one convolution instruction."""
        return self.p.work.compute_cycles(self.p, rows, columns, channels, depth, groups, self.target)

    def best_groups(self, rows: int, columns: int, channels: int, depth: int) -> tuple[float, int]:
        """Fewest cycles of a PSUM tile over the numbers of row groups, and that number (the smallest among equals)."""
        key = (rows, columns, channels, depth)
        if key not in self._groups:
            choices = self.p.work.row_groups(rows, self.target)
            self._groups[key] = min((self.compute(rows, columns, channels, depth, g), g) for g in choices)
        return self._groups[key]

    def _tile_traffic(self, source: Source, rows: int, columns: int, channels: int, segment: int) -> float:
        """DRAM bytes of one tile, bursts and line ends included."""
        burst = self.target.dram.burst_bytes
        values = rows * columns * channels
        if source.format is TensorFormat.RAW:
            runs = rows if channels >= source.c else rows * columns
            return values + runs * burst / 2
        lines = rows * ceil_div(columns, segment) * ceil_div(channels, self.target.array.chunk)
        return values * (source.density + 1 / 8) + lines * burst / 2

    def _activation_cycles(self, t: Tiling, loads: int, tiles: int) -> float:
        """Cycles of all loads of input tiles (each of `loads`) and residual tiles (each of `tiles`)."""
        p, target, issue = self.p, self.target, self.target.dma.issue_cycles
        columns_in = total_span(p.ow, t.columns, p.kernel[1], p.strides[1], p.pads[1], p.w)
        rows_in = total_span(p.oh, t.rows, p.kernel[0], p.strides[0], p.pads[0], p.h)
        n_y, n_x = ceil_div(p.oh, t.rows), ceil_div(p.ow, t.columns)
        cycles = 0.0
        for s in p.sources:
            deep = t.input_channels if p.accumulates and t.input_channels < p.cpg else s.c
            if not p.work.reads_all_channels:
                deep = ceil_div(s.c, ceil_div(p.k, t.channels))
            tile = self._tile_traffic(s, ceil_div(rows_in, n_y), ceil_div(columns_in, n_x), deep, LONG_SEGMENT)
            cycles += loads * (issue + max(tile / self.bandwidth, tile / target.dma.bytes_per_cycle))
        if p.residual is not None:
            tile = self._tile_traffic(p.residual, t.rows, t.columns, min(t.channels, p.k), LONG_SEGMENT)
            cycles += tiles * (issue + tile / self.bandwidth)
        return cycles

    def _weight_cycles(self, t: Tiling, nest: tuple[Loop, ...], loads: int, axes: Collection[str]) -> float:
        """Cycles of all loads of weights (each of `loads`) and of requantisation parameters, which follow `axes`."""
        issue = self.target.dma.issue_cycles
        each = self.p.work.weight_load_cycles(self.p, t, self.target, self.bandwidth)
        parameters = requant_block_bytes(t.parameters) / self.bandwidth
        return loads * (issue + each) + executions(nest, axes) * (issue + parameters)

    def _compute(self, t: Tiling) -> _Compute:
        p = self.p
        instructions, cycles = 0, 0.0
        for rows, many in pieces(p.oh, t.rows, t.psum_rows):
            for columns, wide in pieces(p.ow, t.columns, t.columns):
                for channels, deep in pieces(p.k, t.channels, t.psum_channels):
                    for depth, times in pieces(p.cpg, t.input_channels, t.depth):
                        count = many * wide * deep * times
                        instructions += count
                        cycles += count * self.compute(rows, columns, channels, depth, t.row_groups)
        steps = sum(count for _, count in pieces(p.cpg, t.input_channels, t.depth))
        return _Compute(cycles * p.parts, instructions // steps)

    def _single(self, needed: list[Buffer]) -> set[str]:
        """Streamed buffers that have one instance: what fills them and what reads them take turns."""
        wanted = [(b.name, b.space, b.nbytes, b.streamed) for b in needed]
        counts = instances_per_buffer(wanted, self.target)
        return {b.name for b in needed if b.streamed and counts[b.name] == 1}

    def cycles(self, t: Tiling, needed: list[Buffer]) -> float:
        """Estimated cycles of the layer: the busiest queue, plus what single-buffered transfers expose, plus start
        and end.
        """
        p, target = self.p, self.target
        nest, depends = loops(p, t), dependencies(p, t)
        tiles = ceil_div(p.oh, t.rows) * ceil_div(p.ow, t.columns) * ceil_div(p.k, t.channels)
        act_loads = executions(nest, depends["act"]) * p.parts
        act_cycles = self._activation_cycles(t, act_loads, tiles)

        weight_cycles, weight_loads = 0.0, 1
        work = _Compute(0.0, tiles)
        if p.accumulates:
            weight_loads = executions(nest, depends["weights"]) * p.parts
            weight_cycles = self._weight_cycles(t, nest, weight_loads, depends["parameters"])
            work = self._compute(t)
        compute = work.cycles
        post = work.posts * target.post.issue_cycles + p.work.post_values(p) / target.post.lanes
        stored = p.oh * p.ow * p.k * (p.output_density + 1 / 8 if p.output_format is TensorFormat.BITMAP else 1.0)
        store = tiles * target.dma.issue_cycles + stored / self.bandwidth

        load = act_cycles + weight_cycles
        total = max(load + stored / self.bandwidth, compute, post, store)
        single = self._single(needed)
        exposed = {
            "act": min(act_cycles, compute or post),
            "weights": min(weight_cycles, compute),
            "psum": min(compute, post),
            "out": min(post, store),
        }
        for name, waiting in exposed.items():
            if name in single:
                total += waiting
        first = act_cycles / max(1, act_loads) + weight_cycles / max(1, weight_loads)
        return total + first + (post + store) / max(1, tiles) + _OVERLAP_LOSS * (load + compute + post + store)


def group_choices(blocks: int, rows: int) -> list[int]:
    """Numbers of row groups worth a try: those that change the rows or the blocks of a group."""
    found = {1}
    g = 2
    while g <= min(blocks, rows, ROW_GROUPS.high):
        found.add(g)
        g += 1 if g < 8 else g // 4
    return sorted(found | {min(blocks, rows, ROW_GROUPS.high)})
