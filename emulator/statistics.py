"""Statistics of a run: what every layer and the whole program cost, and where the time went.

Every number is defined in docs/performance.md, those of single instructions on their pages in docs/isa/.
`Statistics.data` is what `esc-emu --stats-json` writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from emulator.bounds import RESOURCES, active_cycles, concluded, lanes, multipliers, resource_bounds
from emulator.energy import DRAM_COUNTS, TRAFFIC, energy
from emulator.handlers import UNITS
from emulator.recording import Recorder, columns
from emulator.timing import Timeline, replay
from isa.counts import Count
from isa.declaration import INSTRUCTION_BYTES
from isa.events import Countable, tables_of
from isa.formats import Queue, TensorFormat
from isa.program import Layer, Program, TensorRef
from isa.table import COLUMNS, EVENTS
from isa.target import Target

Longs: TypeAlias = NDArray[np.int64]
Data: TypeAlias = dict[str, Any]

SCHEMA_VERSION = 1
STALLS = ("load", "post", "store", "fetch", "drain")
"""Why the compute unit stands still: the unit that it waits for, or nothing left to compute."""
EVENT_TABLES = tables_of(EVENTS)
"""What single instructions count, as it is shown."""
_STALL_OF_QUEUE = {Queue.LOAD: "load", Queue.POST: "post", Queue.STORE: "store"}


@dataclass(frozen=True)
class Statistics:
    """`data`: plain numbers, lists and dictionaries; `timeline`: when every instruction ran, `moved` its DRAM bytes."""

    data: Data
    timeline: Timeline
    moved: Longs


def collect(program: Program, recorder: Recorder) -> Statistics:
    """Replay a recorded run and sum up."""
    timeline = replay(recorder)
    _add_preparation(recorder, timeline)
    layers = program.layers or (_whole(program),)
    ends = layer_ends(layers, timeline)
    stalls = {name: _per_window(*spans, ends) for name, spans in stall_spans(timeline).items()}
    busy = {
        q.name.lower(): _per_window(timeline.start[timeline.queue == q], timeline.end[timeline.queue == q], ends)
        for q in Queue
    }
    starts = np.concatenate([[0], ends[:-1]])
    rows: list[Data] = []
    for number, layer in enumerate(layers):
        last = number == len(layers) - 1
        part = slice(layer.start, len(program.instructions) if last else layer.end)
        figures = _figures(
            recorder,
            part,
            int(ends[number] - starts[number]),
            timeline.total,
            {name: int(values[number]) for name, values in busy.items()},
            {name: int(values[number]) for name, values in stalls.items()},
            layer.macs,
        )
        active = active_cycles(timeline.accepted[part], timeline.end[part])
        figures["lower_bound"] = concluded(resource_bounds(recorder, part), active)
        head: Data = {"name": layer.name, "kind": layer.kind, "nodes": list(layer.nodes), "weights": layer.weights}
        rows.append({**head, "start_cycle": int(starts[number]), **figures})
    totals = _figures(
        recorder,
        slice(0, len(program.instructions)),
        timeline.total,
        timeline.total,
        {name: int(values.sum()) for name, values in busy.items()},
        {name: int(values.sum()) for name, values in stalls.items()},
        sum(layer.macs for layer in layers),
    )
    resources = {name: sum(row["lower_bound"][name] for row in rows) for name in RESOURCES}
    totals["lower_bound"] = concluded(resources, timeline.total)
    totals.update(_rates(totals, timeline, program.target))
    machine = {
        "target": program.target.name,
        "frequency_mhz": program.target.clock.frequency_mhz,
        "multipliers": multipliers(program.target),
        "accumulator_lanes": lanes(program.target),
        "dram_peak_gb_per_s": program.target.dram.peak_gb_per_s,
    }
    data: Data = {"schema_version": SCHEMA_VERSION, "images": 1, "machine": machine, "totals": totals, "layers": rows}
    if program.hosted is not None:
        data["host"] = program.hosted.work.figures()
    moved: Longs = recorder.counts[:, columns(*DRAM_COUNTS.values())].sum(axis=1)
    return Statistics(data, timeline, moved)


def _add_preparation(recorder: Recorder, timeline: Timeline) -> None:
    """Compute instructions take the cycles that they really took: those of their issue and of their first expansion in
    which the one before was at work are not theirs. Where accumulators work, all slices wait for the others.
    """
    target = recorder.target
    computing = timeline.queue == Queue.COMPUTE
    took = timeline.end - timeline.start
    waited = took - (recorder.cycles - target.array.issue_cycles)
    issue = np.clip(timeline.accepted + target.array.issue_cycles - timeline.start, 0, waited)
    slices = target.array.blocks * target.array.slices
    for group in recorder.program.groups:
        if (counted := UNITS[group.spec.mnemonic].accumulating) is not None:
            mine = group.number
            recorder.counts[mine, COLUMNS[counted.issue]] = slices * issue[mine]
            recorder.counts[mine, COLUMNS[counted.expansion]] += slices * (waited - issue)[mine]
    recorder.cycles[computing] = took[computing]


def layer_ends(layers: Sequence[Layer], timeline: Timeline) -> Longs:
    """End of every layer's window: its last instruction and all layers before are done; the last one ends the run."""
    own = [int(timeline.end[layer.start : layer.end].max(initial=0)) for layer in layers]
    own[-1] = timeline.total
    return np.maximum.accumulate(np.array(own, np.int64))


