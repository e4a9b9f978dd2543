"""The instructions that a tiled convolution layer will have, as the timing sees them, with expected data.

A walk through the loops of the layer in the order of its program. The cycles of each instruction come from the closed
forms in `isa`; what it waits for, from the buffers that it fills and reads. Nothing is known here of the machine's DRAM
and queues: who times the instructions decides about these.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from isa.formats import Queue, TensorFormat
from isa.instructions import load_act, load_bytes, load_par, post_requant, store_act
from isa.integers import ceil_div, entry
from isa.layout import TensorLayout, align, requant_block_bytes
from isa.program import PAGE
from isa.target import Target
from isa.timed import Longs, TimedInstructions
from passes.tiling.geometry import Span, roll, steps, window_span, windows
from passes.tiling.memory import Interval, instances_per_buffer, plan_arena, reserve
from passes.tiling.problem import (
    Buffer,
    Computed,
    ComputeTile,
    InputSource,
    Loop,
    Tiling,
    TilingProblem,
    buffers,
    dependencies,
    loops,
    placement,
)
from passes.tiling.reuse import MOST_INSTANCES, Filling, Scratch
from passes.tiling.search import segment_choices
from passes.tiling.transfer_rules import MOST_ROWS

_INNER = {"k": "pk", "y": "py", "a": "c"}
"""Axes that are tiled twice, and the axis of their inner loop."""
_NONE = np.empty((0, 2), np.int64)

Ranges = Mapping[str, Span]


@dataclass
class _Instance:
    """One instance of a buffer: what it holds, the last instruction that filled it, and the last one that read it."""

    region: object = None
    filled: int = -1
    read: int = -1


@dataclass
class _Buffer:
    """The instances of a scratchpad buffer, of which one is the current one."""

    instances: list[_Instance]
    at: int = -1

    @property
    def current(self) -> _Instance:
        return self.instances[self.at]

    def turn(self, region: object) -> _Instance:
        """Go on to the next instance, for this region."""
        self.at = (self.at + 1) % len(self.instances)
        self.current.region = region
        return self.current

    def holds(self, region: object) -> bool:
        """Whether an instance holds the region; it is then the current one."""
        found = next((i for i, instance in enumerate(self.instances) if instance.region == region), None)
        self.at = self.at if found is None else found
        return found is not None


class _Ring:
    """A ring of rows of the input: the rows that it holds, and which instructions last filled and read each place."""

    def __init__(self, rows: int) -> None:
        self.held = Span(0, 0)
        self.filled, self.read = [-1] * rows, [-1] * rows

    def roll(self, wanted: Span) -> list[Span]:
        """Hold these rows; those that are to be loaded for that, piece by piece."""
        loaded, self.held = roll(self.held, wanted, len(self.filled))
        return loaded

    def places(self, rows: Span) -> list[int]:
        """The places of rows."""
        return [row % len(self.filled) for row in range(rows.first, rows.end)]


@dataclass
class _Program:
    """Instructions so far, as lists of the columns of `TimedInstructions`."""

    queue: list[int] = field(default_factory=list[int])
    waits: list[list[int]] = field(default_factory=list[list[int]])
    cycles: list[int] = field(default_factory=list[int])
    requests: list[Longs] = field(default_factory=list[Longs])
    ahead: dict[int, tuple[int, int]] = field(default_factory=dict[int, tuple[int, int]])
    _places: list[int] = field(default_factory=list[int])
    _counts: list[int] = field(default_factory=lambda: [0] * len(Queue))

    def add(self, queue: Queue, cycles: float, after: Sequence[int], requests: Longs = _NONE) -> int:
        """Append an instruction that starts after others (-1: none); its number."""
        waits = [0] * len(Queue)
        for i in after:
            if i >= 0 and self.queue[i] != queue:
                waits[self.queue[i]] = max(waits[self.queue[i]], self._places[i])
        self._counts[queue] += 1
        self._places.append(self._counts[queue])
        self.queue.append(queue)
        self.waits.append(waits)
        self.cycles.append(round(cycles))
        self.requests.append(requests)
        return len(self.queue) - 1

    def compute(self, computed: Computed, after: Sequence[int]) -> int:
        """Append a compute instruction; its number."""
        number = self.add(Queue.COMPUTE, computed.cycles, after)
        self.ahead[number] = round(computed.expansion), round(computed.released)
        return number

    def finished(self) -> TimedInstructions:
        """All instructions; every one signals."""
        queue = np.array(self.queue, np.int64)
        waits = np.array(self.waits, np.int64).reshape(len(queue), len(Queue))
        ahead = np.array([self.ahead.get(i, (0, 0)) for i in range(len(queue))], np.int64).reshape(-1, 2)
        cycles = np.array(self.cycles, np.int64)
        return TimedInstructions(queue, np.ones_like(queue), waits, cycles, self.requests, 0, ahead[:, 0], ahead[:, 1])


@dataclass(frozen=True)
class _Tensor:
    """A tensor in DRAM: where it begins, how it lies there, and the share of its values that are not zero."""

    address: int
    layout: TensorLayout
    density: float

    def requests(self, region: tuple[Span, Span, Span]) -> Longs:
        """DRAM requests of a region [y, x, c]; those that follow one another are one."""
        (y, x, c), t = region, self.layout
        rows = np.arange(y.first, y.end)[:, None, None]
        if t.format is TensorFormat.RAW:
            starts = (rows * t.w + np.arange(x.first, x.end)[:, None]) * t.c + c.first
            sizes = np.full(starts.shape, c.extent)
        else:
            chunks = np.arange(c.first // t.chunk, ceil_div(c.end, t.chunk))[:, None]
            segments = np.arange(x.first // t.segment, (x.end - 1) // t.segment + 1)
            starts = ((rows * t.records.chunks + chunks) * t.segments + segments) * t.line_bytes
            positions = np.minimum(t.segment, t.w - segments * t.segment)
            values = np.minimum(t.chunk, t.c - chunks * t.chunk)
            sizes = np.broadcast_to(
                np.rint(positions * (t.records.bitmap_bytes + self.density * values)).astype(np.int64), starts.shape
            )
        return _joined(self.address + starts.reshape(-1), sizes.reshape(-1))


def _joined(starts: Longs, sizes: Longs) -> Longs:
    """Requests [n, 2] of pieces in order; pieces without a gap between them become one."""
    first = np.flatnonzero(np.concatenate([[True], starts[1:] != starts[:-1] + sizes[:-1]]))
    return np.stack([starts[first], np.add.reduceat(sizes, first)], axis=1)


def _instances(needed: Sequence[Buffer], target: Target) -> Mapping[str, int]:
    """Instances of each buffer: those that there must be, and outside ACT as many as there is room."""
    counts = instances_per_buffer([(b.name, b.space, b.nbytes, b.streamed) for b in needed], target)
    found = {b.name: entry(counts[b.name], 0) for b in needed}
    for space in ("coef", "par", "psum"):
        here = [b for b in needed if b.space == space]
        capacity = getattr(target.scratchpad, space)
        regions = range(MOST_INSTANCES)
        wanted = [Filling(entry(b.nbytes, 0), found[b.name], regions if b.streamed else ()) for b in here]
        found |= {b.name: len(places) for b, places in zip(here, Scratch(capacity).place(wanted), strict=True)}
    return found


def _packed_parameters(channels: int) -> int:
    """Bytes in DRAM of the parameters of so many channels, about."""
    return ceil_div(requant_block_bytes(channels), 2)


class _Walk:
    """The program of a layer under construction."""

    def __init__(self, p: TilingProblem, t: Tiling, target: Target) -> None:
        self.p, self.t, self.target = p, t, target
        self.nest: tuple[Loop, ...] = tuple(loop for loop in loops(p, t) if loop.trips > 1)
        self.depends = dependencies(p, t)
        self.depth = {kind: placement(self.nest, axes) for kind, axes in self.depends.items()}
        self.program = _Program()
        needed = buffers(p, t, target)
        instances = _instances(needed, target)
        self.buffer = {name: _Buffer([_Instance() for _ in range(count)]) for name, count in instances.items()}
        self.ring = self._ring_of(needed, instances["act"])
        self.resident: list[int] = []
        self.computed: dict[tuple[ComputeTile, Span, Span], Computed] = {}
        self.constants: dict[object, tuple[int, int]] = {}
        weights = p.work.weight_stream(p, p.k, p.cpg, target)
        self.first_parameters = sum(p.parameter_bytes) + weights.nbytes * p.parts + weights.shared
        self.end_of_constants = 0
        self.steps = {
            "y": t.rows,
            "x": t.columns,
            "k": t.channels,
            "pk": t.psum_channels,
            "py": t.psum_rows,
            "a": t.input_channels,
            "c": t.depth,
        }
        self.tensors = self._place_tensors()

    def _ring_of(self, needed: Sequence[Buffer], instances: int) -> _Ring | None:
        """The ring that the instances of the input buffer make where input tiles are whole rows that overlap."""
        p = self.p
        columns = window_span(Span(0, p.ow), p.kernel[1], p.strides[1], p.pads[1], p.w)
        if not p.rolls(self.t) or columns.extent < p.w:
            return None
        nbytes = next(entry(b.nbytes, 0) for b in needed if b.name == "act")
        room = (instances - 1) * entry(reserve(nbytes), 0) + nbytes
        return _Ring(min(room // (p.w * p.sources[0].c), MOST_ROWS))

    def _place_tensors(self) -> dict[str, _Tensor]:
        """The tensors of the layer, each in its place beyond all constants."""
        p, chunk = self.p, self.target.array.chunk
        wanted = {"input": (p.h, p.w, p.sources[0], segment_choices(p.w)[0])}
        if p.residual is not None:
            wanted["residual"] = (p.oh, p.ow, p.residual, segment_choices(p.ow)[0])
        output = InputSource(p.k, p.output_format, p.sources[0].channels, p.output_density)
        wanted["output"] = (*p.output, output, self.t.segment)
        layouts = {
            name: TensorLayout(h, w, source.c, source.format, segment, chunk)
            for name, (h, w, source, segment) in wanted.items()
        }
        places, _ = plan_arena([Interval(name, align(layout.nbytes), 0, 0) for name, layout in layouts.items()])
        base = align(self.first_parameters + _packed_parameters(p.k), PAGE)
        return {name: _Tensor(base + places[name], layouts[name], wanted[name][2].density) for name in wanted}

    def _constant(self, key: object, nbytes: int) -> Longs:
        """The request of a constant, which lies behind those that were asked for before it."""
        if key not in self.constants:
            self.constants[key] = self.end_of_constants, nbytes
            self.end_of_constants += nbytes
        return np.array([self.constants[key]], np.int64)

    def _load(self, name: str, region: object, cycles: float, requests: Longs) -> int:
        instance = self.buffer[name].turn(region)
        instance.filled = self.program.add(Queue.LOAD, cycles, [instance.read], requests)
        return instance.filled

    # Transfers --------------------------------------------------------------------------------------------------------

    def _load_resident(self) -> None:
        for i, nbytes in enumerate(self.p.parameter_bytes):
            cycles = load_bytes.cycles({"size": nbytes}, self.target)
            name = f"parameter{i}"
            self.resident.append(self._load(name, name, cycles, self._constant(name, nbytes)))

    def _channels(self, channels: int, at: Ranges) -> Span:
        """The output channels of a load that brings in so many of them: all, or those of the output or PSUM tile."""
        if channels == self.p.k:
            return Span(0, self.p.k)
        return at["k"] if channels == self.t.channels else at["pk"]

    def _load_weights(self, at: Ranges, part: int = 0) -> None:
        region = self._channels(self.t.weights, at), at["c"], part
        if self.buffer["weights"].holds(region):
            return
        stream = self.p.work.weight_stream(self.p, region[0].extent, region[1].extent, self.target)
        shared = self._constant("shared", stream.shared)
        own = self._constant(("weights", region), stream.nbytes)
        both = np.concatenate([shared, own]) if stream.shared else own
        self._load("weights", region, stream.cycles, _joined(both[:, 0], both[:, 1]))

    def _load_parameters(self, at: Ranges) -> None:
        k = self._channels(self.t.parameters, at)
        if self.buffer["parameters"].holds(k):
            return
        size = _packed_parameters(k.extent)
        cycles = load_par.cycles({"size": size, "kn": k.extent}, self.target)
        request = self.first_parameters + _packed_parameters(k.first), size
        self._load("parameters", k, cycles, np.array([request], np.int64))

    def _load_act(self, at: Ranges, part: int = 0) -> None:
        p = self.p
        source = p.sources[0]
        y = window_span(at["y"], p.kernel[0], p.strides[0], p.pads[0], p.h)
        x = window_span(at["x"], p.kernel[1], p.strides[1], p.pads[1], p.w)
        if p.work.reads_all_channels:
            c = at["a"] if self.t.input_channels < p.cpg else Span(0, source.c)
        else:
            c = source.channels.source(at["k"], source.c, self.target.array.chunk)
        if self.ring is None:
            self._load_region("act", "input", (y, x, c), part)
            return
        for rows in self.ring.roll(y):
            places = self.ring.places(rows)
            cycles, requests = self._transfer("input", (rows, x, c))
            filled = self.program.add(Queue.LOAD, cycles, [self.ring.read[i] for i in places], requests)
            for i in places:
                self.ring.filled[i] = filled

    def _transfer(self, tensor: str, region: tuple[Span, Span, Span]) -> tuple[float, Longs]:
        """Cycles and requests of a load of a region of a tensor."""
        requests = self.tensors[tensor].requests(region)
        h, w, cn = (span.extent for span in region)
        return load_act.cycles({"h": h, "w": w, "cn": cn}, int(requests[:, 1].sum()), self.target), requests

    def _load_region(self, buffer: str, tensor: str, region: tuple[Span, Span, Span], part: int = 0) -> None:
        """Load a region of a tensor unless a buffer holds it."""
        if not self.buffer[buffer].holds((region, part)):
            self._load(buffer, (region, part), *self._transfer(tensor, region))

    # Compute ----------------------------------------------------------------------------------------------------------

    def _convolve(self, at: Ranges, first: bool) -> None:
        tile = ComputeTile(at["py"].extent, at["x"].extent, at["pk"].extent, at["c"].extent, self.t.row_groups)
        key = tile, at["py"], at["x"]
        if key not in self.computed:
            self.computed[key] = self.p.work.expected_cycles(self.p, tile, at["py"], at["x"], self.target)
        psum = self.buffer["psum"]
        if first:
            psum.turn(None)
        act, weights = self.buffer["act"].current, self.buffer["weights"].current
        p, ring = self.p, self.ring
        read = window_span(at["py"], p.kernel[0], p.strides[0], p.pads[0], p.h)
        places = [] if ring is None else ring.places(read)
        filled = [act.filled] if ring is None else [ring.filled[i] for i in places]
        number = self.program.compute(self.computed[key], [psum.current.read, weights.filled, *filled, *self.resident])
        psum.current.filled = act.read = weights.read = number
        if ring is not None:
            for i in places:
                ring.read[i] = number

    def _requantise(self, at: Ranges) -> None:
        values = {"oh": at["py"].extent, "ow": at["x"].extent, "kn": at["pk"].extent}
        read = [self.buffer[name].current for name in ("psum", "parameters", "residual") if name in self.buffer]
        out = self.buffer["out"].current
        after = [*(instance.filled for instance in read), out.read, *self.resident]
        out.filled = self.program.add(Queue.POST, post_requant.cycles(values, self.target), after)
        for instance in read:
            instance.read = out.filled

    def _store(self, at: Ranges) -> None:
        region = windows(at["y"], self.p.pool[0]), windows(at["x"], self.p.pool[1]), at["k"]
        requests = self.tensors["output"].requests(region)
        h, w, cn = (span.extent for span in region)
        cycles = store_act.cycles({"h": h, "w": w, "cn": cn}, int(requests[:, 1].sum()), self.target)
        out = self.buffer["out"].current
        out.read = self.program.add(Queue.STORE, cycles, [out.filled], requests)

    # The loops --------------------------------------------------------------------------------------------------------

    def run(self) -> TimedInstructions:
        """Walk through all loops."""
        p = self.p
        self._load_resident()
        at = {"y": Span(0, p.oh), "x": Span(0, p.ow), "k": Span(0, p.k), "a": Span(0, p.cpg), "c": Span(0, p.cpg)}
        self._level(0, {**at, "pk": at["k"], "py": at["y"]})
        return self.program.finished()

    def _level(self, depth: int, at: Ranges) -> None:
        here = {kind for kind, level in self.depth.items() if level == depth}
        whole = self.p.parts == 1
        if "weights" in here and whole:
            self._load_weights(at)
        if "parameters" in here:
            self._load_parameters(at)
        if "act" in here and whole:
            self._load_act(at)
        if "residual" in here and self.p.residual is not None:
            self._load_region("residual", "residual", (at["y"], at["x"], at["k"]))
        if "out" in here:
            self.buffer["out"].turn(None)
        if depth < len(self.nest):
            for inner in self._turns(self.nest[depth].axis, at):
                self._level(depth + 1, inner)
        else:
            self._innermost(at)
        if "psum" in here:
            self._requantise(at)
        if "out" in here:
            self._store(at)

    def _innermost(self, at: Ranges) -> None:
        for part in range(self.p.parts):
            if self.p.parts > 1:
                self._load_act(at, part)
                self._load_weights(at, part)
            self._convolve(at, part == 0 and at["c"].first == 0)

    def _turns(self, axis: str, at: Ranges) -> Iterator[Ranges]:
        for span in steps(at[axis].first, at[axis].extent, self.steps[axis]):
            inner = {**at, axis: span}
            if axis in _INNER:
                inner[_INNER[axis]] = span
            yield inner


def expected_program(p: TilingProblem, t: Tiling, target: Target) -> TimedInstructions:
    """The instructions of a layer that computes partial sums, without those of other layers around it."""
    return _Walk(p, t, target).run()
