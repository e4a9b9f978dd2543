"""Estimated cycles of a tiling: what the search of `passes.math.tile_search` minimises."""

from __future__ import annotations

from functools import cached_property

from isa.instructions import TensorFormat
from isa.layout import ceil_div, requant_block_bytes
from isa.target import Target
from passes.math.geometry import pieces, total_span
from passes.math.memory import pairs
from passes.math.tiling import Buffer, Problem, Source, Tiling, coefficient_load_bytes, dependencies, executions, loops


class CostModel:
    """Estimated cycles of a tiling of one problem on one machine."""

    def __init__(self, problem: Problem, target: Target) -> None:
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
        p, a = self.p, self.target.array
        if p.kind == "depthwise":
            work = ceil_div(rows * columns * channels, a.blocks * a.slices) * ceil_div(p.taps, a.macs)
            return a.issue_cycles + work
        blocks = a.blocks // groups
        share = ceil_div(rows, groups)
        if p.kind == "dense":
            terms = ceil_div(p.taps * depth, a.slices * a.macs)
            return a.issue_cycles + share * columns * ceil_div(channels, blocks) * terms
        slots = blocks * max(1, a.slices // p.v)
        items = ceil_div(channels, slots) * ceil_div(p.v, a.slices)
        taps = [min(k, k if s == 1 else ceil_div(k, s)) for k, s in zip(p.kernel, p.strides, strict=True)]
        cycles = max(p.match_cycles, ceil_div(taps[0] * taps[1], a.macs))
        high, wide = share, columns
        if p.kernel != (1, 1):
            high = min(p.h, (share - 1) * p.strides[0] + p.kernel[0])
            wide = min(p.w, (columns - 1) * p.strides[1] + p.kernel[1])
        broadcast = ceil_div(ceil_div(p.cpg, a.chunk), a.broadcast_chunks)
        return a.issue_cycles + high * wide * max(broadcast, items * cycles)

    def best_groups(self, rows: int, columns: int, channels: int, depth: int) -> tuple[float, int]:
        """Fewest cycles of a PSUM tile over the numbers of row groups, and that number (the smallest among equals)."""
        key = (rows, columns, channels, depth)
        if key not in self._groups:
            choices = [1] if self.p.kind == "depthwise" else group_choices(self.target.array.blocks, rows)
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

    def cycles(self, t: Tiling, needed: list[Buffer]) -> float:
        """Estimated cycles of the layer: the busiest queue, plus what single-buffered transfers expose, plus start
        and end.
        """
        p, target = self.p, self.target
        nest, depends = loops(p, t), dependencies(p, t)
        chunk, issue = target.array.chunk, target.dma.issue_cycles
        paired = {
            name
            for name, n in pairs([(b.name, b.space, b.nbytes, b.streamed) for b in needed], target).items()
            if n > 1
        }
        single = {b.name for b in needed if b.streamed} - paired

        columns_in = total_span(p.ow, t.columns, p.kernel[1], p.strides[1], p.pads[1], p.w)
        rows_in = total_span(p.oh, t.rows, p.kernel[0], p.strides[0], p.pads[0], p.h)
        n_y, n_x, n_k = ceil_div(p.oh, t.rows), ceil_div(p.ow, t.columns), ceil_div(p.k, t.channels)
        act_loads = executions(nest, depends["act"]) * p.parts
        act_cycles = 0.0
        for s in p.sources:
            deep = t.input_channels if p.is_convolution and t.input_channels < p.cpg else s.c
            if p.kind not in ("dense", "escalate"):
                deep = ceil_div(s.c, n_k)
            tile = self._tile_traffic(s, ceil_div(rows_in, n_y), ceil_div(columns_in, n_x), deep, 32)
            act_cycles += act_loads * (issue + max(tile / self.bandwidth, tile / target.dma.bytes_per_cycle))
        if p.residual is not None:
            tile = self._tile_traffic(p.residual, t.rows, t.columns, min(t.channels, p.k), 32)
            act_cycles += n_y * n_x * n_k * (issue + tile / self.bandwidth)

        weight_cycles = 0.0
        loads = 1
        compute = 0.0
        post_work = p.oh * p.ow * p.k
        posts = n_y * n_x * n_k
        if p.is_convolution:
            loads = executions(nest, depends["weights"]) * p.parts
            if p.kind == "escalate":
                count = t.weights * p.v * p.cpg
                packed = count * min(0.25, 0.02 + 0.6 * p.coefficient_density)
                each = max(packed / self.bandwidth, count / target.dma.decode_coefficients)
            else:
                each = coefficient_load_bytes(p, t, chunk) / self.bandwidth
            weight_cycles = loads * (issue + each)
            weight_cycles += executions(nest, depends["parameters"]) * (
                issue + requant_block_bytes(t.parameters) / self.bandwidth
            )
            instructions = 0
            for rows, many in pieces(p.oh, t.rows, t.psum_rows):
                for columns, wide in pieces(p.ow, t.columns, t.columns):
                    for channels, deep in pieces(p.k, t.channels, t.psum_channels):
                        for depth, times in pieces(p.cpg, t.input_channels, t.depth):
                            count = many * wide * deep * times
                            instructions += count
                            compute += count * self.compute(rows, columns, channels, depth, t.row_groups)
            compute *= p.parts
            posts = instructions // sum(count for _, count in pieces(p.cpg, t.input_channels, t.depth))
        elif p.kind == "pool":
            post_work *= p.taps
        post = posts * target.post.issue_cycles + post_work / target.post.lanes
        stored = p.oh * p.ow * p.k * (p.output_density + 1 / 8 if p.output_format is TensorFormat.BITMAP else 1.0)
        store = n_y * n_x * n_k * issue + stored / self.bandwidth

        load = act_cycles + weight_cycles
        total = max(load + stored / self.bandwidth, compute, post, store)
        if "act" in single:
            total += min(act_cycles, compute or post)
        if "weights" in single:
            total += min(weight_cycles, compute)
        if "psum" in single:
            total += min(compute, post)
        if "out" in single:
            total += min(post, store)
        first = act_cycles / max(1, act_loads) + weight_cycles / max(1, loads)
        return total + first + (post + store) / max(1, n_y * n_x * n_k) + 0.02 * (load + compute + post + store)


def group_choices(blocks: int, rows: int) -> list[int]:
    """Numbers of row groups worth a try: those that change the rows or the blocks of a group."""
    found = {1}
    g = 2
    while g <= min(blocks, rows, 255):
        found.add(g)
        g += 1 if g < 8 else g // 4
    return sorted(found | {min(blocks, rows, 255)})