def stall_spans(timeline: Timeline) -> dict[str, tuple[Longs, Longs]]:
    """Spans (starts, ends) in which the compute unit stands still, by cause.

    A gap is charged to the unit that was at work on what the next compute instruction waited for: following the
    instructions that released one another back from the end of the gap leaves no time unexplained.
    """
    spans: dict[str, list[tuple[int, int]]] = {name: [] for name in STALLS}
    start, end, binder = timeline.start.tolist(), timeline.end.tolist(), timeline.binder.tolist()
    queue = timeline.queue.tolist()
    free = 0
    for i in np.flatnonzero(timeline.queue == Queue.COMPUTE).tolist():
        until, cause = start[i], binder[i]
        while until > free:
            if cause < 0:
                spans["fetch"].append((free, until))
                break
            since = max(free, start[cause])
            if since < until:
                spans[_STALL_OF_QUEUE[Queue(queue[cause])]].append((since, until))
            until, cause = since, binder[cause]
        free = end[i]
    if free < timeline.total:
        spans["drain"].append((free, timeline.total))
    table = {name: np.array(found, np.int64).reshape(-1, 2) for name, found in spans.items()}
    return {name: (t[:, 0], t[:, 1]) for name, t in table.items()}


def _per_window(starts: Longs, ends: Longs, window_ends: Longs) -> Longs:
    """How much of spans that do not overlap one another lies in every window."""
    order = np.argsort(starts, kind="stable")
    starts, ends = starts[order], ends[order]
    before = np.concatenate([[0], np.cumsum(ends - starts)])
    index = np.searchsorted(starts, window_ends, side="right")
    covered = before[index]
    inside = index > 0
    covered[inside] -= np.maximum(ends[index[inside] - 1] - window_ends[inside], 0)
    return np.diff(covered, prepend=0)


def _whole(program: Program) -> Layer:
    """Stands for the layers of a program that names none; statistics ask for no output tensor."""
    nothing = TensorRef("", 0, 1, 1, 1, TensorFormat.RAW, 1, False, 1.0)
    return Layer("program", "program", 0, len(program.instructions), (), nothing)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _density(counts: Mapping[Countable, int], nonzeros: Count, values: Count) -> float | None:
    """Share of values that are not zero, None where there is no value."""
    return counts[nonzeros] / counts[values] if counts[values] else None


def _accumulating(program: Program) -> NDArray[np.bool_]:
    """Which instructions take the cycles of the coefficient accumulators."""
    found = np.zeros(len(program.instructions), np.bool_)
    for group in program.groups:
        found[group.number] = UNITS[group.spec.mnemonic].accumulating is not None
    return found


