"""Fewest semaphore waits and signals that order conflicting instructions of in-order queues."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Sync:
    """Synchronisation of one instruction: whether it signals, and for each queue the semaphore count it waits for (0:
    none).
    """

    signal: bool = False
    waits: list[int] = field(default_factory=list[int])


def synchronise(queues: Sequence[int], dependencies: Sequence[Sequence[int]], count: int) -> list[Sync]:
    """Place waits and signals.

    `queues[i]` is the queue of instruction i, `dependencies[i][q]` the latest earlier instruction of queue q that i
    must follow (-1: none), `count` the number of queues. A wait is left out when what the queue has waited for
    before, and the order inside queues, imply it; only instructions that somebody waits for signal.
    """
    position: list[int] = []
    lengths = [0] * count
    known = [[0] * count for _ in range(count)]  # known[q][p]: instructions of p completed when the next of q starts
    finished: list[list[int]] = []  # what is known to be complete once instruction i is
    awaited: list[list[int]] = []
    for i, queue in enumerate(queues):
        now = known[queue]
        kept: list[int] = []
        # The latest first: what it waited for itself may imply the others.
        for j in sorted((d for d in dependencies[i] if d >= 0), reverse=True):
            if position[j] < now[queues[j]]:
                continue
            kept.append(j)
            now = [max(a, b) for a, b in zip(now, finished[j], strict=True)]
        position.append(lengths[queue])
        lengths[queue] += 1
        done = list(now)
        done[queue] = lengths[queue]
        finished.append(done)
        known[queue] = done
        awaited.append(kept)
    signalling = {j for kept in awaited for j in kept}
    counts = [0] * count
    number: dict[int, int] = {}
    for j in sorted(signalling):
        counts[queues[j]] += 1
        number[j] = counts[queues[j]]
    found: list[Sync] = []
    for i, kept in enumerate(awaited):
        waits = [0] * count
        for j in kept:
            waits[queues[j]] = max(waits[queues[j]], number[j])
        found.append(Sync(i in signalling, waits))
    return found
