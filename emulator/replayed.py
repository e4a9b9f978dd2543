"""The events of a replay: four queues, with instruction fetch and two DMA engines that share the DRAM channel.

Times are core cycles; those of the channel (`emulator.dram`) are clocks of the DRAM. An instruction starts when its
word is there, its waits are satisfied and, unless it is one of a DMA engine, the one before it in its queue has ended;
an engine works on several at a time, which begin and end in order. Compute and post instructions take their recorded
cycles; the compute unit reads the next instruction, and expands its first coefficients, while it works on the present
one (docs/performance.md, "How time is found").

Time goes from event to event: `run` lets the earliest of all bursts that may be asked for, or of all commands of
the controller, happen. What follows from the end of an instruction is known as soon as that end is, and lies after it,
so that nothing is decided before everything that happened earlier.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from emulator.dram import NEVER, Channel, decide, enqueue, full_of_openings, perform
from isa.declaration import INSTRUCTION_BYTES
from isa.formats import Queue
from isa.jit import borrowing, woven

Longs: TypeAlias = NDArray[np.int64]
Doubles: TypeAlias = NDArray[np.float64]
Records: TypeAlias = NDArray[np.void]

_ROUNDING = 1e-6
"""Fraction of a cycle that sums of rates may be off."""


class Requester(IntEnum):
    """Who asks for bursts; the engines, one a direction, have the first numbers."""

    LOAD = 0
    STORE = 1
    FETCH = 2


BURST = np.dtype([(name, np.int64) for name in ("address", "source", "place", "arrival", "end")])
"""A burst: who asked, its place in the FIFO of an engine, and the clocks
of the DRAM in which the controller received it and its data had been moved."""


class ReplayParameters(NamedTuple):
    clocks: float  # of the DRAM in a core cycle
    compute_issue: int
    dma_issue: int
    queue: int
    write_queue: int
    text: int  # address of the instructions
    window: int  # instructions fetched and not started


class Work(NamedTuple):
    """The recorded instructions [n]; requests of instruction i are first_request[i] .. first_request[i + 1] - 1."""

    queue: Longs
    signal: Longs
    waits: Longs
    cycles: Longs
    expansion: Longs  # cycles that the first coefficients of a compute instruction take, beside `cycles`
    released: Longs  # cycles before its end from which those of the next may be expanded
    following: Longs  # the next instruction of the same queue, -1 after the last
    freeing: Longs  # the instruction that must have ended before an engine has a place for this one, -1: none
    first_request: Longs
    requests: Longs  # address, bytes
    pad_rate: Doubles  # scratchpad cycles a byte


class Times(NamedTuple):
    """What the replay fills in, -1: not yet known. `binder` is the instruction whose end set the start, -1 if there is
    none; `decoded`: when an engine has read the instruction; `arrived`: when the last of the
    bursts of its word so far, of which `missing` more must come, was there; `fetched`: when all were.
    """

    accepted: Longs
    start: Longs
    end: Longs
    binder: Longs
    decoded: Doubles
    fetched: Longs
    arrived: Longs
    missing: Longs


QUEUE = np.dtype([("head", np.int64), ("previous", np.int64), ("reached", np.int64), ("done", np.int64)])
"""Next instruction and the one before (-1: none), the semaphore's count, instructions that are done."""

ENGINE = np.dtype(
    [
        ("asking", np.int64),  # instruction whose bursts are asked for, -1: none
        ("request", np.int64),  # its request
        ("offset", np.int64),  # bytes of the request that have been asked for
        ("asked", np.int64),  # bursts asked for, of all instructions
        ("decoded", np.float64),  # when the last instruction with requests was read
        ("ready", np.int64),  # clock in which the next burst may be asked for, -1: not known
        ("filled", np.float64),  # when the scratchpad side of the store engine has read what it has
        ("ending", np.int64),  # oldest instruction that has not ended, -1: none
        ("end_request", np.int64),  # the oldest of its bursts whose data is not known to be there
        ("end_offset", np.int64),
        ("ended", np.int64),  # bursts that are through, of all instructions
        ("through", np.float64),  # when
        ("last", np.int64),  # the instruction that ended last, -1: none
    ]
)
FETCH = np.dtype([("asked", np.int64), ("bursts", np.int64), ("ready", np.int64)])
"""Bursts asked for, of how many, and the clock in which the next one may be (-1: not known)."""


