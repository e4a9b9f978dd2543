"""Which neighbouring layers run side by side, one band of rows after the other, and how high their bands are.

A tensor between two such layers never touches DRAM, and ACT holds only those of its rows that are still to be read, in
a ring. In every step each layer computes one tile, of all columns and channels; the tiles of a layer are as high as
what a tile of its reader moves on by, so that all layers keep the same pace. A layer is delayed by as many steps as
the rows that it reads need. Weights and parameters of all the layers stay loaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import NamedTuple

from isa.integers import ceil_div
from isa.target import Target
from passes.tiling.cost import CostModel, Queued
from passes.tiling.geometry import Span, window_span
from passes.tiling.limits import field_range
from passes.tiling.memory import banded, reserve
from passes.tiling.problem import Buffer, TilingProblem, buffers
from passes.tiling.records import LayerRecord
from passes.tiling.search import cheapest

MOST_LAYERS = 8
"""Layers that run side by side, at most."""
_HEIGHTS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16)
"""Rows of a tile of the last layer to try."""
_AHEAD = (0, 1)
"""Steps to try by which a layer is delayed beyond need, so that no queue waits for another within a step."""


@dataclass(frozen=True)
class Bands:
    """Layers from number `first` on that run side by side. For each of them: the rows of a tile, and the steps by which
    it is delayed. `rings`: rows of the ring of each tensor between them, None where ACT holds the whole tensor.
    `machine`: what a layer sees of the machine. `nbytes`: ACT bytes of their buffers; `cycles`: as estimated.
    """

    first: int
    rows: tuple[int, ...]
    delays: tuple[int, ...]
    rings: Mapping[str, int | None]
    machine: Target
    nbytes: int
    cycles: float

    @property
    def numbers(self) -> range:
        """The numbers of the layers."""
        return range(self.first, self.first + len(self.rows))


class _Edge(NamedTuple):
    """Layer `reader` reads what layer `source` computes, through windows of these rows."""

    source: int
    reader: int
    kernel: int
    stride: int
    pad: int

    def rows(self, tile: Span, height: int) -> Span:
        """The rows, of `height`, that an output tile needs."""
        return window_span(tile, self.kernel, self.stride, self.pad, height)


def _edges(layers: Sequence[LayerRecord]) -> list[_Edge]:
    """Who reads whom among some layers. Who reads a tensor with parts reads all that compute one, unless it reads just
    that part.
    """
    exact = {layer.output: [i] for i, layer in enumerate(layers)}
    stored: dict[str, list[int]] = {}
    for i, layer in enumerate(layers):
        stored.setdefault(layer.stored(layer.output), []).append(i)
    found: list[_Edge] = []
    for i, layer in enumerate(layers):
        p = layer.problem
        for n, name in enumerate(layer.reads):
            window = p.row_window if n < len(p.sources) else (1, 1, 0)
            sources = exact.get(name, stored.get(layer.stored(name), []))
            found += [_Edge(source, i, *window) for source in sources]
    return found


def _heights(layers: Sequence[LayerRecord], edges: Sequence[_Edge], last: int) -> list[int] | None:
    """Rows of a tile of each layer if the last one's have `last`; None if the layers cannot keep the same pace."""
    rows = [0] * (len(layers) - 1) + [last]
    for edge in sorted(edges, key=lambda e: -e.reader):
        wanted = rows[edge.reader] * edge.stride
        if rows[edge.source] not in (0, wanted):
            return None
        rows[edge.source] = wanted
    return rows if all(rows) else None


def _tile(p: TilingProblem, rows: int, number: int) -> Span:
    return Span(number * rows, min(rows, p.output[0] - number * rows))


def _delays(problems: Sequence[TilingProblem], rows: Sequence[int], edges: Sequence[_Edge], ahead: int) -> list[int]:
    """Steps by which each layer is delayed, so that the rows that it reads are there before its turn."""
    found = [0] * len(problems)
    for edge in edges:
        p, height = problems[edge.reader], problems[edge.source].output[0]
        for j in range(ceil_div(p.output[0], rows[edge.reader])):
            need = edge.rows(_tile(p, rows[edge.reader], j), height)
            behind = (need.end - 1) // rows[edge.source] - j + ahead
            found[edge.reader] = max(found[edge.reader], found[edge.source] + behind)
    return found


