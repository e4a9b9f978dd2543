"""The network as a column of layers, coloured by what they cost, with arcs for the tensors that skip layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from escc.reports.markup import safe
from isa.formats import Queue
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
    """Which input or layer writes what a layer reads: numbers of inputs, then of layers.

    A tensor is known by its address, which another tensor may take over once this one has been read for the last time.
    """
    first = len(program.inputs)
    writers: dict[int, list[int]] = {port.tensor.address: [i] for i, port in enumerate(program.inputs)}
    was_read: set[int] = set()
    found: dict[tuple[int, int], None] = {}
    for number, layer in enumerate(program.layers, first):
        reads, writes = _addresses(program, layer.start, layer.end)
        found.update(((source, number), None) for address in reads for source in writers.get(address, ()))
        was_read.update(reads)
        for address in writes:
            if address in was_read or address not in writers:
                writers[address] = []
                was_read.discard(address)
            writers[address].append(number)
    return [(source, target) for source, target in found if source != target]


def _addresses(program: Program, start: int, end: int) -> tuple[list[int], list[int]]:
    """Addresses of the tensors that instructions [start, end) load and store."""
    reads: dict[int, None] = {}
    writes: dict[int, None] = {}
    for instruction in program.instructions[start:end]:
        if any(f.name == "tensor_c" for f in instruction.spec.fields):
            table = writes if instruction.spec.queue == Queue.STORE else reads
            table[instruction["dram"]] = None
    return list(reads), list(writes)
