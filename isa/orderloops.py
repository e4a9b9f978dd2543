"""Compiled loops of `isa.hazards`: who touched which bytes last, and what has completed when an instruction starts."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from isa.jit import inner, jit

Longs: TypeAlias = NDArray[np.int64]


class _Maps(NamedTuple):
    """Maps from every address to the latest instruction that touched it, -1 where none has.

    Map m has `size[m]` pieces: piece i covers [starts[i], starts[i + 1]) and was touched by latest[i], for i from
    `base[m]` on.
    """

    base: Longs
    size: Longs
    starts: Longs
    latest: Longs


@jit
def _after(starts: Longs, first: int, end: int, address: int) -> int:
    """The first of the pieces [first, end) that begins after an address."""
    while first < end:
        middle = (first + end) // 2
        if starts[middle] <= address:
            first = middle + 1
        else:
            end = middle
    return first


@inner
def _latest(maps: _Maps, m: int, low: int, high: int) -> int:
    """Latest instruction that touched a byte of [low, high)."""
    end = maps.base[m] + maps.size[m]
    i = _after(maps.starts, maps.base[m], end, low) - 1
    found = -1
    while i < end and (maps.starts[i] < high):
        found = max(found, maps.latest[i])
        i += 1
    return found


@inner
def _touch(maps: _Maps, m: int, low: int, high: int, number: int) -> None:
    """An instruction, later than all before, touches [low, high)."""
    starts, latest = maps.starts, maps.latest
    end = maps.base[m] + maps.size[m]
    i = _after(starts, maps.base[m], end, low) - 1
    j = _after(starts, i + 1, end, high - 1)
    after = latest[j - 1]
    keep = starts[i] < low  # the front of piece i stays
    rest = j == end or starts[j] > high  # the back of piece j - 1 stays
    first = i + 1 if keep else i
    moved = first + 1 + int(rest) - j
    if moved > 0:
        for k in range(end - 1, j - 1, -1):
            starts[k + moved], latest[k + moved] = starts[k], latest[k]
    elif moved < 0:
        for k in range(j, end):
            starts[k + moved], latest[k + moved] = starts[k], latest[k]
    starts[first], latest[first] = low, number
    if rest:
        starts[first + 1], latest[first + 1] = high, after
    maps.size[m] += moved


@jit
def latest_conflicts(queue: Longs, ranges: Longs, spaces: int) -> Longs:
    """[n, 4]: for each instruction the latest earlier one of every other queue that conflicts with it, -1: none.

    `queue` [n]; `ranges` [m, 5]: instruction, space, low, high, write; in the order of the instructions.
    """
    n, queues = queue.size, 4
    size = np.ones(spaces * queues * 2, np.int64)
    room = np.full(spaces * queues * 2, 2, np.int64)
    for r in range(len(ranges)):
        room[(ranges[r, 1] * queues + queue[ranges[r, 0]]) * 2 + ranges[r, 4]] += 2
    base, whole = np.empty(room.size, np.int64), 0
    for m in range(room.size):
        base[m] = whole
        whole += room[m]
    maps = _Maps(base, size, np.zeros(whole, np.int64), np.full(whole, -1, np.int64))
    found = np.full((n, queues), -1, np.int64)
    first = 0
    while first < len(ranges):
        number = ranges[first, 0]
        end = first
        while end < len(ranges) and ranges[end, 0] == number:
            _, space, low, high, write = ranges[end]
            for q in range(queues):
                if q != queue[number]:
                    m = (space * queues + q) * 2
                    found[number, q] = max(found[number, q], _latest(maps, m + 1, low, high))
                    if write:
                        found[number, q] = max(found[number, q], _latest(maps, m, low, high))
            end += 1
        for r in range(first, end):
            _, space, low, high, write = ranges[r]
            _touch(maps, (space * queues + queue[number]) * 2 + write, low, high, number)
        first = end
    return found


@jit
def vector_clocks(queue: Longs, signal: Longs, waits: Longs) -> Longs:
    """[n, 4]: how many instructions of every queue have completed when each instruction starts."""
    n, queues = waits.shape
    current = np.zeros((queues, queues), np.int64)
    at_signal = np.zeros((queues, n + 1, queues), np.int64)
    reached = np.zeros(queues, np.int64)
    found = np.zeros((n, queues), np.int64)
    for i in range(n):
        q = queue[i]
        for other in range(queues):
            if waits[i, other]:
                for k in range(queues):
                    current[q, k] = max(current[q, k], at_signal[other, waits[i, other], k])
        for k in range(queues):
            found[i, k] = current[q, k]
        current[q, q] += 1
        if signal[i]:
            reached[q] += 1
            for k in range(queues):
                at_signal[q, reached[q], k] = current[q, k]
    return found