def _figures(
    recorder: Recorder,
    part: slice,
    cycles: int,
    total: int,
    busy: Mapping[str, int],
    stalls: Mapping[str, int],
    macs: int,
) -> Data:
    """The figures of instructions `part`, to which a window of `cycles` belongs."""
    target = recorder.target
    counts: dict[Countable, int] = dict(zip(COLUMNS, recorder.counts[part].sum(axis=0).tolist(), strict=True))
    durations, queue = recorder.cycles[part], recorder.program.synchronisation.queue[part]
    compute_cycles = int(durations[queue == Queue.COMPUTE].sum())
    streaming_cycles = int(durations[recorder.program.derive(_accumulating)[part]].sum())
    fetched = len(durations) * INSTRUCTION_BYTES
    dram = {name: counts[count] for name, count in DRAM_COUNTS.items()} | {"instructions": fetched}
    multiplications, matches = counts[Count.MULTIPLICATIONS], counts[Count.MATCHES]
    joule = energy(counts, cycles, fetched, target)
    own = {table.name: {name: counts[e] for name, e in events.items()} for table, events in EVENT_TABLES.items()}
    figures: Data = {
        "instructions": len(durations),
        "cycles": cycles,
        "share": _ratio(cycles, total),
        "time_us": cycles / target.clock.frequency_mhz,
        "busy_cycles": dict(busy),
        "stall_cycles": dict(stalls),
        "compute_cycles": compute_cycles,
        "multiplier_utilisation": _ratio(multiplications, multipliers(target) * compute_cycles),
        "accumulator_utilisation": _ratio(matches, lanes(target) * streaming_cycles),
        **own,
        "dense_macs": macs,
        "multiplications": multiplications,
        "matches": matches,
        "effective_operations": multiplications + matches,
        "input_density": _density(counts, Count.INPUT_NONZEROS, Count.INPUT_VALUES),
        "weight_density": _density(counts, Count.WEIGHT_NONZEROS, Count.WEIGHT_VALUES),
        "dram_bytes": {**dram, "total": sum(dram.values())},
        "scratchpad_bytes": {
            name: {"read": counts[read], "write": counts[write]} for name, (read, write) in TRAFFIC.items()
        },
        "energy_uj": {**joule, "total": sum(joule.values())},
    }
    return figures


def _rates(totals: Mapping[str, Any], timeline: Timeline, target: Target) -> Data:
    """Figures that only the whole run has."""
    seconds = float(totals["time_us"]) * 1e-6
    moved = int(totals["dram_bytes"]["total"])
    use = timeline.dram
    return {
        "time_ms": seconds * 1e3,
        "images_per_s": _ratio(1.0, seconds),
        "effective_tops": _ratio(2e-12 * float(totals["dense_macs"]), seconds),
        "average_power_mw": _ratio(float(totals["energy_uj"]["total"]) * 1e-3, seconds),
        "dram": {
            "row_hits": use.row_hits,
            "row_misses": use.row_misses,
            "refreshes": use.refreshes,
            "data_cycles": use.data_cycles,
            "effective_gb_per_s": _ratio(moved * 1e-9, seconds),
            "bus_utilisation": _ratio(use.data_cycles, float(totals["cycles"])),
        },
    }


def average(samples: Sequence[Data]) -> Data:
    """The mean of the statistics of several images of one program; text and lists of names are those of the first."""
    merged = cast(Data, _mean(list(samples)))
    for figures in (merged["totals"], *merged["layers"]):  # what binds the mean of the images need not bind the first
        bound = figures["lower_bound"]
        figures["lower_bound"] = concluded(bound, bound["active_cycles"])
    return {**merged, "schema_version": SCHEMA_VERSION, "images": len(samples)}


def _mean(values: list[Any]) -> Any:
    first = values[0]
    if isinstance(first, dict):
        keys = cast("dict[str, Any]", first)
        return {key: _mean([value[key] for value in values]) for key in keys}
    if isinstance(first, list):
        return [_mean([value[i] for value in values]) for i in range(len(cast("list[Any]", first)))]
    if isinstance(first, int | float):
        mean = sum(values) / len(values)
        return int(mean) if isinstance(first, int) and mean == int(mean) else mean
    return first
