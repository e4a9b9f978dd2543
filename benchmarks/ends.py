"""How long the blocks stand still between layers: `python benchmarks/ends.py MODEL.bin...`, for binaries of escc.

A layer ends, for the blocks, with its last compute instruction, and the next one begins with its first. What lies
between is idle time at a layer's end: the last tile passes through the post unit and is stored, and the next layer
waits for data. Layers without compute instructions (poolings, additions) lie between two others. Before the first and
after the last layer the blocks are idle as well. Printed are, for each binary, the cycles of its sample, the idle ones
with their share, what they wait for, and the layers before which most of them lie.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from commanded import cells

from emulator.machine import Machine
from emulator.statistics import STALLS, stall_spans
from emulator.timing import Timeline
from escc.cli.common import script
from isa.container import read_elf
from isa.formats import Queue
from isa.program import Layer

HEAD = ("network", "cycles", "idle at ends", "share", "waits for", "most before")
MOST = 3
"""Layers that a line names."""


class Idle(NamedTuple):
    """Cycles [first, end) without work for the blocks, before the layer `name` or, without a name, at the end."""

    name: str
    first: int
    end: int


def idle_at_ends(layers: Sequence[Layer], timeline: Timeline) -> list[Idle]:
    """Where the blocks stand still before the first compute instruction of each layer that has one, and at the end."""
    found: list[Idle] = []
    free = 0
    for layer in layers:
        part = slice(layer.start, layer.end)
        mine = timeline.queue[part] == Queue.COMPUTE
        if mine.any():
            found.append(Idle(layer.name, free, int(timeline.start[part][mine].min())))
            free = int(timeline.end[part][mine].max())
    return [*found, Idle("", free, timeline.total)]


def causes(idle: Sequence[Idle], timeline: Timeline) -> dict[str, int]:
    """What the blocks wait for in these cycles."""
    found: dict[str, int] = dict.fromkeys(STALLS, 0)
    for cause, (starts, ends) in stall_spans(timeline).items():
        for each in idle:
            inside = np.minimum(ends, each.end) - np.maximum(starts, each.first)
            found[cause] += int(np.maximum(inside, 0).sum())
    return found


def line(path: Path) -> str:
    """A line of the table."""
    program = read_elf(path.read_bytes(), str(path))
    statistics = Machine(program).run_sample(stats=True).statistics
    if statistics is None:
        raise SystemExit(f"{path}: the binary holds no sample")
    idle = idle_at_ends(program.layers, statistics.timeline)
    cycles, whole = statistics.timeline.total, sum(each.end - each.first for each in idle)
    waits = {cause: n for cause, n in causes(idle, statistics.timeline).items() if n}
    longest = sorted(idle, key=lambda each: each.first - each.end)[:MOST]
    return cells(
        (
            path.stem,
            f"{cycles / 1e3:.1f} K",
            f"{whole / 1e3:.1f} K",
            f"{whole / cycles:.1%}",
            ", ".join(f"{cause} {n / 1e3:.1f} K" for cause, n in sorted(waits.items(), key=lambda item: -item[1])),
            ", ".join(f"{each.name or 'the end'} {(each.end - each.first) / 1e3:.1f} K" for each in longest),
        )
    )


def main() -> None:
    """The command line."""
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    print(cells(HEAD), cells(["---"] * len(HEAD)), sep="\n")
    for path in map(Path, sys.argv[1:]):
        print(line(path), flush=True)


if __name__ == "__main__":
    script(main)
