"""The four queues as trace events for Perfetto or chrome://tracing."""

from __future__ import annotations

from typing import Any

from emulator.timing import Timeline
from isa.formats import Queue
from isa.jsonform import published
from isa.program import Program


def trace(program: Program, timeline: Timeline) -> str:
    """JSON text in the Trace Event Format; one track a queue, times in microseconds at the target's clock."""
    mhz = program.target.clock.frequency_mhz
    layer_of = [""] * len(program.instructions)
    for layer in program.layers:
        layer_of[layer.start : layer.end] = [layer.name] * (layer.end - layer.start)
    events: list[dict[str, Any]] = [
        {"ph": "M", "pid": 1, "name": "process_name", "args": {"name": f"{program.target.name} at {mhz:g} MHz"}}
    ]
    for queue in Queue:
        name = {"name": queue.name.lower()}
        events.append({"ph": "M", "pid": 1, "tid": int(queue), "name": "thread_name", "args": name})
        events.append(
            {"ph": "M", "pid": 1, "tid": int(queue), "name": "thread_sort_index", "args": {"sort_index": int(queue)}}
        )
    starts, ends = timeline.start.tolist(), timeline.end.tolist()
    for index, instruction in enumerate(program.instructions):
        if ends[index] == starts[index]:
            continue
        events.append(
            {
                "ph": "X",
                "pid": 1,
                "tid": int(instruction.spec.queue),
                "name": layer_of[index] or instruction.spec.mnemonic,
                "cat": instruction.spec.mnemonic,
                "ts": starts[index] / mhz,
                "dur": (ends[index] - starts[index]) / mhz,
                "args": {
                    "instruction": index,
                    "mnemonic": instruction.spec.mnemonic,
                    "start_cycle": starts[index],
                    "cycles": ends[index] - starts[index],
                },
            }
        )
    return published({"displayTimeUnit": "ns", "traceEvents": events})
