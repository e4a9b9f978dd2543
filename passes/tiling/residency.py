"""Which tensors stay in ACT from the layer that computes them to the last one that reads them.

A resident tensor costs no transfers, but takes room from the tiles of every layer of its life. Tensors are tried one by
one, those first that save most transfers for the room and time that they take; one is kept if the layers together
become cheaper by the estimates of the tile search. Resident tensors lie at the bottom of ACT, the buffers of a layer
above those that live during it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import NamedTuple

from isa.target import Target
from passes.tiling.bands import Bands
from passes.tiling.in_place import in_place
from passes.tiling.memory import SCRATCHPAD_ALIGN, Interval, plan_arena, reserve, taken_by, with_act
from passes.tiling.records import LayerRecord
from passes.tiling.search import cheapest


@dataclass(frozen=True)
class Residency:
    """The tensors that are resident, the bytes at the bottom of ACT that they take during each layer, the layers
    that run side by side, the tensors in whose places others are computed, by the names of these, and the estimated
    cycles of all layers that tile with whole windows.
    """

    tensors: frozenset[str]
    taken: tuple[int, ...]
    bands: tuple[Bands, ...] = ()
    over: Mapping[str, str] = field(default_factory=dict[str, str])
    cycles: float = 0.0


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


def layer_cycles(layer: LayerRecord, resident: Set[str], taken: int, target: Target) -> float | None:
    """Estimated cycles of a layer; None if it does not tile with whole windows."""
    found = cheapest(layer.posed(resident), with_act(target, taken))
    return None if found is None else found[0]


class Start(NamedTuple):
    """How the resident tensors are chosen: `large_first`, whatever the transfers that tensors save; and `in_place`, by
    the room that they take if some are computed in the places of others.
    """

    large_first: bool = False
    in_place: bool = True


STARTS = (Start(), Start(large_first=True), Start(in_place=False))
"""Choices of resident tensors to plan bands from. Which one leaves room for the best bands is not known before."""


def plan_residency(
    layers: Sequence[LayerRecord], outputs: Set[str], target: Target, start: Start = STARTS[0]
) -> Residency:
    """Choose the resident tensors of a program; `outputs` are those that the host reads from DRAM."""
    capacity, count = target.scratchpad.act, len(layers)
    reads: dict[str, int] = {}
    for layer in layers:
        for name in {layer.stored(name) for name in layer.reads}:
            reads[name] = reads.get(name, 0) + 1
    wanted = [item for item in tensor_lives(layers) if item.name not in outputs and item.nbytes < capacity]
    wanted.sort(key=lambda t: (-(1 + reads[t.name]) / (t.last - t.first + 1), -t.nbytes, t.first))
    if start.large_first:
        wanted.sort(key=lambda t: -t.nbytes)
    chosen: list[Interval] = []
    taken = [0] * count
    cycles = [layer_cycles(layer, frozenset(), 0, target) for layer in layers]
    for item in wanted:
        trial = [*chosen, item]
        names = frozenset(t.name for t in trial)
        over = in_place(layers, names) if start.in_place else {}
        offsets, total = plan_arena(trial, SCRATCHPAD_ALIGN, over)
        if total >= capacity:
            continue
        needed = taken_by(trial, offsets, count)
        changed = [i for i in range(count) if needed[i] != taken[i] or item.first <= i <= item.last]
        fresh = _estimates(layers, changed, names, needed, cycles, target)
        if fresh is None:
            continue
        chosen, taken = trial, needed
        for i, estimate in zip(changed, fresh, strict=True):
            cycles[i] = estimate
    names = frozenset(t.name for t in chosen)
    over = in_place(layers, names) if start.in_place else {}
    return Residency(names, tuple(taken), over=over, cycles=sum(n or 0.0 for n in cycles))


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
        new = (
            None
            if old is None or taken[i] >= target.scratchpad.act
            else layer_cycles(layers[i], names, taken[i], target)
        )
        if old is None or new is None:
            return None
        found.append(new)
        limit += old
    return found if sum(found) < limit else None
