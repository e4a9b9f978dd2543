"""Replay of a recorded run on the four queues, with two DMA engines that share the DRAM channel.

Times are core cycles. An instruction starts when its queue is free and its waits are satisfied. Compute and post
instructions take their recorded cycles. DMA instructions move their requests in pieces that do not cross a DRAM page;
the channel serves the pieces of both engines first come, first served (docs/performance.md, "DMA and DRAM").

Three parts know one another by their calls only: the channel (`_access`), the engines (`_accept`, `_serve`) and the
queues (`_issue`, `_retire`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from emulator.recording import Recorder
from isa.code import synchronisation
from isa.formats import Queue
from isa.jit import jit
from isa.target import Target
from isa.timed import TimedInstructions

Longs: TypeAlias = NDArray[np.int64]
Doubles: TypeAlias = NDArray[np.float64]
Records: TypeAlias = NDArray[np.void]

_NEVER = -1e18
"""A time before all others."""


class _Engine(IntEnum):
    """The DMA engines, one a direction."""

    LOAD = 0
    STORE = 1


# The DRAM channel -----------------------------------------------------------------------------------------------------


class _Timing(NamedTuple):
    """Parameters of the channel; times in core cycles."""

    burst_bytes: int
    page_bytes: int
    banks: int
    burst: float
    rl: float
    wl: float
    trcd: float
    trp: float
    tras: float
    trrd: float
    tfaw: float
    tccd: float
    twr: float
    trtp: float
    twtr: float
    trefi: float
    trfc: float


_BANK = np.dtype([("row", np.int64), ("precharge", np.float64), ("column", np.float64)])
"""Open row (-1: closed), earliest precharge, earliest column command."""

_CHANNEL = np.dtype(
    [
        ("first", np.float64),  # first column command of the last piece
        ("end", np.float64),  # end of its data
        ("column", np.float64),  # last column command
        ("read_end", np.float64),  # end of the last data read
        ("write_end", np.float64),  # end of the last data written
        ("activated", np.float64),  # last activation
        ("refresh", np.float64),  # next refresh
        ("slot", np.int64),  # next of the four activations
        ("row_hits", np.int64),
        ("row_misses", np.int64),  # bursts that had to open their row
        ("refreshes", np.int64),
        ("bursts", np.int64),
        ("openings", np.int64),  # how many of `_Dram.openings` are filled in
    ]
)


_OPENING = np.dtype([("time", np.float64), ("bank", np.int64), ("row", np.int64)])
"""A row that is opened, or a refresh that closes all rows (bank -1)."""


class _Dram(NamedTuple):
    """The channel: parameters, one record a bank, one record for all, the last four activations, rows opened so far."""

    timing: _Timing
    banks: Records
    channel: Records
    activations: Doubles
    openings: Records


def _dram(target: Target, requests: Longs) -> _Dram:
    """The channel before the first of the requests [n, 2] (address, bytes)."""
    d = target.dram
    scale = target.clock.frequency_mhz / d.clock_mhz
    burst = d.burst_bytes / d.bytes_per_clock
    times = [burst, d.RL, d.WL, d.tRCD, d.tRPpb, d.tRAS, d.tRRD, d.tFAW, max(d.tCCD, burst), d.tWR, d.tRTP, d.tWTR]
    times += [d.tREFI, d.tRFCab]
    timing = _Timing(d.burst_bytes, d.page_bytes, d.banks, *(float(t * scale) for t in times))
    banks, channel = np.zeros(d.banks, _BANK), np.zeros(1, _CHANNEL)
    banks["row"] = -1
    for name in ("column", "read_end", "write_end", "activated"):
        channel[name] = _NEVER
    channel["refresh"] = timing.trefi
    pages = (requests.sum(axis=1) - 1) // d.page_bytes - requests[:, 0] // d.page_bytes + 1
    openings = np.zeros(2 * int(pages.sum()), _OPENING)  # a piece opens a row at most, after a refresh at most
    return _Dram(timing, banks, channel, np.full(4, _NEVER), openings)


@jit
def _opened(dram: _Dram, time: float, bank: int, row: int) -> None:
    """Note that a row is opened, or all rows closed."""
    channel = dram.channel[0]
    opening = dram.openings[channel["openings"]]
    opening["time"] = time
    opening["bank"] = bank
    opening["row"] = row
    channel["openings"] += 1


@jit
def _refresh(dram: _Dram, now: float) -> None:
    """Refreshes that fell due before: all rows are closed, and one that is still running delays the next piece."""
    t, channel = dram.timing, dram.channel[0]
    if now < channel["refresh"]:
        return
    due = int((now - channel["refresh"]) // t.trefi)
    begin = max(channel["refresh"] + due * t.trefi, max(channel["read_end"], channel["write_end"]) if due == 0 else 0.0)
    channel["refreshes"] += due + 1
    channel["refresh"] += (due + 1) * t.trefi
    _opened(dram, begin, -1, 0)
    for b in range(dram.banks.shape[0]):
        bank = dram.banks[b]
        bank["row"] = -1
        bank["precharge"] = max(bank["precharge"], begin + t.trfc)


@jit
def _open_row(dram: _Dram, b: int, row: int, ready: float) -> None:
    """Close the open row of bank b, if there is one, and activate another."""
    t, channel, bank = dram.timing, dram.channel[0], dram.banks[b]
    start = max(ready, bank["precharge"])
    if bank["row"] >= 0:
        start += t.trp
    slot = channel["slot"]
    activate = max(start, max(channel["activated"] + t.trrd, dram.activations[slot] + t.tfaw))
    dram.activations[slot] = activate
    channel["slot"] = (slot + 1) % 4
    channel["activated"] = activate
    _opened(dram, activate, b, row)
    bank["row"] = row
    bank["precharge"] = activate + t.tras
    bank["column"] = activate + t.trcd


@jit
def _access(dram: _Dram, address: int, size: int, write: bool, ready: float) -> None:
    """Serve one piece within a page, not before `ready`. Results: the channel's `first` and `end`."""
    t, channel = dram.timing, dram.channel[0]
    count = (address + size - 1) // t.burst_bytes - address // t.burst_bytes + 1
    b = (address // t.page_bytes) % t.banks
    row = address // (t.page_bytes * t.banks)
    bank = dram.banks[b]
    _refresh(dram, max(ready, channel["column"]))
    missed = bank["row"] != row
    if missed:
        _open_row(dram, b, row, ready)
    channel["row_misses"] += int(missed)
    channel["row_hits"] += count - int(missed)
    channel["bursts"] += count
    first = max(max(ready, bank["column"]), channel["column"] + t.tccd)
    if write:
        first = max(first, channel["read_end"] - t.wl)
    else:
        first = max(first, channel["write_end"] + t.twtr)
    last = first + (count - 1) * t.tccd
    channel["column"] = last
    if write:
        end = last + t.wl + t.burst
        channel["write_end"] = end
        bank["precharge"] = max(bank["precharge"], end + t.twr)
    else:
        end = last + t.rl + t.burst
        channel["read_end"] = end
        bank["precharge"] = max(bank["precharge"], last + t.trtp)
    channel["first"] = first
    channel["end"] = end


# Instructions and queues ----------------------------------------------------------------------------------------------


class _Work(NamedTuple):
    """The recorded instructions [n]; requests of instruction i are first_request[i] .. first_request[i + 1] - 1."""

    queue: Longs
    signal: Longs
    waits: Longs
    cycles: Longs
    following: Longs  # the next instruction of the same queue, -1 after the last
    first_request: Longs
    requests: Longs  # address, bytes


class _Times(NamedTuple):
    """What the replay fills in: `binder` is the instruction whose end set the start, -1 if there is none."""

    start: Longs
    end: Longs
    binder: Longs


_QUEUE = np.dtype([("head", np.int64), ("previous", np.int64), ("reached", np.int64), ("retired", np.int64)])
"""Next instruction and the one before (-1: none), the semaphore's count, instructions that are done."""

_ENGINE = np.dtype(
    [
        ("serving", np.int64),  # instruction in service, -1: none
        ("request", np.int64),  # its request
        ("offset", np.int64),  # bytes of the request that are done
        ("ready", np.float64),  # when its next piece may be served
        ("pad", np.float64),  # when the scratchpad side is through with what it has
        ("pad_rate", np.float64),  # scratchpad cycles a byte
        ("data_end", np.float64),  # end of the data of the piece before
    ]
)


class _Machine(NamedTuple):
    """Everything that a replay changes. `signaller` [queue, count]: the instruction that made it reach count."""

    work: _Work
    times: _Times
    queues: Records
    signaller: Longs
    engines: Records
    dma_issue: int
    dram: _Dram


@jit
def _retire(m: _Machine, i: int, end: int) -> None:
    """Instruction i is done; its queue goes on to the next one."""
    q = m.work.queue[i]
    queue = m.queues[q]
    m.times.end[i] = end
    queue["previous"] = i
    queue["head"] = m.work.following[i]
    queue["retired"] += 1
    if m.work.signal[i]:
        queue["reached"] += 1
        m.signaller[q, queue["reached"]] = i


@jit
def _begin(m: _Machine, i: int) -> int:
    """Start instruction i, whose waits are satisfied."""
    begin = 0
    binder = m.queues[m.work.queue[i]]["previous"]
    if binder >= 0:
        begin = m.times.end[binder]
    for w in range(4):
        if m.work.waits[i, w] > 0:
            other = m.signaller[w, m.work.waits[i, w]]
            if m.times.end[other] > begin:
                begin = m.times.end[other]
                binder = other
    m.times.start[i] = begin
    m.times.binder[i] = binder
    return int(begin)


@jit
def _piece(m: _Machine, e: int) -> tuple[int, int]:
    """Address and size of the next piece of an engine: what is left of its request, up to the end of the page."""
    engine, page = m.engines[e], m.dram.timing.page_bytes
    request = engine["request"]
    address = m.work.requests[request, 0] + engine["offset"]
    return address, min(m.work.requests[request, 1] - engine["offset"], page - address % page)


@jit
def _accept(m: _Machine, e: int, i: int, begin: int) -> None:
    """An engine takes instruction i."""
    engine = m.engines[e]
    engine["serving"] = i
    engine["request"] = m.work.first_request[i]
    engine["offset"] = 0
    total = 0
    for j in range(m.work.first_request[i], m.work.first_request[i + 1]):
        total += m.work.requests[j, 1]
    engine["pad_rate"] = m.work.cycles[i] / total
    engine["pad"] = begin + m.dma_issue
    engine["data_end"] = 0.0
    if e == _Engine.STORE:
        engine["pad"] += engine["pad_rate"] * _piece(m, e)[1]
    engine["ready"] = engine["pad"]


@jit
def _serve(m: _Machine, e: int) -> None:
    """The channel serves the next piece of an engine."""
    engine, channel = m.engines[e], m.dram.channel[0]
    i = engine["serving"]
    address, size = _piece(m, e)
    _access(m.dram, address, size, e == _Engine.STORE, engine["ready"])
    engine["offset"] += size
    if engine["offset"] == m.work.requests[engine["request"], 1]:
        engine["request"] += 1
        engine["offset"] = 0
    last = engine["request"] == m.work.first_request[i + 1]
    if e == _Engine.LOAD:
        # A piece is laid down while the next one is fetched.
        before = engine["pad"]
        engine["pad"] = max(before + engine["pad_rate"] * size, channel["end"])
        engine["ready"] = max(channel["first"], before)
        finish = engine["pad"]
    else:
        # A piece is compressed while the one before it is written.
        finish = channel["end"]
        if not last:
            engine["pad"] = max(engine["pad"], engine["data_end"]) + engine["pad_rate"] * _piece(m, e)[1]
            engine["ready"] = max(engine["pad"], channel["first"])
        engine["data_end"] = channel["end"]
    if last:
        engine["serving"] = -1
        _retire(m, i, int(np.ceil(finish - 1e-6)))


@jit
def _issue(m: _Machine) -> bool:
    """Start the next instruction of every queue that is free and has its waits satisfied; whether there was one."""
    started = False
    for q in range(4):
        i = m.queues[q]["head"]
        e = _Engine.LOAD if q == Queue.LOAD else (_Engine.STORE if q == Queue.STORE else -1)
        if i < 0 or (e >= 0 and m.engines[e]["serving"] >= 0):
            continue
        satisfied = True
        for w in range(4):
            satisfied &= m.work.waits[i, w] <= m.queues[w]["reached"]
        if not satisfied:
            continue
        started = True
        begin = _begin(m, i)
        if e >= 0 and m.work.first_request[i + 1] > m.work.first_request[i]:
            _accept(m, e, i, begin)
        else:
            _retire(m, i, int(begin + m.work.cycles[i]))
    return started


@jit
def _replay(m: _Machine) -> int:
    """Run all instructions; returns how many came to their end."""
    load, store = m.engines[_Engine.LOAD], m.engines[_Engine.STORE]
    while True:
        if _issue(m):
            continue
        if load["serving"] < 0 and store["serving"] < 0:
            break
        later = load["serving"] < 0 or (store["serving"] >= 0 and store["ready"] < load["ready"])
        _serve(m, _Engine.STORE if later else _Engine.LOAD)
    done = 0
    for q in range(4):
        done += m.queues[q]["retired"]
    return done


@dataclass(frozen=True)
class DramUse:
    """Bursts that found their row open, bursts that had to open one, refreshes, cycles of data on the bus."""

    row_hits: int
    row_misses: int
    refreshes: int
    data_cycles: float


@dataclass(frozen=True)
class Timeline:
    """Start and end of every instruction in cycles, and the instruction whose end allowed it to start (-1: none).

    `openings` [n] with the fields time, bank and row: activations in the order of service; bank -1: a refresh.
    """

    queue: Longs
    start: Longs
    end: Longs
    binder: Longs
    dram: DramUse
    openings: Records = field(default_factory=lambda: np.zeros(0, _OPENING))

    @property
    def total(self) -> int:
        """Cycles from the start of the program to the end of its last instruction."""
        return int(self.end.max(initial=0))


def _machine(work: TimedInstructions, target: Target) -> _Machine:
    """The machine before the first instruction."""
    n = len(work.queue)
    following, queues = np.full(n, -1, np.int64), np.zeros(len(Queue), _QUEUE)
    for q in Queue:
        mine = np.flatnonzero(work.queue == q)
        following[mine[:-1]] = mine[1:]
        queues[q]["head"] = mine[0] if mine.size else -1
    queues["previous"] = -1
    first = np.concatenate([[0], np.cumsum(list(map(len, work.requests)), dtype=np.int64)]).astype(np.int64)
    requests = np.concatenate([np.empty((0, 2), np.int64), *work.requests])
    recorded = _Work(work.queue, work.signal, work.waits, work.cycles, following, first, requests)
    times = _Times(*(np.zeros(n, np.int64) for _ in range(3)))
    engines = np.zeros(len(_Engine), _ENGINE)
    engines["serving"] = -1
    signaller = np.full((len(Queue), n + 1), -1, np.int64)
    return _Machine(recorded, times, queues, signaller, engines, target.dma.issue_cycles, _dram(target, requests))


def replay(recorder: Recorder) -> Timeline:
    """Time a recorded run. The program's waits must be satisfiable (`isa.hazards.check_semaphores`)."""
    synchronised = synchronisation(recorder.program.groups)
    return replay_instructions(TimedInstructions(*synchronised, recorder.cycles, recorder.requests), recorder.target)


def replay_instructions(work: TimedInstructions, target: Target) -> Timeline:
    """Time instructions of which the cycles and the DRAM requests are known. Their waits must be satisfiable."""
    machine = _machine(work, target)
    done = _replay(machine)
    assert done == len(work.queue), "a wait is never satisfied"
    channel = machine.dram.channel[0]
    hits, misses, refreshes, bursts = (int(channel[name]) for name in ("row_hits", "row_misses", "refreshes", "bursts"))
    use = DramUse(hits, misses, refreshes, bursts * machine.dram.timing.burst)
    openings = machine.dram.openings[: int(channel["openings"])]
    return Timeline(machine.work.queue, *machine.times, use, openings)
