"""Lower bounds: how long a layer takes at least, whatever the order of its instructions (docs/performance.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from emulator.recording import Longs, Recorder
from isa.counts import Count
from isa.formats import Queue
from isa.target import Target

Data: TypeAlias = dict[str, Any]

RESOURCES = ("mac_rows", "accumulators", "post", "dram")
"""What may bind a layer; of equal bounds the first one binds."""


def multipliers(target: Target) -> int:
    """Products that the MAC rows compute in a cycle."""
    return target.array.blocks * target.array.slices * target.array.macs


def lanes(target: Target) -> int:
    """Activations that all coefficient accumulators add in a cycle."""
    return target.array.blocks * target.array.slices * target.array.ca_lanes


def resource_bounds(recorder: Recorder, part: slice) -> dict[str, float]:
    """Cycles that every one of `RESOURCES` needs for the instructions `part` if it never waits."""
    target, queue = recorder.target, recorder.program.synchronisation.queue[part]
    counts: Longs = recorder.counts[part].sum(axis=0)
    post = recorder.cycles[part][queue == Queue.POST] - target.post.issue_cycles
    requests = recorder.requests[part]
    moved = sum(
        compulsory_bytes([requests[i] for i in np.flatnonzero(queue == engine).tolist()], target)
        for engine in (Queue.LOAD, Queue.STORE)
    )
    found = (
        int(counts[Count.MULTIPLICATIONS]) / multipliers(target),
        int(counts[Count.MATCHES]) / lanes(target),
        float(np.maximum(post, 0).sum()),
        moved / target.dram_bytes_per_cycle,
    )
    return dict(zip(RESOURCES, found, strict=True))


def compulsory_bytes(requests: Sequence[Longs], target: Target) -> int:
    """Bytes of the bursts that requests [n, 2] (address, bytes) touch, every burst counted once."""
    if not requests:
        return 0
    burst = target.dram.burst_bytes
    pieces = np.concatenate(requests)
    pieces = pieces[np.argsort(pieces[:, 0], kind="stable")]
    first, end = pieces[:, 0] // burst, (pieces.sum(axis=1) + burst - 1) // burst
    seen = np.concatenate([[0], np.maximum.accumulate(end)[:-1]])
    return int(np.maximum(end - np.maximum(first, seen), 0).sum()) * burst


def active_cycles(start: Longs, end: Longs) -> int:
    """Cycles in which at least one of the instructions with these times [n] runs."""
    order = np.argsort(start, kind="stable")
    start, end = start[order], end[order]
    seen = np.concatenate([[0], np.maximum.accumulate(end)[:-1]])
    return int(np.maximum(end - np.maximum(start, seen), 0).sum())


def concluded(resources: Mapping[str, float], active: float) -> Data:
    """The bound of `resources`, which of them binds ("" if none has work), and its share of the active cycles."""
    bound = max(resources[name] for name in RESOURCES)
    binding = next(name for name in RESOURCES if resources[name] == bound) if bound else ""
    return {
        **{name: resources[name] for name in RESOURCES},
        "cycles": bound,
        "binding": binding,
        "active_cycles": active,
        "efficiency": bound / active if active else 0.0,
    }