def _ring(
    source: int,
    problems: Sequence[TilingProblem],
    rows: Sequence[int],
    delays: Sequence[int],
    edges: Sequence[_Edge],
) -> int:
    """Rows of the ring of what a layer computes: no tile may overwrite rows that are yet to be read, nor cross its
    end. Then no operand of an addition crosses it either: its tiles are those of the layer.
    """
    p, most = problems[source], 0
    height, _ = p.output
    for tile in range(ceil_div(height, rows[source])):
        oldest = height
        for edge in (e for e in edges if e.source == source):
            reader = problems[edge.reader]
            following = max(0, delays[source] + tile - delays[edge.reader])
            if following < ceil_div(reader.output[0], rows[edge.reader]):
                needed = edge.rows(_tile(reader, rows[edge.reader], following), height)
                oldest = min(oldest, needed.first)
        most = max(most, _tile(p, rows[source], tile).end - oldest)
    return ceil_div(most, rows[source]) * rows[source]


class _Priced(NamedTuple):
    """A layer in its cheapest tiling: its buffers but those of PSUM, which all layers have in turn; its queues; cycles
    of the post unit for a tile; and the tiles of partial sums in an output tile.
    """

    needs: tuple[Buffer, ...]
    queued: Queued
    post_tile: float
    turns: int


@lru_cache(maxsize=4096)
def _priced(p: TilingProblem, machine: Target) -> _Priced | None:
    """None if no tiling fits the scratchpads. Many bands of many segments pose the same problem."""
    found = cheapest(p, machine)
    if found is None:
        return None
    tiling, model = found[1], CostModel(p, machine)
    needs = tuple(b for b in buffers(p, tiling, machine) if b.space != "psum")
    turns = ceil_div(int(tiling.channels), int(tiling.psum_channels)) * ceil_div(
        int(tiling.rows), int(tiling.psum_rows)
    )
    return _Priced(needs, model.queued(tiling), model.post_tile(tiling), turns)


