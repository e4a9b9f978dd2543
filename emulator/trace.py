"""A run as trace events for Perfetto or chrome://tracing: queues, waits, bandwidth, scratchpads and row buffers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

import numpy as np

from emulator.energy import SCRATCHPADS
from emulator.replayed import Requester
from emulator.statistics import Longs, Statistics, stall_spans
from emulator.timing import Timeline
from isa.formats import Queue, Space
from isa.jsonform import published
from isa.program import Program
from isa.target import Target

Event: TypeAlias = dict[str, Any]
Change: TypeAlias = tuple[int, str, int]
"""Time in cycles, series, by how much it grows."""

_QUEUES, _ROWS = 1, 2
"""Process numbers of the tracks."""
_SPAN, _SPANS = 64, 4096
"""Cycles over which a rate is the mean, at least; how many such spans a run has at most."""


def trace(program: Program, statistics: Statistics) -> str:
    """JSON text in the Trace Event Format; times in microseconds at the target's clock."""
    timeline, mhz = statistics.timeline, program.target.clock.frequency_mhz
    moved = statistics.moved.tolist()
    events = [
        *_named(_QUEUES, f"{program.target.name} at {mhz:g} MHz", {int(q): q.name.lower() for q in Queue}),
        *_slices(program, timeline, moved),
        *_flows(program, timeline),
        *_bandwidth(timeline, program.target),
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
    """A slice for each instruction that takes time or moves bytes."""
    layer_of = [""] * len(program.instructions)
    for layer in program.layers:
        layer_of[layer.start : layer.end] = [layer.name] * (layer.end - layer.start)
    starts, ends = timeline.start.tolist(), timeline.end.tolist()
    stalls = _stalls(timeline)
    for index, instruction in enumerate(program.instructions):
        if ends[index] == starts[index] and not moved[index]:
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
    queue, signal, waits = program.synchronisation
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


def _bandwidth(timeline: Timeline, target: Target) -> Iterator[Event]:
    """The mean rate of each requester over short spans of equal length, from the times of the bursts on the bus."""
    bursts, total, mhz = timeline.bursts, timeline.total, target.clock.frequency_mhz
    width = max(_SPAN, -(-total // _SPANS))
    edges = np.minimum(np.arange(-(-total // width) + 1) * width, total)
    clocks = target.dram.clock_mhz / mhz
    rates: dict[str, list[float]] = {}
    for requester in Requester:
        ends = np.sort(bursts["end"][bursts["source"] == requester]) / clocks
        times = np.stack([ends - target.dram.burst_clocks / clocks, ends], axis=1).ravel()
        sums = np.repeat(np.arange(ends.size + 1), 2)[1:-1] * target.dram.burst_bytes
        moved = np.diff(np.interp(edges, times, sums)) if ends.size else np.zeros(edges.size - 1)
        rates[requester.name.lower()] = [*(moved / np.maximum(np.diff(edges), 1) * mhz * 1e-3).tolist(), 0.0]
    shown: dict[str, float] = {}
    for time, *level in zip(edges.tolist(), *rates.values(), strict=True):
        if shown != (shown := dict(zip(rates, level, strict=True))):
            yield {"ph": "C", "pid": _QUEUES, "name": "DRAM GB/s", "ts": time, "args": shown}


def _live(program: Program, timeline: Timeline) -> Iterator[Change]:
    """Bytes of each scratchpad from the instruction that writes them to the last one that reads them."""
    touched = program.touched
    spaces = [Space[name.upper()] for name in SCRATCHPADS]
    sizes = {space: int(getattr(program.target.scratchpad, space.address_space)) for space in spaces}
    born, last = ({space: np.zeros(size, np.int64) for space, size in sizes.items()} for _ in range(2))
    accepted, ends = timeline.accepted.tolist(), timeline.end.tolist()
    for index, (start, end) in enumerate(zip(accepted, ends, strict=True)):
        rows = touched.of(index)
        places = [(row, space) for row in range(rows.start, rows.stop) if (space := Space(touched.space[row])) in sizes]
        for row, space in places:
            if not touched.write[row]:
                view = touched.view(row, last[space])
                np.maximum(view, end, out=view)
        for row, space in places:
            if touched.write[row]:
                views = touched.view(row, born[space]), touched.view(row, last[space])
                yield from _spans(space, *views, start)
                for view in views:
                    view[...] = start
    for space in spaces:
        yield from _spans(space, born[space], last[space], timeline.total)


def _spans(space: Space, born: Longs, last: Longs, until: int) -> Iterator[Change]:
    """The bytes that were in use from when they were written to when they were last read, or to `until` if later."""
    keys, numbers = np.unique((born << 32) + np.minimum(last, until), return_counts=True)
    for key, number in zip(keys.tolist(), numbers.tolist(), strict=True):
        start, end = key >> 32, key & 0xFFFFFFFF
        if end > start:
            yield start, space.address_space, number
            yield end, space.address_space, -number


def _counter(name: str, changes: Iterable[Change], total: int) -> Iterator[Event]:
    """A counter with an event wherever one of its series changes; it ends with zeros."""
    ordered = sorted(changes)
    level = dict.fromkeys(sorted({series for _, series, _ in ordered}), 0)
    for i, (time, series, step) in enumerate(ordered):
        level[series] += step
        if i + 1 == len(ordered) or ordered[i + 1][0] > time:
            shown = {key: value if time < total else 0 for key, value in level.items()}
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
