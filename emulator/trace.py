"""A run as trace events for Perfetto or chrome://tracing: queues, waits, bandwidth, scratchpads and row buffers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

import numpy as np

from emulator.energy import SCRATCHPADS
from emulator.statistics import Statistics, stall_spans
from emulator.timing import Timeline
from isa.code import synchronisation
from isa.formats import Queue
from isa.hazards import all_accesses
from isa.jsonform import published
from isa.program import Program
from isa.target import Target

Event: TypeAlias = dict[str, Any]
Change: TypeAlias = tuple[float, str, float]
"""Time in cycles, series, by how much it grows."""

_QUEUES, _ROWS = 1, 2
"""Process numbers of the tracks."""
_LINE = 64
"""Bytes of a scratchpad whose last user is remembered together."""


def trace(program: Program, statistics: Statistics) -> str:
    """JSON text in the Trace Event Format; times in microseconds at the target's clock."""
    timeline, mhz = statistics.timeline, program.target.clock.frequency_mhz
    moved = statistics.moved.tolist()
    events = [
        *_named(_QUEUES, f"{program.target.name} at {mhz:g} MHz", {int(q): q.name.lower() for q in Queue}),
        *_slices(program, timeline, moved),
        *_flows(program, timeline),
        *_counter("DRAM GB/s", _bandwidth(timeline, moved, mhz), timeline.total),
        *_counter("scratchpad bytes in use", _live(program, timeline), timeline.total),
        *_rows(timeline, program.target),
    ]
    for event in events:
        for key in ("ts", "dur"):
            if key in event:
                event[key] /= mhz
    return published({"displayTimeUnit": "ns", "traceEvents": events})


def _named(process: int, title: str, tracks: dict[int, str]) -> Iterator[Event]:
    """Names of a process and its tracks, in the order of their numbers."""
    yield {"ph": "M", "pid": process, "name": "process_name", "args": {"name": title}}
    for number, name in tracks.items():
        head = {"ph": "M", "pid": process, "tid": number}
        yield {**head, "name": "thread_name", "args": {"name": name}}
        yield {**head, "name": "thread_sort_index", "args": {"sort_index": number}}


def _slices(program: Program, timeline: Timeline, moved: list[int]) -> Iterator[Event]:
    """A slice for each instruction that takes time."""
    layer_of = [""] * len(program.instructions)
    for layer in program.layers:
        layer_of[layer.start : layer.end] = [layer.name] * (layer.end - layer.start)
    starts, ends = timeline.start.tolist(), timeline.end.tolist()
    stalls = _stalls(timeline)
    for index, instruction in enumerate(program.instructions):
        if ends[index] == starts[index]:
            continue
        arguments: dict[str, Any] = {
            "instruction": index,
            "mnemonic": instruction.spec.mnemonic,
            "start_cycle": starts[index],
            "cycles": ends[index] - starts[index],
        }
        if moved[index]:
            arguments["dram_bytes"] = moved[index]
        if index in stalls:
            arguments["stall_cycles"] = stalls[index]
        yield {
            "ph": "X",
            "pid": _QUEUES,
            "tid": int(instruction.spec.queue),
            "name": layer_of[index] or instruction.spec.mnemonic,
            "cat": instruction.spec.mnemonic,
            "ts": starts[index],
            "dur": ends[index] - starts[index],
            "args": arguments,
        }


def _stalls(timeline: Timeline) -> dict[int, dict[str, int]]:
    """For each compute instruction that the unit stood still before: cycles by cause."""
    compute = np.flatnonzero(timeline.queue == Queue.COMPUTE)
    found: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for cause, (starts, ends) in stall_spans(timeline).items():
        following = np.searchsorted(timeline.start[compute], ends)
        for at, cycles in zip(following.tolist(), (ends - starts).tolist(), strict=True):
            if at < compute.size:
                found[int(compute[at])][cause] += cycles
    return found


