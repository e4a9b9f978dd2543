"""Tilings: how the loops of a layer are cut, what each transfer depends on, and the scratchpad buffers that this
takes.

A layer is tiled in two levels. The *output tile* (rows x columns x channels) is what one store writes; its input window
is what one load brings into ACT. Convolutions compute it in *PSUM tiles* (rows x all columns x channels), each
accumulated over `depth` input channels at a time. Loops, outside in: k, y, x of output tiles (or y, x, k), then
channels and rows of PSUM tiles, then depth; a transfer stands in the innermost loop whose index it depends on, so the
loop order decides what is loaded again.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import ClassVar, NamedTuple, TypeAlias

from isa.formats import TensorFormat
from isa.instructions import load_bytes
from isa.integers import Number, by_value, choose, entry, most
from isa.layout import ceil_div, requant_block_bytes
from isa.target import Target
from passes.tiling.geometry import ChannelMap, Span, steps, widest_span
from passes.tiling.memory import reserve


@dataclass(frozen=True)
class InputSource:
    """An input of a layer: channels, how outputs map to them, its format, and the expected share of non-zeros.

    What is `resident` lies in ACT as a whole: no tile of it is loaded. `stored_c`: channels of the tensor that has
    the bytes of the input, 0 if those are its own.
    """

    c: int
    format: TensorFormat
    channels: ChannelMap
    density: float
    resident: bool = False
    stored_c: int = 0


class ComputeTile(NamedTuple):
    """What one instruction computes: rows, columns and output channels of partial sums, from `depth` input channels,
    by `groups` of PE blocks that take different rows.
    """

    rows: Number
    columns: Number
    channels: Number
    depth: Number
    groups: Number


class Computed(NamedTuple):
    """Cycles of a compute instruction: its own, its issue among them; those in which it expands its first coefficients
    before; and those before its end from which the next instruction may expand its own.
    """

    cycles: float
    expansion: float = 0.0
    released: float = 0.0


class WeightStream(NamedTuple):
    """One load of weights: bytes of its own that it fetches, cycles of its scratchpad side, and bytes that every load
    of the layer fetches before its own.
    """

    nbytes: int
    cycles: Number
    shared: int = 0


@dataclass(frozen=True)
class Workload:
    """What the tiler asks about the work of a layer; each layer kind has a subclass, with its own numbers as fields.

    Instances are values: two equal ones describe the same work, so that a tiling found for one serves the other. Sizes
    and cycles are asked for one tiling or for the columns of many (see `isa.integers`).
    """

    name: ClassVar[str] = ""
    """The kind of layer, as in `bfs.layer`."""
    accumulates: ClassVar[bool] = False
    """Whether the layer computes partial sums, from weights, in PSUM."""
    reads_all_channels: ClassVar[bool] = False
    """Whether every output channel reads all input channels, so that input tiles do not follow the output channels."""
    takes_window_in_parts: ClassVar[bool] = False
    """Whether a window may be cut into parts that are accumulated one after the other."""

    def splits_input_channels(self, p: TilingProblem) -> bool:
        """Whether partial sums may be accumulated over a part of the input channels at a time."""
        return False

    def weight_bytes(self, p: TilingProblem, channels: Number, depth: Number, target: Target) -> Number:
        """COEF bytes of one load of the weights of some output channels, over `depth` input channels."""
        return 0

    def weight_load_cycles(self, p: TilingProblem, t: Tiling, target: Target, bandwidth: float) -> Number:
        """Cycles of one load of weights, without its issue, at `bandwidth` DRAM bytes a cycle."""
        return self.weight_bytes(p, t.weights, t.depth, target) / bandwidth

    def psum_channels(self, p: TilingProblem, channels: int, target: Target) -> set[int]:
        """Numbers of channels of a PSUM tile that suit the kind, beside those that suit every kind."""
        return set()

    def row_groups(self, rows: int, target: Target) -> Collection[int]:
        """Numbers of groups of PE blocks worth a try for a PSUM tile of so many rows."""
        return (1,)

    def compute_cycles(self, p: TilingProblem, tile: ComputeTile, target: Target) -> Number:
        """Cycles of the instruction that computes a PSUM tile."""
        return 0.0

    def weight_stream(self, p: TilingProblem, channels: int, depth: int, target: Target) -> WeightStream:
        """One load of the weights of some output channels, over `depth` input channels; unpacked if nothing is known of
        their values.
        """
        nbytes = entry(self.weight_bytes(p, channels, depth, target), 0)
        return WeightStream(nbytes, load_bytes.cycles({"size": nbytes}, target))

    def expected_cycles(self, p: TilingProblem, tile: ComputeTile, y: Span, x: Span, target: Target) -> Computed:
        """Cycles of the instruction that computes the PSUM tile of output rows `y` and columns `x`, with all that is
        known of its data.
        """
        return Computed(float(self.compute_cycles(p, tile, target)))

    def post_values(self, p: TilingProblem, target: Target) -> int:
        """Values that pass through a lane of the post unit, one a cycle."""
        return p.oh * p.ow * p.k


@dataclass(frozen=True)
class TilingProblem:
    """What the tiler needs to know about a layer.

    `work`: what the layer computes. `sources`: input tensors of extent h x w, read through windows of `kernel`,
    `strides`, `pads` (top, left). Convolutions: `cpg`, `kpg` input and output channels of a group. `residual`: a tensor
    of the output's extent is added or multiplied; where `residual_spread` [y, x, k] says so, it has one index along an
    axis. `output_resident`: the output stays in ACT. `in_place`: it is computed in the place of a source that is
    read channel by channel (`channelwise`), so that every tile of partial sums has all rows and columns.
    `stored_c`: channels of the tensor that the output is a part of, 0 if it is none; its BITMAP lines then have
    `segment` positions. `parameter_bytes`: PAR blocks that stay for the whole layer. `parts`: how many windows of
    `kernel` make up the window of the layer, accumulated one after the other. `band`: rows of every output tile,
    which then has all columns and channels, and constants are loaded once; 0: tiles of any form. `rows`, `columns`:
    the input row (column) of each output row, where the layer reads no windows. `pool`: rows and columns of the
    windows of requantised positions of which the maximum alone is written; `oh` and `ow`, and rows and columns of
    tiles, are those of positions before that, whole windows of them.
    """

    work: Workload
    h: int
    w: int
    oh: int
    ow: int
    k: int
    sources: tuple[InputSource, ...]
    kernel: tuple[int, int] = (1, 1)
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int] = (0, 0)
    cpg: int = 1
    kpg: int = 1
    residual: InputSource | None = None
    residual_spread: tuple[bool, bool, bool] = (False, False, False)
    parameter_bytes: tuple[int, ...] = ()
    output_format: TensorFormat = TensorFormat.RAW
    output_density: float = 1.0
    output_resident: bool = False
    in_place: bool = False
    stored_c: int = 0
    segment: int = 0
    parts: int = 1
    band: int = 0
    rows: tuple[int, ...] | None = None
    columns: tuple[int, ...] | None = None
    pool: tuple[int, int] = (1, 1)

    @property
    def output(self) -> tuple[int, int]:
        """Rows and columns of the output."""
        return self.oh // self.pool[0], self.ow // self.pool[1]

    @property
    def row_window(self) -> tuple[int, int, int]:
        """Extent, stride and pad of the windows through which the rows of the output see those of the input."""
        rows, stride = self.pool[0], self.strides[0]
        return (rows - 1) * stride + self.kernel[0], rows * stride, self.pads[0]

    @property
    def accumulates(self) -> bool:
        """Whether the layer computes partial sums."""
        return self.work.accumulates

    @property
    def channelwise(self) -> bool:
        """Whether every output channel reads the input channel of its own number, which has its extents, and no other
        one.
        """
        alone = self.accumulates and not self.work.reads_all_channels and self.cpg == self.kpg == 1
        return alone and (self.h, self.w) == self.output and [s.c for s in self.sources] == [self.k]

    @property
    def splits_input_channels(self) -> bool:
        """Whether partial sums may be accumulated over a part of the input channels at a time."""
        return self.work.splits_input_channels(self)

    def residual_tile(self, t: Tiling) -> tuple[Number, Number, Number]:
        """Rows, columns and channels of the residual that belong to an output tile."""
        rows, columns, channels = (
            1 if one else n for n, one in zip((t.rows, t.columns, t.channels), self.residual_spread, strict=True)
        )
        return rows, columns, channels

    def rolls(self, t: Tiling) -> Number:
        """Whether input tiles are whole rows that overlap: these lie in a ring, and each row is loaded once."""
        whole = (t.columns == self.ow) & (
            (t.input_channels == self.cpg) if self.accumulates else (t.channels == self.k)
        )
        if not self.work.reads_all_channels:
            whole = whole & (t.channels == self.k)
        return whole & (len(self.sources) == self.parts == 1 and self.kernel[0] > self.strides[0])

    @property
    def taps(self) -> int:
        """Positions of a window."""
        return self.kernel[0] * self.kernel[1]


@dataclass(frozen=True)
class Tiling:
    """A schedule, or the columns of many (see `isa.integers`), which then share order and segment.

    `rows`, `columns`, `channels`: output tile; `psum_rows`, `psum_channels`: PSUM tile; `input_channels`: channels (of
    a group) in an input tile; `depth`: those of one accumulation step; `weights`, `parameters`: output channels of one
    load of weights and of requantisation parameters; `order`: "spatial" (y, x, k) or "channel" (k, y, x); `row_groups`:
    groups of PE blocks; `segment` of the bitmap lines of the output.
    """

    rows: Number
    columns: Number
    channels: Number
    psum_rows: Number
    psum_channels: Number
    input_channels: Number
    depth: Number
    weights: Number
    parameters: Number
    order: str
    row_groups: Number
    segment: int


@dataclass(frozen=True)
class Buffer:
    """A scratchpad buffer of a tiling: `streamed` if it is filled more than once."""

    name: str
    space: str
    nbytes: Number
    streamed: Number


@dataclass(frozen=True)
class Loop:
    """A loop of a layer: `outer` loops walk output tiles."""

    axis: str
    trips: Number


def loops(p: TilingProblem, t: Tiling) -> tuple[Loop, ...]:
    """All loops of the layer, outside in, those with one trip included. Inner trips are those of a full output tile."""
    k = Loop("k", ceil_div(p.k, t.channels))
    space = (Loop("y", ceil_div(p.oh, t.rows)), Loop("x", ceil_div(p.ow, t.columns)))
    outer = (k, *space) if t.order == "channel" else (*space, k)
    if not p.accumulates:
        return outer
    return (
        *outer,
        Loop("pk", ceil_div(t.channels, t.psum_channels)),
        Loop("py", ceil_div(t.rows, t.psum_rows)),
        Loop("a", ceil_div(p.cpg, t.input_channels)),
        Loop("c", ceil_div(t.input_channels, t.depth)),
    )


Axes: TypeAlias = Mapping[str, Number]
"""Loop axes that a transfer depends on; the condition may differ among many tilings."""


def _axes(*names: str) -> dict[str, Number]:
    return dict.fromkeys(names, True)


def dependencies(p: TilingProblem, t: Tiling) -> Mapping[str, Axes]:
    """Loop axes that each transfer of a layer depends on. Parts of a window stand in the innermost loop, and so do
    their input tiles and weights.
    """
    every = _axes("k", "y", "x", "pk", "py", "a", "c")
    act = {**_axes("y", "x"), "a": t.input_channels < p.cpg}
    if not p.work.reads_all_channels:
        act["k"] = True
    return {
        "act": act if p.parts == 1 else every,
        "residual": _axes(*(axis for axis, one in zip("yxk", p.residual_spread, strict=True) if not one)),
        "weights": {**_channel_axes(p, t, t.weights), **_axes("a", "c")} if p.parts == 1 else every,
        "parameters": _channel_axes(p, t, t.parameters),
        "resident": {},
        "out": _axes("y", "x", "k"),
        "psum": _axes("y", "x", "k", "pk", "py"),
    }


def _channel_axes(p: TilingProblem, t: Tiling, channels: Number) -> Axes:
    """Axes of a load of so many output channels: none for all, those of output tiles, or those of PSUM tiles."""
    of_tile = channels == t.channels
    return {"k": choose(of_tile, t.channels < p.k, channels != p.k), "pk": choose(of_tile, False, channels != p.k)}


def placement(nest: Sequence[Loop], axes: Axes) -> int:
    """How many loops of the nest of one tiling enclose a transfer that depends on `axes`: those up to the innermost
    real loop among them.
    """
    return max((i + 1 for i, loop in enumerate(nest) if axes.get(loop.axis, False) and loop.trips > 1), default=0)


def executions(nest: Sequence[Loop], axes: Axes) -> Number:
    """How often a transfer runs: once in each turn of the loops that enclose it."""
    turns, found = 1, 1
    for loop in nest:
        turns = turns * loop.trips
        found = choose((loop.trips > 1) & axes.get(loop.axis, False), turns, found)
    return found


def act_bytes(p: TilingProblem, t: Tiling, source: InputSource, chunk: int) -> Number:
    """Bytes of the largest input tile of a source."""
    h = by_value(lambda n: widest_span(p.oh, n, p.kernel[0], p.strides[0], p.pads[0], p.h, p.rows), t.rows)
    w = by_value(lambda n: widest_span(p.ow, n, p.kernel[1], p.strides[1], p.pads[1], p.w, p.columns), t.columns)
    if p.work.reads_all_channels:
        widest = source.c
    else:
        channels = source.channels
        widest = by_value(
            lambda n: max(channels.source(s, source.c, chunk).extent for s in steps(0, p.k, n)), t.channels
        )
    if p.accumulates:
        widest = choose(t.input_channels < p.cpg, t.input_channels, widest)
    return h * w * widest


def buffers(p: TilingProblem, t: Tiling, target: Target) -> list[Buffer]:
    """All scratchpad buffers of a tiling, the ones that gain most from a second instance first."""
    nest, depends, chunk = loops(p, t), dependencies(p, t), target.array.chunk

    def buffer(name: str, space: str, nbytes: Number, kind: str) -> Buffer:
        return Buffer(name, space, nbytes, executions(nest, depends[kind]) > 1)

    found: list[Buffer] = []
    loaded = [source for source in p.sources if not source.resident]
    if loaded:
        act = buffer("act", "act", reduce(most, (act_bytes(p, t, source, chunk) for source in loaded)), "act")
        found.append(replace(act, streamed=True) if len(loaded) > 1 or p.parts > 1 else act)
    if p.residual is not None and not p.residual.resident:
        found.append(buffer("residual", "act", math.prod(p.residual_tile(t)), "residual"))
    if not p.output_resident:
        found.append(buffer("out", "act", t.rows * t.columns // math.prod(p.pool) * t.channels, "out"))
    if p.accumulates:
        found.append(buffer("psum", "psum", 4 * t.psum_rows * t.columns * t.psum_channels, "psum"))
        weights = buffer("weights", "coef", p.work.weight_bytes(p, t.weights, t.depth, target), "weights")
        found.append(replace(weights, streamed=weights.streamed | (p.parts > 1)))
        found.append(buffer("parameters", "par", requant_block_bytes(t.parameters), "parameters"))
    found += [buffer(f"parameter{i}", "par", n, "resident") for i, n in enumerate(p.parameter_bytes)]
    return found


def fits(needed: Iterable[Buffer], target: Target) -> Number:
    """Whether one instance of every buffer fits the scratchpads."""
    used: dict[str, Number] = {}
    for b in needed:
        used[b.space] = used.get(b.space, 0) + reserve(b.nbytes)
    found: Number = True
    for space, n in used.items():
        found = found & (n <= getattr(target.scratchpad, space))
    return found
