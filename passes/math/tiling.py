"""Choice of tiles: exhaustive over a small, ordered set of candidates, by an explicit estimate of bytes and cycles.

A layer is tiled in two levels. The *OUT tile* (rows x columns x channels) is what one store writes; its input window is what one load
brings into ACT. Convolutions compute it in *PSUM tiles* (rows x all columns x channels), each accumulated over `depth` input
channels at a time. Loops, outside in: k, y, x of OUT tiles (or y, x, k), then channels and rows of PSUM tiles, then depth; a
transfer stands in the innermost loop whose index it depends on, so the loop order decides what stays resident.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from isa.instructions import TensorFormat
from isa.layout import RecordLayout, ceil_div, coefficient_bytes, requant_block_bytes
from isa.target import Target
from passes.math.geometry import ChannelMap, balanced, pieces, step_choices, steps, total_span, widest_span
from passes.math.memory import pairs, reserve

CONVOLUTIONS = ("dense", "depthwise", "escalate")
ORDERS = ("spatial", "channel")


@dataclass(frozen=True)
class Source:
    """An input of a layer: channels, how outputs map to them, its format, and the expected share of non-zeros."""

    c: int
    format: TensorFormat
    channels: ChannelMap
    density: float


@dataclass(frozen=True)
class Problem:
    """What the tiler needs to know about a layer.

    `sources`: input tensors of extent h x w, read through windows of `kernel`, `strides`, `pads` (top, left). `kind` as
    in `bfs.layer`. Convolutions: `cpg`, `kpg` input and output channels of a group; `v` bases, `match_cycles` mean coefficient
    accumulator cycles of one intermediate value, `coefficient_density` share of non-zero coefficients. `residual`: a
    tensor of the output's extent is added. `parameter_bytes`: PAR blocks that stay for the whole layer.
    """

    kind: str
    h: int
    w: int
    oh: int
    ow: int
    k: int
    sources: tuple[Source, ...]
    kernel: tuple[int, int] = (1, 1)
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int] = (0, 0)
    cpg: int = 1
    kpg: int = 1
    v: int = 0
    match_cycles: float = 0.0
    coefficient_density: float = 0.0
    residual: Source | None = None
    parameter_bytes: tuple[int, ...] = ()
    output_format: TensorFormat = TensorFormat.RAW
    output_density: float = 1.0

    @property
    def is_convolution(self) -> bool:
        """Whether the layer computes partial sums."""
        return self.kind in CONVOLUTIONS

    @property
    def taps(self) -> int:
        """Positions of a window."""
        return self.kernel[0] * self.kernel[1]


@dataclass(frozen=True)
class Tiling:
    """A schedule. `rows`, `columns`, `channels`: OUT tile; `psum_rows`, `psum_channels`: PSUM tile; `input_channels`: channels
    (of a group) in an ACT tile; `depth`: those of one accumulation step; `weights`, `parameters`: output channels of one load of weights and
    of requantisation parameters; `order`: "spatial" (y, x, k) or "channel" (k, y, x); `row_groups`: groups of PE blocks.
    """

    rows: int
    columns: int
    channels: int
    psum_rows: int
    psum_channels: int
    input_channels: int
    depth: int
    weights: int
    parameters: int
    order: str
    row_groups: int
    segment: int


@dataclass(frozen=True)
class Buffer:
    """A scratchpad buffer of a tiling: `streamed` if it is filled more than once."""

    name: str
    space: str
    nbytes: int
    streamed: bool


@dataclass(frozen=True)
class Loop:
    """A loop of a layer: `outer` loops walk OUT tiles."""

    axis: str
    trips: int


def loops(p: Problem, t: Tiling) -> tuple[Loop, ...]:
    """All loops of the layer, outside in, those with one trip included. Inner trips are those of a full OUT tile."""
    k = Loop("k", ceil_div(p.k, t.channels))
    space = (Loop("y", ceil_div(p.oh, t.rows)), Loop("x", ceil_div(p.ow, t.columns)))
    outer = (k, *space) if t.order == "channel" else (*space, k)
    if not p.is_convolution:
        return outer
    return (
        *outer,
        Loop("pk", ceil_div(t.channels, t.psum_channels)),
        Loop("py", ceil_div(t.rows, t.psum_rows)),
        Loop("a", ceil_div(p.cpg, t.input_channels)),
        Loop("c", ceil_div(t.input_channels, t.depth)),
    )


def dependencies(p: Problem, t: Tiling) -> Mapping[str, frozenset[str]]:
    """Loop axes that each transfer of a layer depends on."""
    follows_channels = p.kind not in ("dense", "escalate")
    act = {"y", "x"} | ({"k"} if follows_channels else set()) | ({"a"} if t.input_channels < p.cpg else set())
    of_channels = {p.k: set[str](), t.channels: {"k"}}
    return {
        "act": frozenset(act),
        "residual": frozenset({"y", "x", "k"}),
        "weights": frozenset(of_channels.get(t.weights, {"k", "pk"}) | {"a", "c"}),
        "parameters": frozenset(of_channels.get(t.parameters, {"k", "pk"})),
        "resident": frozenset(),
        "out": frozenset({"y", "x", "k"}),
        "psum": frozenset({"y", "x", "k", "pk", "py"}),
    }


def placement(nest: tuple[Loop, ...], axes: Iterable[str]) -> int:
    """How many loops of the nest enclose a transfer that depends on `axes`: those up to the innermost real loop among them."""
    wanted = set(axes)
    return max((i + 1 for i, loop in enumerate(nest) if loop.axis in wanted and loop.trips > 1), default=0)


def executions(nest: tuple[Loop, ...], axes: Iterable[str]) -> int:
    """How often such a transfer runs."""
    return math.prod(loop.trips for loop in nest[: placement(nest, axes)])


def act_bytes(p: Problem, t: Tiling, source: Source, chunk: int) -> int:
    """Largest ACT tile of a source."""
    h = widest_span(p.oh, t.rows, p.kernel[0], p.strides[0], p.pads[0], p.h)
    w = widest_span(p.ow, t.columns, p.kernel[1], p.strides[1], p.pads[1], p.w)
    if p.is_convolution and t.input_channels < p.cpg:
        widest = t.input_channels
    elif p.kind in ("dense", "escalate"):
        widest = source.c
    else:
        widest = max(source.channels.source(s, source.c, chunk).extent for s in steps(0, p.k, t.channels))
    return RecordLayout(widest, chunk).tile_bytes(h, w)


def coefficient_load_bytes(p: Problem, t: Tiling, chunk: int) -> int:
    """COEF bytes of one load of weights or coefficients."""
    if p.kind == "escalate":
        return coefficient_bytes(t.weights, p.v, p.cpg, chunk)
    return t.weights * p.taps * (t.depth if p.kind == "dense" else 1)


def buffers(p: Problem, t: Tiling, chunk: int) -> list[Buffer]:
    """All scratchpad buffers of a tiling, the ones that gain most from a second instance first."""
    nest, depends = loops(p, t), dependencies(p, t)

    def buffer(name: str, space: str, nbytes: int, kind: str) -> Buffer:
        return Buffer(name, space, nbytes, executions(nest, depends[kind]) > 1)

    act = max(act_bytes(p, t, source, chunk) for source in p.sources)
    found = [buffer("act", "act", act, "act")]
    if len(p.sources) > 1:
        found[0] = replace(found[0], streamed=True)
    if p.residual is not None:
        found.append(
            buffer("residual", "act", RecordLayout(t.channels, chunk).tile_bytes(t.rows, t.columns), "residual")
        )
    found.append(buffer("out", "out", t.rows * t.columns * t.channels, "out"))
    if p.is_convolution:
        found.append(buffer("psum", "psum", 4 * t.psum_rows * t.columns * t.psum_channels, "psum"))
        found.append(buffer("weights", "coef", coefficient_load_bytes(p, t, chunk), "weights"))
        found.append(buffer("parameters", "par", requant_block_bytes(t.parameters), "parameters"))
    found += [buffer(f"parameter{i}", "par", n, "resident") for i, n in enumerate(p.parameter_bytes)]
    return found


def fits(needed: Iterable[Buffer], target: Target) -> bool:
    """Whether one instance of every buffer fits the scratchpads."""
    used: dict[str, int] = {}
    for b in needed:
        used[b.space] = used.get(b.space, 0) + reserve(b.nbytes)
    return all(n <= getattr(target.scratchpad, space) for space, n in used.items())


# Cost ----------------------------------------------------------------------------------------------------------------


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
        """Estimated cycles of the layer: the busiest queue, plus what single-buffered transfers expose, plus start and end."""
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
        act_loads = executions(nest, depends["act"])
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
        compute = 0.0
        post_work = p.oh * p.ow * p.k
        posts = n_y * n_x * n_k
        if p.is_convolution:
            loads = executions(nest, depends["weights"])
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
        first = act_cycles / max(1, act_loads) + weight_cycles / max(1, executions(nest, depends["weights"]))
        return total + first + (post + store) / max(1, n_y * n_x * n_k) + 0.02 * (load + compute + post + store)


def group_choices(blocks: int, rows: int) -> list[int]:
    """Numbers of row groups worth a try: those that change the rows or the blocks of a group."""
    found = {1}
    g = 2
    while g <= min(blocks, rows, 255):
        found.add(g)
        g += 1 if g < 8 else g // 4
    return sorted(found | {min(blocks, rows, 255)})


# Search --------------------------------------------------------------------------------------------------------------


def segment_choices(width: int) -> list[int]:
    """Segments of a bitmap tensor in order of preference: whole rows when narrow, else about 32 positions; then halves.

    Long lines pack better and cost fewer bursts; short ones let tiles be narrow.
    """
    first = width if width <= 64 else balanced(width, 32)
    found = [first]
    while found[-1] > 1:
        found.append(ceil_div(found[-1], 2))
    return found


def _conv_inner(
    p: Problem, rows: int, columns: int, channels: int, input_channels: int, target: Target
) -> Iterator[tuple[int, int, int, int]]:
    """PSUM rows, PSUM channels, depth and weights of one load to try for an OUT tile."""
    chunk = target.array.chunk
    psum_words = target.scratchpad.psum // 4
    coef = target.scratchpad.coef
    for pn in _psum_channel_choices(p, channels, target):
        heights = dict.fromkeys(
            balanced(rows, limit // (columns * pn)) for limit in (psum_words // 2, psum_words) if limit >= columns * pn
        )
        depths = [input_channels]
        if p.kind == "dense" and p.kpg == p.k:
            per_channel = pn * p.taps
            for limit in (coef // 2, coef):
                if per_channel <= limit < per_channel * input_channels:
                    depths.append(balanced(input_channels, limit // per_channel))
        for ph in heights:
            for depth in dict.fromkeys(depths):
                options = (p.k, channels, pn) if depth == p.cpg else (pn,)
                for weights in dict.fromkeys(options):
                    size = (
                        coefficient_bytes(weights, p.v, p.cpg, chunk)
                        if p.kind == "escalate"
                        else weights * p.taps * (depth if p.kind == "dense" else 1)
                    )
                    if size <= coef:
                        yield ph, pn, depth, weights


def _psum_channel_choices(p: Problem, channels: int, target: Target) -> list[int]:
    """Channels of a PSUM tile: whole groups or parts of one, and whole numbers of them in an OUT tile unless it is the last."""
    blocks = target.array.blocks
    wanted = {channels, 1, 2, 4, 8, 16, 32, 64, 128, 256, blocks, 2 * blocks, 4 * blocks}
    if p.kind == "escalate":
        slots = blocks * max(1, target.array.slices // p.v)
        wanted |= {slots, 2 * slots, ceil_div(channels, 2), ceil_div(channels, 3)}
    if p.kpg != p.k:
        wanted |= {p.kpg * n for n in (1, 2, 4, 8, 16, 32, 64)}
    whole = channels == p.k
    found = [
        n
        for n in wanted
        if n <= channels and (whole or channels % n == 0) and (p.kpg == p.k or n % p.kpg == 0 or p.kpg % n == 0)
    ]
    return sorted(found, reverse=True)


def _outer(p: Problem, segment: int, chunk: int) -> Iterator[tuple[int, int, int]]:
    """Rows, columns and channels of OUT tiles to try."""
    multiple = segment if p.output_format is TensorFormat.BITMAP else 1
    widths = step_choices(p.ow, multiple)
    if p.output_format is TensorFormat.RAW:
        widths = [w for w in widths if w == p.ow or w <= 128]
    for channels in step_choices(p.k, chunk):
        if p.kpg != p.k and channels != p.k and channels % p.kpg and p.kpg % channels:
            continue
        for columns in widths:
            for rows in step_choices(p.oh):
                yield rows, columns, channels


def _candidates(p: Problem, segment: int, target: Target) -> Iterator[Tiling]:
    chunk = target.array.chunk
    fixed = sum(reserve(n) for n in p.parameter_bytes)
    act, out = target.scratchpad.act, target.scratchpad.out
    for rows, columns, channels in _outer(p, segment, chunk):
        if rows * columns * channels > out:
            continue
        whole = Tiling(rows, columns, channels, rows, channels, p.cpg, p.cpg, channels, channels, "spatial", 1, segment)
        orders = ORDERS if channels < p.k and (rows < p.oh or columns < p.ow) else ORDERS[:1]
        if not p.is_convolution:
            yield from (replace(whole, order=order) for order in orders)
            continue
        room = target.scratchpad.par - fixed
        for inputs in _input_channel_choices(p, whole, act, chunk):
            for ph, pn, depth, weights in _conv_inner(p, rows, columns, channels, inputs, target):
                par = next((n for n in (p.k, channels, pn) if reserve(requant_block_bytes(n)) <= room), 0)
                if not par:
                    continue
                base = replace(
                    whole,
                    psum_rows=ph,
                    psum_channels=pn,
                    input_channels=inputs,
                    depth=depth,
                    weights=weights,
                    parameters=par,
                )
                yield from (replace(base, order=order) for order in orders)


def _input_channel_choices(p: Problem, whole: Tiling, act: int, chunk: int) -> list[int]:
    """Input channels of an ACT tile: all where they fit; else whole chunks, as many as leave room for two tiles, or one."""
    source = p.sources[0]
    if act_bytes(p, whole, source, chunk) <= act:
        return [p.cpg]
    if p.kind != "dense" or p.kpg != p.k or p.cpg <= chunk:
        return []
    one = act_bytes(p, replace(whole, input_channels=chunk), source, chunk)
    counts = dict.fromkeys(room // one for room in (act // 2, act) if room >= one)
    return [balanced(ceil_div(p.cpg, chunk), count) * chunk for count in counts]


def search(p: Problem, target: Target) -> Tiling | None:
    """The cheapest tiling of a layer; None if none fits the scratchpads.

    Deterministic: ties go to the candidate that comes first. Bitmap outputs try narrower segments only when wider ones do not fit.
    """
    model = CostModel(p, target)
    segments = segment_choices(p.ow) if p.output_format is TensorFormat.BITMAP else [p.ow]
    for segment in segments:
        best: tuple[float, Tiling] | None = None
        for t in _candidates(p, segment, target):
            if p.is_convolution:
                _, groups = model.best_groups(t.psum_rows, t.columns, t.psum_channels, t.depth)
                t = replace(t, row_groups=groups)
            needed = buffers(p, t, target.array.chunk)
            if not fits(needed, target):
                continue
            cost = model.cycles(t, needed)
            if best is None or cost < best[0]:
                best = (cost, t)
        if best is not None:
            return best[1]
    return None


def smallest_need(p: Problem, target: Target) -> tuple[str, int, int]:
    """For a layer that does not tile: the scratchpad that its smallest tile exceeds most, needed and available bytes."""
    chunk = target.array.chunk
    k = min(p.k, chunk)
    pn = 1 if p.kpg == p.k else min(p.kpg, k)
    splits = p.kind == "dense" and p.kpg == p.k
    inputs = min(p.cpg, chunk) if splits else p.cpg
    t = Tiling(1, 1, k, 1, pn, inputs, 1 if splits else p.cpg, pn, pn, "spatial", 1, 1)
    used: dict[str, int] = {}
    for b in buffers(p, t, chunk):
        used[b.space] = used.get(b.space, 0) + reserve(b.nbytes)
    space = max(used, key=lambda s: used[s] / getattr(target.scratchpad, s))
    return space, used[space], getattr(target.scratchpad, space)
