"""Where to cut a graph in three, so that the middle part computes as much as it can: a minimum cut.

Every node gets one of the labels HEAD, MACHINE and TAIL, which never fall along an edge: nothing that the machine reads
comes of what it computes by way of the host. A node that the machine cannot compute is in the head or in the tail at no
cost; any other node costs its weight there. Each node is two vertices, "at least MACHINE" and "at least TAIL".
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Literal

Label = Literal[0, 1, 2]
HEAD: Label = 0
MACHINE: Label = 1
TAIL: Label = 2


def cut(weights: Sequence[int], edges: Iterable[tuple[int, int]], refused: Iterable[int]) -> list[Label]:
    """Labels of nodes 0..n-1 of the least weight outside MACHINE, where no `refused` node is MACHINE.

    `weights` are positive; `edges` lead from producers to consumers. Of equal cuts, one with the largest head.
    """
    count = len(weights)
    source, sink = 2 * count, 2 * count + 1
    whole = sum(weights) + 1
    outside = set(refused)
    flow = _Flow(2 * count + 2)
    for node, weight in enumerate(weights):
        machine, tail = 2 * node, 2 * node + 1
        flow.add(tail, machine, whole)
        if node in outside:
            flow.add(machine, tail, whole)
        else:
            flow.add(source, machine, weight)
            flow.add(tail, sink, weight)
    for above, below in edges:
        flow.add(2 * above, 2 * below, whole)
        flow.add(2 * above + 1, 2 * below + 1, whole)
    reached = flow.reached_after(source, sink)
    labels: list[Label] = [HEAD, MACHINE, TAIL]
    return [labels[reached[2 * node] + reached[2 * node + 1]] for node in range(count)]


class _Flow:
    """A network of capacities; Dinic's algorithm."""

    def __init__(self, vertices: int):
        self._out: list[list[int]] = [[] for _ in range(vertices)]
        self._to: list[int] = []
        self._left: list[int] = []

    def add(self, start: int, end: int, capacity: int) -> None:
        for a, b, c in ((start, end, capacity), (end, start, 0)):
            self._out[a].append(len(self._to))
            self._to.append(b)
            self._left.append(c)

    def reached_after(self, source: int, sink: int) -> list[bool]:
        """Which vertices the source still reaches once the flow to the sink is the largest."""
        while True:
            levels = self._levels(source)
            if levels[sink] < 0:
                return [level >= 0 for level in levels]
            at = [0] * len(self._out)
            while self._push(source, sink, levels, at):
                pass

    def _levels(self, source: int) -> list[int]:
        levels = [-1] * len(self._out)
        levels[source] = 0
        todo = deque([source])
        while todo:
            vertex = todo.popleft()
            for edge in self._out[vertex]:
                if self._left[edge] and levels[self._to[edge]] < 0:
                    levels[self._to[edge]] = levels[vertex] + 1
                    todo.append(self._to[edge])
        return levels

    def _push(self, source: int, sink: int, levels: Sequence[int], at: list[int]) -> bool:
        """Push flow along a path whose levels rise; was there one? `at`: the next edge of each vertex to try."""
        path: list[int] = []
        vertex = source
        while vertex != sink:
            edges = self._out[vertex]
            while at[vertex] < len(edges) and not self._rises(edges[at[vertex]], levels):
                at[vertex] += 1
            if at[vertex] < len(edges):
                path.append(edges[at[vertex]])
                vertex = self._to[path[-1]]
            elif path:
                vertex = self._to[path.pop() ^ 1]
                at[vertex] += 1
            else:
                return False
        amount = min(self._left[edge] for edge in path)
        for edge in path:
            self._left[edge] -= amount
            self._left[edge ^ 1] += amount
        return True

    def _rises(self, edge: int, levels: Sequence[int]) -> bool:
        return self._left[edge] > 0 and levels[self._to[edge]] == levels[self._to[edge ^ 1]] + 1
