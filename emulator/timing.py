"""Replay of a recorded run: when every instruction starts and ends, and what the DRAM did meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from emulator.dram import new_dram
from emulator.recording import Recorder
from emulator.replayed import BURST, ENGINE, FETCH, QUEUE, Replayed, ReplayParameters, Times, Work, run
from isa.declaration import INSTRUCTION_BYTES
from isa.formats import Queue
from isa.target import Target
from isa.timed import TimedInstructions

Longs: TypeAlias = NDArray[np.int64]
Records: TypeAlias = NDArray[np.void]


_OPENING = np.dtype([("time", np.float64), ("bank", np.int64), ("row", np.int64)])


@dataclass(frozen=True)
class DramUse:
    """Bursts that found their row open, activations, refreshes, cycles of data on the bus."""

    row_hits: int
    row_misses: int
    refreshes: int
    data_cycles: float


@dataclass(frozen=True)
class Timeline:
    """Start and end of every instruction in cycles, and the instruction whose end allowed it to start (-1: none, its
    word was not there).

    An instruction is `accepted` when its unit begins to read it, and starts when it is the oldest one there: a DMA
    engine works on several, the compute unit prepares the next one, a post instruction starts when it is accepted.
    `openings` [n] with the fields time, bank and row: activations in the order of service, in cycles; bank -1: a
    refresh. `bursts`: see `BURST`.
    """

    queue: Longs
    start: Longs
    end: Longs
    binder: Longs
    dram: DramUse
    accepted: Longs
    openings: Records = field(default_factory=lambda: np.zeros(0, _OPENING))
    bursts: Records = field(default_factory=lambda: np.zeros(0, BURST))

    @property
    def total(self) -> int:
        """Cycles from the start of the program to the end of its last instruction."""
        return int(self.end.max(initial=0))


def _work(timed: TimedInstructions, target: Target) -> Work:
    """The instructions, and how those of a queue follow one another."""
    queue, n = timed.queue, timed.queue.size
    following, freeing = np.full(n, -1, np.int64), np.full(n, -1, np.int64)
    places = target.dma.instructions_in_flight
    for q in Queue:
        mine = np.flatnonzero(queue == q)
        following[mine[:-1]] = mine[1:]
        if q in (Queue.LOAD, Queue.STORE):
            freeing[mine[places:]] = mine[:-places]
    first = np.concatenate([[0], np.cumsum(list(map(len, timed.requests)), dtype=np.int64)]).astype(np.int64)
    requests = np.concatenate([np.empty((0, 2), np.int64), *timed.requests])
    before = np.concatenate([[0], np.cumsum(requests[:, 1])])
    moved = before[first[1:]] - before[first[:-1]]
    rate = timed.cycles / np.maximum(moved, 1)
    expansion, released = (np.zeros(n, np.int64) if x is None else x for x in (timed.expansion, timed.released))
    return Work(
        queue, timed.signal, timed.waits, timed.cycles, expansion, released, following, freeing, first, requests, rate
    )  # fmt: skip


def _machine(timed: TimedInstructions, target: Target) -> Replayed:
    """The machine before the first instruction."""
    work = _work(timed, target)
    n, burst = work.queue.size, target.dram.burst_bytes
    queues = np.zeros(len(Queue), QUEUE)
    queues["previous"] = -1
    for q in Queue:
        mine = np.flatnonzero(work.queue == q)
        queues[q]["head"] = mine[0] if mine.size else -1
    engines, fetch = np.zeros(2, ENGINE), np.zeros(1, FETCH)
    for name in ("asking", "ready", "ending", "last"):
        engines[name] = -1
    fetch["bursts"], fetch["ready"] = -(-n * INSTRUCTION_BYTES // burst), -1
    words = np.arange(n) * INSTRUCTION_BYTES
    missing = (words + INSTRUCTION_BYTES - 1) // burst - words // burst + 1
    unknown = (np.full(n, -1, np.int64) for _ in range(5))
    times = Times(
        next(unknown), next(unknown), next(unknown), next(unknown), np.zeros(n), next(unknown), np.zeros(n, np.int64),
        missing,
    )  # fmt: skip
    fifos = [max(1, size // burst) for size in (target.dma.load_fifo, target.dma.store_fifo)]
    ends = work.requests.sum(axis=1)
    bursts = int(((ends - 1) // burst - work.requests[:, 0] // burst + 1).sum()) + int(fetch["bursts"][0])
    parameters = ReplayParameters(
        target.dram.clock_mhz / target.clock.frequency_mhz, target.array.issue_cycles, target.dma.issue_cycles,
        target.dram.queue, target.dram.write_queue, timed.text,
        max(target.fetch.instructions, burst // INSTRUCTION_BYTES + 2 if burst > INSTRUCTION_BYTES else 1),
    )  # fmt: skip
    return Replayed(
        parameters,
        work,
        times,
        queues,
        np.full((len(Queue), n + 1), -1, np.int64),
        engines,
        (np.full(fifos[0], -1.0), np.full(fifos[1], -1.0)),
        (np.zeros(fifos[0]), np.zeros(fifos[1])),
        fetch,
        np.zeros(target.fetch.bursts_in_flight, np.int64),
        np.zeros(bursts, BURST),
        np.array([0, 0, 1]),
        new_dram(target),
    )


def replay(recorder: Recorder) -> Timeline:
    """Time a recorded run. The program's waits must be satisfiable (`isa.hazards.check_semaphores`)."""
    program = recorder.program
    timed = TimedInstructions(
        *program.synchronisation,
        recorder.cycles,
        recorder.requests,
        program.text_base,
        recorder.expansion,
        recorder.released,
    )
    return replay_instructions(timed, recorder.target)


def replay_instructions(timed: TimedInstructions, target: Target) -> Timeline:
    """Time instructions of which the cycles and the DRAM requests are known. Their waits must be satisfiable."""
    machine = _machine(timed, target)
    state, found = machine.dram.state[0], list[Records]()
    finished = False
    while not finished:
        finished = run(machine)
        found.append(machine.dram.openings[: int(state["openings"])].copy())
        state["openings"] = 0
    assert machine.queues["done"].sum() == timed.queue.size, "a wait is never satisfied"
    clocks, dram = machine.parameters.clocks, target.dram
    commands = np.concatenate(found)
    openings = np.zeros(commands.size, _OPENING)
    openings["time"], openings["bank"], openings["row"] = commands["time"] / clocks, commands["bank"], commands["row"]
    hits, opened, refreshes = (int(state[name]) for name in ("row_hits", "activations", "refreshes"))
    use = DramUse(hits, opened, refreshes, machine.bursts.size * dram.burst_clocks / clocks)
    times = machine.times
    return Timeline(timed.queue, times.start, times.end, times.binder, use, times.accepted, openings, machine.bursts)
