"""The network as a column of layers, coloured by what they cost, with arcs for the tensors that skip layers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from emulator.display import safe
from isa.formats import Queue, Space
from isa.program import Program
from isa.text import clipped

_STEP, _LEFT, _MARGIN, _COST, _NAME = 24, 64, 14, 84, 34
"""Pixels of a line, where names begin, above the first line, for costs; characters of a name."""


@dataclass(frozen=True)
class LayerNode:
    """An input or a layer; `cost` is what colours it, None for inputs, and `shown` the cost as text."""

    name: str
    kind: str
    cost: float | None
    shown: str


@dataclass(frozen=True)
class LayerGraph:
    """Nodes in the order in which they run, and edges (from, to) between their numbers."""

    title: str
    text: str
    nodes: Sequence[LayerNode]
    edges: Sequence[tuple[int, int]]
    wide: bool = False
    spec: dict[str, Any] | None = field(default=None, init=False)

    def markup(self) -> str:
        """An SVG as wide as its place: a bar behind each name shows the cost as a share of the largest."""
        most = max((node.cost or 0.0 for node in self.nodes), default=0.0) or 1.0
        height = 2 * _MARGIN + _STEP * max(len(self.nodes) - 1, 0)
        parts = [self._edge(*edge) for edge in self.edges]
        parts += [self._node(i, node, most) for i, node in enumerate(self.nodes)]
        return (
            f'<div class="scroll"><svg class="graph" height="{height}" role="img" aria-label="graph of the network">'
            f"{''.join(parts)}</svg></div>"
        )

    @staticmethod
    def _edge(source: int, target: int) -> str:
        x, y0, y1 = _LEFT - 12, _MARGIN + _STEP * source, _MARGIN + _STEP * target
        if target == source + 1:
            return f'<path d="M{x} {y0}V{y1}"/>'
        out = x - min(44, 10 + 4 * (target - source))
        return f'<path d="M{x} {y0}C{out} {y0 + _STEP} {out} {y1 - _STEP} {x} {y1}"/>'

    @staticmethod
    def _node(number: int, node: LayerNode, most: float) -> str:
        y = _MARGIN + _STEP * number
        share = (node.cost or 0.0) / most
        colour = (
            "var(--soft)" if node.cost is None else f"color-mix(in srgb, var(--high) {100 * share:.0f}%, var(--low))"
        )
        name, kind = safe(clipped(node.name, _NAME)), safe(clipped(node.kind, _NAME))
        label = "" if node.name == node.kind else f' <tspan class="soft">{kind}</tspan>'
        return (
            f"<g><title>{safe(f'{node.name} ({node.kind}): {node.shown}')}</title>"
            f'<rect x="{_LEFT - 2}" y="{y - 10}" height="20" rx="3" '
            f'style="fill:{colour};width:calc((100% - {_LEFT + _COST}px) * {share:.4f})" '
            f'opacity=".45"/><circle cx="{_LEFT - 12}" cy="{y}" r="5" style="fill:{colour}"/>'
            f'<text x="{_LEFT + 4}" y="{y + 4}">{name}{label}</text>'
            f'<text x="100%" y="{y + 4}" text-anchor="end" class="soft">{safe(node.shown)}</text></g>'
        )


def edges_of(program: Program) -> list[tuple[int, int]]:
    """Which input or layer computed the activations that a layer computes from: numbers of inputs, then of layers.

    Every byte of ACT and of the arena is marked with who computed what it holds; loads and stores copy the marks.
    """
    target = program.target
    memories = {
        Space.ACT: (np.zeros(target.scratchpad.act, np.int32), 0),
        Space.ARENA: (np.zeros(program.arena_bytes, np.int32), program.arena_base),
    }
    marks = _NodeSets()
    for number, port in enumerate(program.inputs):
        memory, origin = memories[Space.ACT if port.tensor.resident else Space.ARENA]
        at = port.tensor.address - origin
        memory[at : at + port.tensor.layout(target.array.chunk).nbytes] = marks.of([number])
    found: dict[tuple[int, int], None] = {}
    for number, layer in enumerate(program.layers, len(program.inputs)):
        for index in range(layer.start, layer.end):
            read, written = _activations(program, index, memories)
            sources = marks.behind(read)
            if program.instructions[index].spec.queue in (Queue.LOAD, Queue.STORE):
                mark = marks.of(sources)
            else:
                found.update(((source, number), None) for source in sorted(sources) if source != number)
                mark = marks.of([number])
            for view in written:
                view[...] = mark
    return list(found)


_Views: TypeAlias = list[NDArray[np.int32]]


def _activations(
    program: Program, index: int, memories: Mapping[Space, tuple[NDArray[np.int32], int]]
) -> tuple[_Views, _Views]:
    """What an instruction reads and writes of `memories`, arrays of a mark for each byte and addresses of the first."""
    touched = program.touched
    rows = touched.of(index)
    read, written = _Views(), _Views()
    for row in range(rows.start, rows.stop):
        if (space := Space(touched.space[row])) in memories:
            (written if touched.write[row] else read).append(touched.view(row, *memories[space]))
    return read, written


class _NodeSets:
    """Sets of nodes as numbers, which a byte can be marked with; 0 stands for the empty set."""

    def __init__(self) -> None:
        self._sets: list[frozenset[int]] = [frozenset()]
        self._numbers: dict[frozenset[int], int] = {frozenset(): 0}

    def of(self, nodes: Iterable[int]) -> int:
        """The mark of a set."""
        key = frozenset(nodes)
        if key not in self._numbers:
            self._numbers[key] = len(self._sets)
            self._sets.append(key)
        return self._numbers[key]

    def behind(self, views: Iterable[NDArray[np.int32]]) -> frozenset[int]:
        """All nodes of the marks in `views`."""
        found = {int(mark) for view in views for mark in np.flatnonzero(np.bincount(view.ravel()))}
        return frozenset[int]().union(*(self._sets[mark] for mark in found))