class Replayed(NamedTuple):
    """Everything that a replay changes. `signaller` [queue, count]: the instruction that made it reach count.

    `arrived` [engine][place in its FIFO]: when the data of the burst there has been moved, in core cycles; `freed`:
    when the place is free; -1: not known. `fetch_ends`: clocks in which the last fetches were there.
    """

    parameters: ReplayParameters
    work: Work
    times: Times
    queues: Records
    signaller: Longs
    engines: Records
    arrived: tuple[Doubles, Doubles]
    freed: tuple[Doubles, Doubles]
    fetch: Records
    fetch_ends: Longs
    bursts: Records
    counts: Longs  # bursts so far; the clock; 1: an instruction may be able to start
    dram: Channel


_BURSTS, _NOW, _STIRRED = 0, 1, 2


# Queues ---------------------------------------------------------------------------------------------------------------


@woven
def _clock(m: Replayed, cycles: float) -> int:
    """The first clock of the DRAM that is not before a time of the core."""
    return int(np.ceil(cycles * m.parameters.clocks - _ROUNDING))


@woven
def _finish(m: Replayed, i: int, end: int) -> None:
    """The end of instruction i is known."""
    q = m.work.queue[i]
    queue = m.queues[q]
    m.times.end[i] = end
    queue["done"] += 1
    m.counts[_STIRRED] = 1
    if m.work.signal[i]:
        queue["reached"] += 1
        m.signaller[q, queue["reached"]] = i


@woven
def _accept(m: Replayed, i: int, engine: bool) -> None:
    """Instruction i is taken by its unit: its time, and what set it. The compute unit takes it once the one before
    sends its positions.
    """
    previous = m.queues[m.work.queue[i]]["previous"]
    computes = m.work.queue[i] == Queue.COMPUTE
    begin, binder = 0, previous
    if previous >= 0:
        begin = m.times.accepted[previous] if engine else m.times.end[previous]
        if computes:
            begin -= m.work.cycles[previous] - m.parameters.compute_issue
    for w in range(4):
        if m.work.waits[i, w] > 0:
            other = m.signaller[w, m.work.waits[i, w]]
            if m.times.end[other] > begin:
                begin, binder = m.times.end[other], other
    if engine and m.work.freeing[i] >= 0 and m.times.end[m.work.freeing[i]] > begin:
        begin, binder = m.times.end[m.work.freeing[i]], m.work.freeing[i]
    if m.times.fetched[i] > begin:
        begin, binder = m.times.fetched[i], -1
    m.times.accepted[i] = begin
    if computes and previous >= 0 and m.times.end[previous] >= begin:
        begin, binder = m.times.end[previous], previous
    m.times.start[i] = begin
    m.times.binder[i] = binder


@woven
def _computed(m: Replayed, i: int) -> int:
    """The end of a compute instruction that has been accepted, the one before being `previous` of its queue."""
    previous, issue = m.queues[Queue.COMPUTE]["previous"], m.parameters.compute_issue
    ready = m.times.accepted[i] + issue
    if m.work.expansion[i] > 0:
        if previous >= 0:
            ready = max(ready, m.times.end[previous] - m.work.released[previous])
        ready += m.work.expansion[i]
    return int(max(m.times.start[i], ready) + m.work.cycles[i] - issue)


@woven
def _may_start(m: Replayed, q: int, i: int) -> bool:
    """Whether all that instruction i of queue q waits for has a known time."""
    if m.times.fetched[i] < 0 or (m.work.freeing[i] >= 0 and m.times.end[m.work.freeing[i]] < 0):
        return False
    satisfied = True
    for w in range(4):
        satisfied &= m.work.waits[i, w] <= m.queues[w]["reached"]
    return satisfied


@woven
def _start(m: Replayed) -> None:
    """Start every instruction that can: its time is known, though it may lie ahead."""
    started = True
    while started:
        started = False
        for q in range(4):
            queue = m.queues[q]
            i = queue["head"]
            if i < 0 or not _may_start(m, q, i):
                continue
            started = True
            engine = q == Queue.LOAD or q == Queue.STORE
            _accept(m, i, engine)
            end = _computed(m, i) if q == Queue.COMPUTE else int(m.times.start[i] + m.work.cycles[i])
            queue["previous"] = i
            queue["head"] = m.work.following[i]
            if engine:
                _decode(m, 0 if q == Queue.LOAD else 1, i)
            else:
                _finish(m, i, end)
    m.counts[_STIRRED] = 0


# Engines --------------------------------------------------------------------------------------------------------------


@woven
def _decode(m: Replayed, e: int, i: int) -> None:
    """Engine e reads instruction i while it moves the data of those before."""
    engine, times = m.engines[e], m.times
    read = float(times.accepted[i])
    if m.work.first_request[i] < m.work.first_request[i + 1]:
        read = max(read, engine["decoded"]) + m.parameters.dma_issue
        engine["decoded"] = read
    times.decoded[i] = read
    if engine["asking"] < 0:
        _ask_for(m, e, i)
    if engine["ending"] < 0:
        _end_with(m, e, i)
        _settle(m, e)