class Segment:
    """Consecutive layers, and what bands of them would cost."""

    def __init__(self, layers: Sequence[LayerRecord], first: int, count: int, target: Target) -> None:
        self.layers, self.first, self._target = layers[first : first + count], first, target
        self._edges = _edges(self.layers)
        accumulating = sum(layer.problem.accumulates for layer in self.layers)
        self._machines = tuple(dict.fromkeys((banded(target, accumulating), target)))
        self.inner = frozenset(layer.stored(layer.output) for layer in self.layers[:-1])
        """The tensors between the layers, those with bytes of their own."""

    def choices(self, resident: Set[str], taken: int, over: str | None = None) -> Iterator[Bands]:
        """Bands that fit, of all heights worth a try, if these tensors outside are resident, the first `taken` bytes of
        ACT. `over`: the tensor in whose place the last layer computes its output.
        """
        for rows, ahead in product(_HEIGHTS, _AHEAD):
            if rows >= self.layers[-1].problem.output[0]:
                return
            found = self._bands(rows, ahead, resident, taken)
            if found is not None and self._reads_before(over, found):
                yield found

    def _bands(self, last: int, ahead: int, resident: Set[str], taken: int) -> Bands | None:
        rows = _heights(self.layers, self._edges, last)
        if rows is None:
            return None
        kept = resident | self.inner
        problems = [
            replace(p, band=min(n * p.pool[0], p.oh))
            for p, n in zip((layer.posed(kept) for layer in self.layers), rows, strict=True)
        ]
        delays = _delays(problems, rows, self._edges, ahead)
        rings: dict[str, int | None] = {}
        nbytes = 0
        for name, sources in self._sources().items():
            if len({rows[i] for i in sources}) > 1:
                return None
            p, height = problems[sources[0]], max(_ring(i, problems, rows, delays, self._edges) for i in sources)
            whole, width = p.output
            rings[name] = height if height < whole else None
            nbytes += reserve(min(height, whole) * width * (p.stored_c or p.k))
        most = field_range("conv.dense", "act_ring")[1]
        if nbytes + taken >= self._target.scratchpad.act or any(n is not None and n > most for n in rings.values()):
            return None
        best: Bands | None = None
        for number, machine in enumerate(self._machines):
            costs = self._costs(problems, nbytes + taken, machine)
            if costs is None:
                continue
            cycles, buffered, waiting, colliding = costs
            # All layers have both places of PSUM in turn: after an odd number of tiles, one waits for that before it.
            lost = (colliding if number else 0.0) if ahead else waiting
            cycles += lost * ceil_div(problems[-1].output[0], last)
            if best is None or cycles < best.cycles:
                best = Bands(self.first, tuple(rows), tuple(delays), rings, machine, buffered, cycles)
        return best

    def _reads_before(self, replaced: str | None, bands: Bands) -> bool:
        """Whether the layers have read the rows of a tensor in whose place the last one computes its output."""
        writer, last = self.layers[-1].problem, len(self.layers) - 1
        for i, layer in enumerate(self.layers[:-1]):
            p = layer.problem
            if all(layer.stored(name) != replaced for name in layer.reads):
                continue
            if p.rows is not None:
                return False
            for tile in range(ceil_div(p.output[0], bands.rows[i])):
                rows = window_span(_tile(p, bands.rows[i], tile), *p.row_window, writer.output[0])
                if tile + bands.delays[i] > rows.first // bands.rows[last] + bands.delays[last]:
                    return False
        return True

    def _sources(self) -> dict[str, list[int]]:
        """Which layers compute each of the inner tensors, or a part of it."""
        found: dict[str, list[int]] = {}
        for i, layer in enumerate(self.layers[:-1]):
            found.setdefault(layer.stored(layer.output), []).append(i)
        return found

    def _costs(
        self, problems: Sequence[TilingProblem], taken: int, machine: Target
    ) -> tuple[float, int, float, float] | None:
        """Cycles of all layers together, ACT bytes of their buffers, and the cycles of a step in which layers wait
        for one another: for the rows that they read, and for a place in PSUM where they have the same places. None if
        the layers do not fit beside `taken` bytes of ACT.
        """
        used, waiting, colliding = {"act": taken, "coef": 0, "par": 0, "psum": 0}, 0.0, 0.0
        queued: list[Queued] = []
        streamed: list[tuple[Buffer, Queued]] = []
        for p in problems:
            found = _priced(p, machine)
            if found is None:
                return None
            for b in found.needs:
                used[b.space] += int(reserve(b.nbytes))
            streamed += [(b, found.queued) for b in found.needs if b.space == "act" and b.streamed]
            queued.append(found.queued)
            waiting += found.post_tile
            colliding += found.post_tile * (found.turns % 2)
        if any(n > getattr(self._target.scratchpad, space) for space, n in used.items()):
            return None
        cycles, room = float(Queued.side_by_side(queued)), self._target.scratchpad.act - used["act"]
        working = sum(queues.worked for queues in queued)
        for b, queues in streamed:
            if reserve(b.nbytes) <= room:
                room -= int(reserve(b.nbytes))
            else:
                # What fills or drains the buffer has the time in which the other layers work.
                cycles += max(0.0, float(queues.exposed.get(b.name, 0.0)) - float(working - queues.worked))
        return cycles, used["act"] - taken, waiting, colliding


def segments(layers: Sequence[LayerRecord], outputs: Set[str], target: Target) -> Iterator[Segment]:
    """Runs of layers whose inner tensors nothing outside computes a part of, or reads."""
    readers: dict[str, set[int]] = {}
    writers: dict[str, set[int]] = {}
    shared = set(outputs)
    for i, layer in enumerate(layers):
        p = layer.problem
        if p.residual is not None and p.residual_spread[0]:
            shared.add(layer.stored(layer.reads[len(p.sources)]))  # every tile needs the whole of it
        if p.rows is not None:
            shared.update(map(layer.stored, layer.reads))  # its tiles do not move on as windows do
        writers.setdefault(layer.stored(layer.output), set()).add(i)
        for name in layer.reads:
            readers.setdefault(layer.stored(name), set()).add(i)
    for first in range(len(layers)):
        for count in range(2, min(MOST_LAYERS, len(layers) - first) + 1):
            inside, before = set(range(first, first + count)), set(range(first, first + count - 1))
            inner = {layer.stored(layer.output) for layer in layers[first : first + count - 1]} - shared
            whole = all(name in readers and readers[name] <= inside and writers[name] <= before for name in inner)
            if whole and all(layer.stored(layer.output) in inner for layer in layers[first : first + count - 1]):
                yield Segment(layers, first, count, target)