def _flows(program: Program, timeline: Timeline) -> Iterator[Event]:
    """An arrow from each instruction that signals to the first one of a queue that waits for that."""
    queue, signal, waits = synchronisation(program.groups)
    signallers = [np.flatnonzero((queue == q) & (signal != 0)) for q in Queue]
    lasting = timeline.end > timeline.start
    waited = np.zeros((len(Queue), len(Queue)), np.int64)
    number = 0
    for index in np.flatnonzero(waits.any(axis=1)).tolist():
        for other in np.flatnonzero(waits[index] > waited[queue[index]]).tolist():
            count = int(waits[index, other])
            waited[queue[index], other] = count
            source = int(signallers[other][count - 1])
            if not (lasting[source] and lasting[index]):
                continue
            number += 1
            head = {"pid": _QUEUES, "cat": "wait", "name": f"{Queue(other).name.lower()} {count}", "id": number}
            # An arrow belongs to the slice that covers its time: the last cycle of the one, the first of the other.
            yield {**head, "ph": "s", "tid": other, "ts": int(timeline.end[source]) - 1}
            yield {**head, "ph": "f", "bp": "e", "tid": int(queue[index]), "ts": int(timeline.start[index])}


def _bandwidth(timeline: Timeline, moved: list[int], mhz: float) -> Iterator[Change]:
    """Bytes of each transfer, spread evenly over its time."""
    for index in np.flatnonzero(np.array(moved, np.int64)).tolist():
        start, end = int(timeline.accepted[index]), int(timeline.end[index])
        series = "write" if timeline.queue[index] == Queue.STORE else "read"
        rate = moved[index] / (end - start) * mhz * 1e-3
        yield start, series, rate
        yield end, series, -rate


def _live(program: Program, timeline: Timeline) -> Iterator[Change]:
    """Bytes of each scratchpad from the instruction that writes them to the last one that reads them.

    Where an instruction reads and writes one scratchpad, as sums do, what it reads ends where what it writes begins.
    """
    pads = {name: np.full(getattr(program.target.scratchpad, name) // _LINE + 1, -1, np.int64) for name in SCRATCHPADS}
    written: list[tuple[str, int, int]] = []
    last: list[int] = []
    for index, accesses in enumerate(all_accesses(program.instructions, program.target)):
        start, end = int(timeline.accepted[index]), int(timeline.end[index])
        writes = {a.space for a in accesses if a.write}
        for access in accesses:
            if access.space in pads and not access.write:
                lines = pads[access.space][access.low // _LINE : -(-access.high // _LINE)]
                for owner in map(int, np.unique(lines)):
                    if owner >= 0:
                        last[owner] = max(last[owner], start if access.space in writes else end)
        for access in accesses:
            if access.space in pads and access.write:
                pads[access.space][access.low // _LINE : -(-access.high // _LINE)] = len(written)
                written.append((access.space, start, access.high - access.low))
                last.append(start)
    for (pad, start, size), end in zip(written, last, strict=True):
        if end > start:
            yield start, pad, size
            yield end, pad, -size


def _counter(name: str, changes: Iterable[Change], total: int) -> Iterator[Event]:
    """A counter with an event wherever one of its series changes; it ends with zeros."""
    ordered = sorted(changes)
    level = dict.fromkeys(sorted({series for _, series, _ in ordered}), 0.0)
    for i, (time, series, step) in enumerate(ordered):
        level[series] += step
        if i + 1 == len(ordered) or ordered[i + 1][0] > time:
            # Sums of fractions need not come back to 0 exactly; no rate is as small as what is left.
            shown = {key: value if value > 1e-6 and time < total else 0 for key, value in level.items()}
            yield {"ph": "C", "pid": _QUEUES, "name": name, "ts": time, "args": shown}


def _rows(timeline: Timeline, target: Target) -> Iterator[Event]:
    """The row that each bank of the DRAM holds open; a refresh closes all."""
    opened: dict[int, tuple[float, int]] = {}
    spans: list[tuple[int, int, float, float]] = []
    for time, bank, row in timeline.openings.tolist():
        for closed in [bank] if bank >= 0 else list(opened):
            if closed in opened:
                since, old = opened.pop(closed)
                spans.append((closed, old, since, max(time, since)))
        if bank >= 0:
            opened[bank] = (time, row)
    spans += [(bank, row, since, max(since, timeline.total)) for bank, (since, row) in opened.items()]
    banks = sorted({bank for bank, _, _, _ in spans})
    yield from _named(_ROWS, f"DRAM row buffers ({target.dram.banks} banks)", {bank: f"bank {bank}" for bank in banks})
    for bank, row, since, until in spans:
        head = {"ph": "X", "pid": _ROWS, "tid": bank, "name": f"row {row}", "cat": "row"}
        yield {**head, "ts": since, "dur": until - since, "args": {"row": row}}
