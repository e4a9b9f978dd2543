"""Which tensors stay in ACT from the layer that computes them to the last one that reads them.

A resident tensor costs no transfers, but takes room from the tiles of every layer of its life. Resident tensors lie at
the bottom of ACT, the buffers of a layer above those that live during it. `passes.tiling.planning` chooses them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field

from isa.target import Target
from passes.tiling.bands import Bands
from passes.tiling.memory import Interval, reserve, with_act
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


def layer_cycles(
    layer: LayerRecord, resident: Set[str], taken: int, target: Target, over: str | None = None
) -> float | None:
    """Estimated cycles of a layer that computes its output in a place of its own or `over` another tensor; None if it
    does not tile with whole windows.
    """
    found = cheapest(layer.posed(resident, over), with_act(target, taken))
    return None if found is None else found[0]
