"""Which tensors stay in ACT and which layers run side by side: the cheapest plan, by the estimates of the tile search.

A plan is a sequence of steps: each computes one layer, or several side by side in bands of rows, and decides whether
what it computes stays in ACT until its last reader. What a step costs hangs on the tensors that are resident during
it, which take room from its tiles, and on nothing else that came before. So the cheapest plan is found by going through
the layers once and keeping, for every set of tensors that may be resident at a layer, the cheapest way to get there
(dynamic programming); of very many sets only the `_WIDTH` cheapest go on.

A step counts the sizes of the resident tensors. Where they do not lie without gaps, `plan` notes what each layer has
lost by that and goes through the layers again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import NamedTuple

from isa.target import Target
from passes.tiling.bands import Bands, Segment, segments
from passes.tiling.in_place import Replacements
from passes.tiling.memory import Interval, plan_resident, reserve
from passes.tiling.records import LayerRecord
from passes.tiling.residency import Residency, layer_cycles, tensor_lives

_WIDTH = 32
"""Sets of resident tensors that go on from a layer, at most."""
_ROUNDS = 6
"""Times that the layers are gone through, at most, to make up for gaps between resident tensors."""

State = frozenset[str]


class _PlanStep(NamedTuple):
    """Layers from number `first` up to `end` with the tensors resident meanwhile; the one of them in whose place the
    last layer computes its output, if any; the bands in which they run, None for one layer alone; the step before.
    """

    first: int
    end: int
    resident: State
    over: str | None
    bands: Bands | None
    before: _PlanStep | None

    def steps(self) -> list[_PlanStep]:
        """This step and all before it, the first one first."""
        found: list[_PlanStep] = []
        step: _PlanStep | None = self
        while step is not None:
            found.append(step)
            step = step.before
        return found[::-1]


class _Way(NamedTuple):
    """The cheapest way found to a state: its cycles, and its last step."""

    cycles: float
    step: _PlanStep | None


@dataclass(frozen=True)
class _StepCost:
    """What a step costs, and the bands in which it costs that."""

    cycles: float
    bands: Bands | None = None


class _Planner:
    """Goes through the layers. `lives`: the tensors that may be resident; `touched`: those that each layer reads or
    computes; `lost`: bytes of ACT that lie between resident tensors during each layer.
    """

    def __init__(self, layers: Sequence[LayerRecord], outputs: Set[str], target: Target) -> None:
        self.layers, self.target = layers, target
        self._all = {item.name: item for item in tensor_lives(layers)}
        self.lives = {
            name: item
            for name, item in self._all.items()
            if name not in outputs and item.nbytes < target.scratchpad.act
        }
        self.touched = [
            frozenset(map(layer.stored, (*layer.reads, layer.output))) & self.lives.keys() for layer in layers
        ]
        self.lost = [0] * len(layers)
        self._replacements = Replacements(layers)
        self._tiles = [layer_cycles(layer, frozenset(), 0, target) is not None for layer in layers]
        self._known: dict[tuple[int, int, State, int, str | None], _StepCost | None] = {}

    def best(self, together: Mapping[int, Sequence[Segment]]) -> Residency:
        """The cheapest plan that has room, with these segments, by their first layers, as steps."""
        found = Residency(frozenset(), (0,) * len(self.layers), cycles=math.inf)
        self.lost = [0] * len(self.layers)
        for _ in range(_ROUNDS):
            before = list(self.lost)
            laid_out = self.laid_out(self.cheapest(together))
            if laid_out is not None and laid_out.cycles < found.cycles:
                found = laid_out
            if self.lost == before:
                break
        return found

    def cheapest(self, together: Mapping[int, Sequence[Segment]]) -> _Way:
        """The cheapest way through all layers, with these segments, by their first layers, as steps."""
        ways: list[dict[State, _Way]] = [{} for _ in range(len(self.layers) + 1)]
        ways[0][frozenset()] = _Way(0.0, None)
        for first, found in enumerate(ways[:-1]):
            for state, way in sorted(found.items(), key=lambda item: item[1].cycles)[:_WIDTH]:
                for count, segment in ((1, None), *((len(s.layers), s) for s in together.get(first, ()))):
                    for resident, over in self._choices(state, first, count):
                        priced = self._priced(first, count, resident, over, segment)
                        if priced is None:
                            continue
                        end = first + count
                        after = frozenset(name for name in resident if self.lives[name].last >= end)
                        cycles = way.cycles + priced.cycles
                        if after not in ways[end] or cycles < ways[end][after].cycles:
                            ways[end][after] = _Way(
                                cycles, _PlanStep(first, end, resident, over, priced.bands, way.step)
                            )
        return ways[-1][frozenset()]

    def _choices(self, state: State, first: int, count: int) -> Iterator[tuple[State, str | None]]:
        """The tensors that may be resident during a step that begins with those of a state, and the one of them in
        whose place the output is computed.
        """
        yield state, None
        last = self.layers[first + count - 1]
        name = last.stored(last.output)
        if name in self.lives and self.lives[name].first == first + count - 1:
            resident = state | {name}
            over = self._replacements.over(range(first, first + count), resident)
            yield resident, over
            if over in last.consumed:
                yield resident, None  # two places, but tiles of any form

    def _priced(
        self, first: int, count: int, resident: State, over: str | None, segment: Segment | None
    ) -> _StepCost | None:
        """What a step costs; None if it has no room."""
        inside = range(first, first + count)
        if not all(self._tiles[i] for i in inside):
            return None if resident or segment is not None else _StepCost(0.0)
        taken = self._bytes(resident, over) + max(self.lost[i] for i in inside) if resident else 0
        if taken >= self.target.scratchpad.act:
            return None
        own = resident & frozenset().union(*(self.touched[i] for i in inside))
        key = (first, count, own, taken, over)
        if key not in self._known:
            self._known[key] = self._price(first, own, taken, over, segment)
        return self._known[key]

    def _price(
        self, first: int, resident: State, taken: int, over: str | None, segment: Segment | None
    ) -> _StepCost | None:
        if segment is None:
            cycles = layer_cycles(self.layers[first], resident, taken, self.target, over)
            return None if cycles is None else _StepCost(cycles)
        found = min(segment.choices(resident, taken, over), key=lambda bands: bands.cycles, default=None)
        return None if found is None else _StepCost(found.cycles, found)

    def laid_out(self, way: _Way) -> Residency | None:
        """The plan of a way with the places of its tensors; None if a layer has no room for them. Then, or if there are
        gaps between them, `lost` counts these.
        """
        steps = [] if way.step is None else way.step.steps()
        bands = [step.bands for step in steps if step.bands is not None]
        rings = {name: rows for found in bands for name, rows in found.rings.items()}
        resident = frozenset(rings).union(*(step.resident for step in steps))
        whole = [found.numbers for found in bands]
        over = {self.layers[step.end - 1].output: step.over for step in steps if step.over is not None}
        lives = [_lengthened(self._placed(name, rings), whole) for name in sorted(resident)]
        taken = self._taken(steps, lives, over)
        cycles, fits = sum(found.cycles for found in bands), True
        for step, nbytes in zip(steps, taken, strict=True):
            buffered = 1 if step.bands is None else step.bands.nbytes
            fits &= nbytes + buffered <= self.target.scratchpad.act
            within = sum(item.nbytes for item in lives if item.name in rings and item.first == step.first)
            counted = within + self._bytes(step.resident, step.over)
            for i in range(step.first, step.end):
                self.lost[i] = max(self.lost[i], nbytes - counted)
            if step.bands is None and self._tiles[step.first]:
                alone = layer_cycles(self.layers[step.first], step.resident, nbytes, self.target, step.over)
                fits &= alone is not None
                cycles += alone or 0.0
        if not fits:
            return None
        by_layer = tuple(n for step, n in zip(steps, taken, strict=True) for _ in range(step.first, step.end))
        return Residency(resident, by_layer, tuple(bands), over, cycles)

    def _taken(self, steps: Sequence[_PlanStep], lives: Sequence[Interval], over: Mapping[str, str]) -> list[int]:
        """Bytes of ACT that the resident tensors take in each step."""
        number = [n for n, step in enumerate(steps) for _ in range(step.first, step.end)]
        numbered = [Interval(item.name, item.nbytes, number[item.first], number[item.last]) for item in lives]
        return plan_resident(numbered, over, len(steps))[1]

    def _bytes(self, resident: State, over: str | None) -> int:
        """Bytes of tensors that are resident at a time, without the one in whose place another one is computed."""
        return sum(self.lives[name].nbytes for name in resident if name != over)

    def _placed(self, name: str, rings: Mapping[str, int | None]) -> Interval:
        life, rows = self._all[name], rings.get(name)
        if rows is None:
            return life
        p = self.layers[life.first].problem
        return Interval(name, reserve(rows * p.output[1] * (p.stored_c or p.k)), life.first, life.last)


def _lengthened(life: Interval, bands: Sequence[range]) -> Interval:
    """A life that has all of the bands that it shares a layer with."""
    first, last = life.first, life.last
    for numbers in bands:
        if first <= numbers[-1] and numbers[0] <= last:
            first, last = min(first, numbers[0]), max(last, numbers[-1])
    return Interval(life.name, life.nbytes, first, last)


def plan(layers: Sequence[LayerRecord], outputs: Set[str], target: Target, bands: bool = True) -> Residency:
    """The cheapest plan for the layers of a program; `outputs` are the tensors that the host reads from DRAM.

    Without `bands` all layers run one after the other. With them, a run of layers is only looked at if not all tensors
    that it computes or reads are resident without: where they are, all that it can save is waiting, and less than
    estimated.
    """
    planner = _Planner(layers, outputs, target)
    alone = planner.best({})
    if not bands:
        return alone
    together: dict[int, list[Segment]] = {}
    for segment in segments(layers, outputs, target):
        end = segment.first + len(segment.layers)
        if not segment.inner.union(*planner.touched[segment.first : end]) <= alone.tensors:
            together.setdefault(segment.first, []).append(segment)
    return min(alone, planner.best(together), key=lambda found: found.cycles) if together else alone