@woven
def _ask_for(m: Replayed, e: int, i: int) -> None:
    """The first of the instructions from i on whose bursts are to be asked for; -1 if there is none yet."""
    engine = m.engines[e]
    while i >= 0 and m.times.accepted[i] >= 0 and m.work.first_request[i] == m.work.first_request[i + 1]:
        i = m.work.following[i]
    engine["asking"] = i if i >= 0 and m.times.accepted[i] >= 0 else -1
    engine["ready"] = -1
    if engine["asking"] >= 0:
        engine["request"] = m.work.first_request[i]
        engine["offset"] = 0


@woven
def _end_with(m: Replayed, e: int, i: int) -> None:
    """Instruction i is the next to end, if it has been accepted."""
    engine = m.engines[e]
    engine["ending"] = i if i >= 0 and m.times.accepted[i] >= 0 else -1
    if engine["ending"] >= 0:
        engine["end_request"] = m.work.first_request[i]
        engine["end_offset"] = 0
        engine["through"] = max(engine["through"], m.times.decoded[i])


@woven
def _within_burst(m: Replayed, request: int, offset: int) -> int:
    """Bytes of a request from an offset to the end of the burst that it lies in, or to its own end."""
    burst = m.dram.timing.burst_bytes
    address = m.work.requests[request, 0] + offset
    return min(m.work.requests[request, 1] - offset, burst - address % burst)


@woven
def _make_ready(m: Replayed, e: int) -> None:
    """Find when the engine may ask for its next burst: its place in the FIFO must be free, and a store must have read
    the data from the scratchpad.
    """
    engine, freed = m.engines[e], m.freed[e]
    i = engine["asking"]
    if i < 0 or engine["ready"] >= 0:
        return
    free = freed[engine["asked"] % freed.size]
    if free < 0:
        return
    ready = float(max(m.times.decoded[i], free))
    if e == Requester.STORE:
        size = _within_burst(m, engine["request"], engine["offset"])
        engine["filled"] = max(ready, engine["filled"]) + m.work.pad_rate[i] * size
        ready = engine["filled"]
    engine["ready"] = _clock(m, ready)


@woven
def _ask(m: Replayed, e: int, now: int) -> None:
    """The controller receives the next burst of an engine."""
    engine = m.engines[e]
    i, request = engine["asking"], engine["request"]
    address = m.work.requests[request, 0] + engine["offset"]
    place = engine["asked"] % m.freed[e].size
    m.freed[e][place] = -1.0
    m.arrived[e][place] = -1.0
    _receive(m, e, place, address, now)
    engine["asked"] += 1
    engine["offset"] += _within_burst(m, request, engine["offset"])
    engine["ready"] = -1
    if engine["offset"] == m.work.requests[request, 1]:
        engine["request"] += 1
        engine["offset"] = 0
        if engine["request"] == m.work.first_request[i + 1]:
            _ask_for(m, e, int(m.work.following[i]))


@woven
def _receive(m: Replayed, source: int, place: int, address: int, now: int) -> None:
    number = m.counts[_BURSTS]
    burst = m.bursts[number]
    burst["address"] = address
    burst["source"] = source
    burst["place"] = place
    burst["arrival"] = now
    m.counts[_BURSTS] += 1
    enqueue(m.dram, address, int(source == Requester.STORE), number, now)


@woven
def _settle(m: Replayed, e: int) -> None:
    """Let bursts through whose data has been moved, in order: a load lays them down; end instructions that are done."""
    engine, arrived = m.engines[e], m.arrived[e]
    while engine["ending"] >= 0:
        i = engine["ending"]
        if engine["end_request"] == m.work.first_request[i + 1]:
            _end(m, e, i)
            continue
        place = engine["ended"] % arrived.size
        if engine["ended"] == engine["asked"] or arrived[place] < 0:
            return
        size = _within_burst(m, engine["end_request"], engine["end_offset"])
        engine["through"] = max(engine["through"], arrived[place])
        if e == Requester.LOAD:
            engine["through"] += m.work.pad_rate[i] * size
        m.freed[e][place] = engine["through"]
        engine["ended"] += 1
        engine["end_offset"] += size
        if engine["end_offset"] == m.work.requests[engine["end_request"], 1]:
            engine["end_request"] += 1
            engine["end_offset"] = 0


