"""Which layers of a program run side by side: the cheapest set of runs of layers, by the estimates of the tile search.

Layers side by side take room in ACT that resident tensors around them want too. So bands are compared with the layers
one by one beside all resident tensors of their time, without one of those, and without all; then the layers around pay
for that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from isa.target import Target
from passes.tiling.bands import Bands, Segment, segments
from passes.tiling.in_place import in_place
from passes.tiling.memory import SCRATCHPAD_ALIGN, Interval, plan_arena, reserve, taken_by
from passes.tiling.records import LayerRecord
from passes.tiling.residency import Residency, layer_cycles, tensor_lives


@dataclass(frozen=True)
class _Choice:
    """Bands, and the tensors that are no longer resident for their sake."""

    bands: Bands
    dropped: frozenset[str]
    cycles: float


class _Planner:
    def __init__(self, layers: Sequence[LayerRecord], outputs: Set[str], residency: Residency, target: Target) -> None:
        self.layers, self.outputs, self.residency, self.target = layers, outputs, residency, target
        self.lives = {item.name: item for item in tensor_lives(layers)}
        self.cycles = [
            layer_cycles(layer, residency.tensors, taken, target)
            for layer, taken in zip(layers, residency.taken, strict=True)
        ]

    def _taken(self, tensors: Set[str], inside: range) -> list[int]:
        """Bytes of ACT that tensors take during each layer if the layers `inside` run side by side."""
        lives = [_lengthened(self.lives[name], [inside]) for name in sorted(tensors)]
        offsets, _ = plan_arena(lives, SCRATCHPAD_ALIGN, in_place(self.layers, tensors, [inside]))
        return taken_by(lives, offsets, len(self.layers))

    def _penalty(self, dropped: Set[str], inside: range) -> float | None:
        """What the layers around pay if tensors are not resident; None if one does not tile."""
        kept, total = self.residency.tensors - dropped, 0.0
        taken = self._taken(kept, inside)
        for i, layer in enumerate(self.layers):
            if i in inside or not dropped & {layer.stored(name) for name in (*layer.reads, layer.output)}:
                continue
            before, after = self.cycles[i], layer_cycles(layer, kept, taken[i], self.target)
            if before is None or after is None:
                return None
            total += after - before
        return total

    def choice(self, segment: Segment) -> _Choice | None:
        """The best bands of some layers, if they are cheaper than one layer after the other."""
        resident, inside = self.residency.tensors, range(segment.first, segment.first + len(segment.layers))
        apart = [self.cycles[i] for i in inside]
        if segment.inner <= resident or None in apart:
            return None
        around = frozenset(
            name
            for name in resident - segment.inner
            if self.lives[name].first <= inside[-1] and inside[0] <= self.lives[name].last
        )
        best: _Choice | None = None
        limit = sum(n for n in apart if n is not None)
        each = (frozenset([name]) for name in sorted(around))
        for dropped in dict.fromkeys((frozenset[str](), *each, around)):
            kept = resident - segment.inner - dropped
            taken = self._taken(kept, inside)
            penalty = self._penalty(dropped, inside)
            if penalty is None:
                continue
            over = in_place(self.layers, kept, [inside])
            for bands in segment.choices(kept, max(taken[i] for i in inside), over):
                if bands.cycles + penalty < (limit if best is None else best.cycles):
                    best = _Choice(bands, dropped, bands.cycles + penalty)
        return best

    def best(self) -> list[_Choice]:
        """The cheapest set of bands that share no layer."""
        ending: dict[int, list[_Choice]] = {}
        for segment in segments(self.layers, self.outputs, self.target):
            if (found := self.choice(segment)) is not None:
                ending.setdefault(found.bands.numbers.stop, []).append(found)
        cost: list[tuple[float, list[_Choice]]] = [(0.0, [])]
        for i, cycles in enumerate(self.cycles):
            alone, chosen = cost[i]
            options = [(alone + (cycles or 0.0), chosen)]
            for choice in ending.get(i + 1, []):
                before, others = cost[choice.bands.first]
                options.append((before + choice.cycles, [*others, choice]))
            cost.append(min(options, key=lambda option: option[0]))
        return cost[-1][1]

    def residency_of(self, choices: Sequence[_Choice]) -> Residency | int:
        """The resident tensors with these bands, or the number of a layer that has no room any more."""
        rings: dict[str, int | None] = {}
        for choice in choices:
            rings |= choice.bands.rings
        tensors = (self.residency.tensors | rings.keys()) - {name for c in choices for name in c.dropped}
        whole = [c.bands.numbers for c in choices]
        lives = [_lengthened(self._placed(name, rings), whole) for name in sorted(tensors)]
        over = in_place(self.layers, tensors - {name for name, rows in rings.items() if rows is not None}, whole)
        offsets, _ = plan_arena(lives, SCRATCHPAD_ALIGN, over)
        taken = taken_by(lives, offsets, len(self.layers))
        capacity = self.target.scratchpad.act
        buffered = {i: choice.bands.nbytes for choice in choices for i in choice.bands.numbers}
        total = sum(c.bands.cycles for c in choices)
        for i, layer in enumerate(self.layers):
            if taken[i] + buffered.get(i, 1) > capacity:
                return i
            if i not in buffered and self.cycles[i] is not None:
                cycles = layer_cycles(layer, tensors, taken[i], self.target)
                if cycles is None:
                    return i
                total += cycles
        return Residency(frozenset(tensors), tuple(taken), tuple(c.bands for c in choices), over, total)

    def _placed(self, name: str, rings: Mapping[str, int | None]) -> Interval:
        life = self.lives[name]
        rows = rings.get(name)
        if rows is None:
            return life
        p = self.layers[life.first].problem
        return Interval(name, reserve(rows * p.ow * (p.stored_c or p.k)), life.first, life.last)


def _lengthened(life: Interval, bands: Sequence[range]) -> Interval:
    """A life that has all of the bands that it shares a layer with."""
    first, last = life.first, life.last
    for numbers in bands:
        if first <= numbers[-1] and numbers[0] <= last:
            first, last = min(first, numbers[0]), max(last, numbers[-1])
    return Interval(life.name, life.nbytes, first, last)


def _distance(number: int, numbers: range) -> int:
    """How many layers lie between a layer and others; 0 if it is one of them."""
    return max(numbers[0] - number, number - numbers[-1], 0)


def with_bands(layers: Sequence[LayerRecord], outputs: Set[str], residency: Residency, target: Target) -> Residency:
    """The resident tensors of a program, and the layers that run side by side, where that is cheaper.

    `outputs` are the tensors that the host reads from DRAM.
    """
    planner = _Planner(layers, outputs, residency, target)
    chosen = planner.best()
    while chosen:
        found = planner.residency_of(chosen)
        if isinstance(found, Residency):
            return found
        # Bands around the layer, or those nearest to it, have taken its room.
        chosen.remove(min(chosen, key=lambda choice, full=found: _distance(full, choice.bands.numbers)))
    return residency
