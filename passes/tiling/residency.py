"""Which tensors stay in ACT from the layer that computes them to the last one that reads them.

A resident tensor costs no transfers, but takes room from the tiles of every layer of its life. Tensors are tried one by
one, those first that save most transfers for the room and time that they take; one is kept if the layers together
become cheaper by the estimates of the tile search. Resident tensors lie at the bottom of ACT, the buffers of a layer
above those that live during it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

from isa.target import Target
from passes.tiling.memory import SCRATCHPAD_ALIGN, Interval, plan_arena, reserve, taken_by, with_act
from passes.tiling.problem import InputSource, TilingProblem
from passes.tiling.search import cheapest


@dataclass(frozen=True)
class LayerRecord:
    """A layer to tile: its problem, the tensors that it reads (its sources, then its residual) and computes, and the
    tensors that have the bytes of those that are parts.
    """

    problem: TilingProblem
    reads: tuple[str, ...]
    output: str
    storage: Mapping[str, str] = field(default_factory=dict[str, str])

    def stored(self, name: str) -> str:
        """The tensor that has the bytes of one of the layer's."""
        return self.storage.get(name, name)

    @property
    def output_bytes(self) -> int:
        """Bytes in ACT of the tensor that has those of the output."""
        p = self.problem
        return p.oh * p.ow * (p.stored_c or p.k)

    @property
    def residents(self) -> Mapping[str, str]:
        """The resident tensors of the layer by the names of the buffers that they stand for."""
        p = self.problem
        sides = [*p.sources, *(() if p.residual is None else (p.residual,))]
        names = [*(f"source{i}" for i in range(len(p.sources))), "residual"]
        found = {name: tensor for name, tensor, side in zip(names, self.reads, sides, strict=False) if side.resident}
        return {**found, "out": self.output} if p.output_resident else found

    def posed(self, resident: Set[str]) -> TilingProblem:
        """The problem if these tensors are resident."""
        p, count = self.problem, len(self.problem.sources)

        def side(source: InputSource, name: str) -> InputSource:
            return replace(source, resident=self.stored(name) in resident)

        return replace(
            p,
            sources=tuple(side(s, name) for s, name in zip(p.sources, self.reads, strict=False)),
            residual=None if p.residual is None else side(p.residual, self.reads[count]),
            output_resident=self.stored(self.output) in resident,
        )


@dataclass(frozen=True)
class Residency:
    """The tensors that are resident, and the bytes at the bottom of ACT that they take during each layer."""

    tensors: frozenset[str]
    taken: tuple[int, ...]


def tensor_lives(layers: Sequence[LayerRecord]) -> list[Interval]:
    """The tensors with bytes of their own that layers compute and other layers read: bytes, and the first and last
    layer of their lives.
    """
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    read: set[str] = set()
    for i, layer in enumerate(layers):
        read.update(map(layer.stored, layer.reads))
        first.setdefault(layer.stored(layer.output), i)
        last.update((layer.stored(name), i) for name in (*layer.reads, layer.output))
    return [Interval(name, reserve(layers[i].output_bytes), i, last[name]) for name, i in first.items() if name in read]


def _cycles(layer: LayerRecord, resident: Set[str], taken: int, target: Target) -> float | None:
    """Estimated cycles of a layer; None if it does not tile with whole windows."""
    found = cheapest(layer.posed(resident), with_act(target, taken))
    return None if found is None else found[0]


def plan_residency(layers: Sequence[LayerRecord], outputs: Set[str], target: Target) -> Residency:
    """Choose the resident tensors of a program; `outputs` are those that the host reads from DRAM."""
    capacity, count = target.scratchpad.act, len(layers)
    reads: dict[str, int] = {}
    for layer in layers:
        for name in {layer.stored(name) for name in layer.reads}:
            reads[name] = reads.get(name, 0) + 1
    wanted = [item for item in tensor_lives(layers) if item.name not in outputs and item.nbytes < capacity]
    wanted.sort(key=lambda t: (-(1 + reads[t.name]) / (t.last - t.first + 1), -t.nbytes, t.first))
    chosen: list[Interval] = []
    taken = [0] * count
    cycles = [_cycles(layer, frozenset(), 0, target) for layer in layers]
    for item in wanted:
        trial = [*chosen, item]
        offsets, total = plan_arena(trial, SCRATCHPAD_ALIGN)
        if total >= capacity:
            continue
        names = frozenset(t.name for t in trial)
        needed = taken_by(trial, offsets, count)
        changed = [i for i in range(count) if needed[i] != taken[i] or item.first <= i <= item.last]
        fresh = _estimates(layers, changed, names, needed, cycles, target)
        if fresh is None:
            continue
        chosen, taken = trial, needed
        for i, estimate in zip(changed, fresh, strict=True):
            cycles[i] = estimate
    return Residency(frozenset(t.name for t in chosen), tuple(taken))


def _estimates(
    layers: Sequence[LayerRecord],
    changed: Sequence[int],
    names: Set[str],
    taken: Sequence[int],
    before: Sequence[float | None],
    target: Target,
) -> list[float] | None:
    """Cycles of the changed layers; None if one of them does not tile, or if they are not cheaper than `before`."""
    found: list[float] = []
    limit = 0.0
    for i in changed:
        old = before[i]
        new = None if old is None or taken[i] >= target.scratchpad.act else _cycles(layers[i], names, taken[i], target)
        if old is None or new is None:
            return None
        found.append(new)
        limit += old
    return found if sum(found) < limit else None