@woven
def _end(m: Replayed, e: int, i: int) -> None:
    """Instruction i, the oldest of engine e, has moved all its bursts."""
    engine, times = m.engines[e], m.times
    if m.work.first_request[i] == m.work.first_request[i + 1]:
        engine["through"] += m.work.cycles[i]
    last = engine["last"]
    if last >= 0 and times.end[last] >= times.accepted[i]:
        times.start[i] = times.end[last]
        times.binder[i] = last
    engine["last"] = i
    _finish(m, i, int(np.ceil(engine["through"] - _ROUNDING)))
    _end_with(m, e, m.work.following[i])


# Instruction fetch ----------------------------------------------------------------------------------------------------


@woven
def _first_word(m: Replayed, burst: int) -> int:
    """The first instruction of which a burst of the text holds bytes."""
    return burst * m.dram.timing.burst_bytes // INSTRUCTION_BYTES


@woven
def _end_word(m: Replayed, burst: int) -> int:
    """The instruction after the last of which a burst of the text holds bytes."""
    end = ((burst + 1) * m.dram.timing.burst_bytes + INSTRUCTION_BYTES - 1) // INSTRUCTION_BYTES
    return min(end, m.work.queue.size)


@woven
def _make_fetch_ready(m: Replayed) -> None:
    """Find when the next burst of the text may be asked for: the buffer must have room for its instructions."""
    fetch = m.fetch[0]
    k = fetch["asked"]
    if fetch["ready"] >= 0 or k == fetch["bursts"]:
        return
    free = m.fetch_ends[k % m.fetch_ends.size]
    if free < 0:
        return
    for i in range(_first_word(m, k), _end_word(m, k)):
        left = i - m.parameters.window
        if left >= 0:
            if m.times.accepted[left] < 0:
                return
            free = max(free, _clock(m, float(m.times.accepted[left])))
    fetch["ready"] = free


@woven
def _ask_for_text(m: Replayed, now: int) -> None:
    """The controller receives the next burst of the text."""
    fetch = m.fetch[0]
    m.fetch_ends[fetch["asked"] % m.fetch_ends.size] = -1
    _receive(m, 2, 0, m.parameters.text + fetch["asked"] * m.dram.timing.burst_bytes, now)
    fetch["asked"] += 1
    fetch["ready"] = -1


@woven
def _fetched(m: Replayed, burst: int, end: int) -> None:
    """A burst of the text is there."""
    m.fetch_ends[burst % m.fetch_ends.size] = end
    cycle = int(np.ceil(end / m.parameters.clocks - _ROUNDING))
    for i in range(_first_word(m, burst), _end_word(m, burst)):
        m.times.missing[i] -= 1
        m.times.arrived[i] = max(m.times.arrived[i], cycle)
        if m.times.missing[i] == 0:
            m.times.fetched[i] = m.times.arrived[i]
            m.counts[_STIRRED] = 1


# Events ---------------------------------------------------------------------------------------------------------------


@woven
def _next_source(m: Replayed) -> tuple[int, int]:
    """Who asks for a burst next, and the clock; -1 if nobody can."""
    _make_fetch_ready(m)
    _make_ready(m, 0)
    _make_ready(m, 1)
    found, time = -1, NEVER
    if m.dram.waiting[0] < m.parameters.queue:
        if m.fetch[0]["ready"] >= 0:
            found, time = 2, m.fetch[0]["ready"]
        if 0 <= m.engines[0]["ready"] < time:
            found, time = 0, m.engines[0]["ready"]
    if m.dram.waiting[1] < m.parameters.write_queue and 0 <= m.engines[1]["ready"] < time:
        found, time = 1, m.engines[1]["ready"]
    return found, time


@woven
def _moved(m: Replayed, number: int, end: int) -> None:
    """The data of a burst is on its way: it will have been moved at clock `end`."""
    burst = m.bursts[number]
    burst["end"] = end
    source = burst["source"]
    if source == Requester.FETCH:
        _fetched(m, (burst["address"] - m.parameters.text) // m.dram.timing.burst_bytes, end)
        return
    m.arrived[source][burst["place"]] = end / m.parameters.clocks
    _settle(m, source)


@borrowing
def run(m: Replayed) -> bool:
    """Run all instructions; whether that is done, or the caller must first empty `openings`."""
    state = m.dram.state[0]
    while not full_of_openings(m.dram):
        if m.counts[_STIRRED]:
            _start(m)
        source, ready = _next_source(m)
        decide(m.dram, m.counts[_NOW])
        if source < 0 and state["time"] == NEVER:
            return True
        if source >= 0 and ready <= state["time"]:
            m.counts[_NOW] = max(m.counts[_NOW], ready)
            if source == Requester.FETCH:
                _ask_for_text(m, m.counts[_NOW])
            else:
                _ask(m, source, m.counts[_NOW])
            continue
        m.counts[_NOW] = state["time"]
        number, end = perform(m.dram)
        if number >= 0:
            _moved(m, number, end)
    return False
