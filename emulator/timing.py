"""Replay of a recorded run on the four queues, with two DMA engines that share the DRAM channel.

Times are core cycles. An instruction starts when its queue is free and its waits are satisfied. Compute and post
instructions take their recorded cycles. DMA instructions move their requests in pieces that do not cross a DRAM page;
the channel serves the pieces of both engines first come, first served (docs/performance.md, "DMA and DRAM").
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from emulator.events import Recorder
from emulator.jit import jit
from isa.declaration import WAITS
from isa.formats import Queue
from isa.target import Target

Longs: TypeAlias = NDArray[np.int64]
Doubles: TypeAlias = NDArray[np.float64]


class _Dram(IntEnum):
    """Parameters of the channel, in this order; times in core cycles."""

    BURST_BYTES = 0
    PAGE_BYTES = 1
    BANKS = 2
    BURST = 3
    RL = 4
    WL = 5
    TRCD = 6
    TRP = 7
    TRAS = 8
    TRRD = 9
    TFAW = 10
    TCCD = 11
    TWR = 12
    TRTP = 13
    TWTR = 14
    TREFI = 15
    TRFC = 16


def _dram_parameters(target: Target) -> Doubles:
    d = target.dram
    scale = target.clock.frequency_mhz / d.clock_mhz
    burst = d.burst_bytes / d.bytes_per_clock
    times = [burst, d.RL, d.WL, d.tRCD, d.tRPpb, d.tRAS, d.tRRD, d.tFAW, max(d.tCCD, burst), d.tWR, d.tRTP, d.tWTR]
    times += [d.tREFI, d.tRFCab]
    return np.array([d.burst_bytes, d.page_bytes, d.banks, *(t * scale for t in times)], np.float64)


@jit
def _access(
    address: int, size: int, write: int, ready: float, d: Doubles, banks: Doubles, channel: Doubles, counts: Longs
) -> None:
    """Serve one piece within a page. Results in `channel`: [0] first column command, [1] end of the data.

    `banks` [n, 3]: open row (-1: closed), earliest precharge, earliest column command. `channel` also holds [2] last
    column command, [3] end of the last read's data, [4] end of the last write's data, [5] last activation, [6] next
    refresh, [7] next of the four activation slots [8..11]. `counts`: row hits, row misses (bursts), refreshes, bursts.
    """
    burst_bytes, page = int(d[0]), int(d[1])
    count = (address + size - 1) // burst_bytes - address // burst_bytes + 1
    bank = (address // page) % int(d[2])
    row = address // (page * int(d[2]))
    # Refreshes that fell due before: all rows closed; one that is still running delays this piece.
    now = max(ready, channel[2])
    if now >= channel[6]:
        due = int((now - channel[6]) // d[15])
        begin = max(channel[6] + due * d[15], max(channel[3], channel[4]) if due == 0 else 0.0)
        counts[2] += due + 1
        channel[6] += (due + 1) * d[15]
        for b in range(banks.shape[0]):
            banks[b, 0] = -1.0
            banks[b, 1] = max(banks[b, 1], begin + d[16])
    if banks[bank, 0] != row:
        start = max(ready, banks[bank, 1])
        if banks[bank, 0] >= 0:
            start += d[7]
        slot = 8 + int(channel[7])
        activate = max(start, max(channel[5] + d[9], channel[slot] + d[10]))
        channel[slot] = activate
        channel[7] = (channel[7] + 1) % 4
        channel[5] = activate
        banks[bank, 0] = row
        banks[bank, 1] = activate + d[8]
        banks[bank, 2] = activate + d[6]
        counts[1] += 1
        counts[0] += count - 1
    else:
        counts[0] += count
    first = max(max(ready, banks[bank, 2]), channel[2] + d[11])
    if write:
        first = max(first, channel[3] - d[5])
    else:
        first = max(first, channel[4] + d[14])
    last = first + (count - 1) * d[11]
    channel[2] = last
    if write:
        end = last + d[5] + d[3]
        channel[4] = end
        banks[bank, 1] = max(banks[bank, 1], end + d[12])
    else:
        end = last + d[4] + d[3]
        channel[3] = end
        banks[bank, 1] = max(banks[bank, 1], last + d[13])
    counts[3] += count
    channel[0] = first
    channel[1] = end


@jit
def _replay(
    queue: Longs,
    signal: Longs,
    waits: Longs,
    cycles: Longs,
    dma_issue: int,
    first_request: Longs,
    addresses: Longs,
    sizes: Longs,
    d: Doubles,
    start: Longs,
    end: Longs,
    binder: Longs,
    counts: Longs,
) -> int:
    """Fill `start`, `end` and `binder` (the instruction whose end set the start; -1: none); returns their number."""
    n = queue.size
    following = np.full(n, -1, np.int64)
    head = np.full(4, -1, np.int64)
    for i in range(n - 1, -1, -1):
        following[i] = head[queue[i]]
        head[queue[i]] = i
    previous = np.full(4, -1, np.int64)
    reached = np.zeros(4, np.int64)
    signaller = np.full((4, n + 1), -1, np.int64)  # [queue, count]: the instruction that made it reach count

    # The DMA engines in service: 0 load, 1 store.
    serving = np.full(2, -1, np.int64)
    request = np.zeros(2, np.int64)
    offset = np.zeros(2, np.int64)
    ready = np.zeros(2, np.float64)
    pad = np.zeros(2, np.float64)  # when the scratchpad side is through with what it has
    pad_before = np.zeros(2, np.float64)
    pad_rate = np.zeros(2, np.float64)  # scratchpad cycles a byte
    data_end = np.zeros(2, np.float64)
    page = int(d[1])
    banks = np.zeros((int(d[2]), 3), np.float64)
    banks[:, 0] = -1.0
    channel = np.zeros(12, np.float64)
    channel[2] = -1e18
    channel[5] = -1e18
    channel[8:12] = -1e18
    channel[6] = d[15]
    done = 0

    while done < n:
        progress = False
        for q in range(4):
            i = head[q]
            engine = 0 if q == 0 else (1 if q == 3 else -1)
            if i < 0 or (engine >= 0 and serving[engine] >= 0):
                continue
            satisfied = True
            for w in range(4):
                if waits[i, w] > reached[w]:
                    satisfied = False
            if not satisfied:
                continue
            begin = 0
            binder[i] = -1
            if previous[q] >= 0:
                begin = end[previous[q]]
                binder[i] = previous[q]
            for w in range(4):
                if waits[i, w] > 0:
                    other = signaller[w, waits[i, w]]
                    if end[other] > begin:
                        begin = end[other]
                        binder[i] = other
            start[i] = begin
            progress = True
            if engine >= 0 and first_request[i + 1] > first_request[i]:
                serving[engine] = i
                request[engine] = first_request[i]
                offset[engine] = 0
                total = 0
                for j in range(first_request[i], first_request[i + 1]):
                    total += sizes[j]
                pad_rate[engine] = cycles[i] / total
                pad[engine] = begin + dma_issue
                pad_before[engine] = pad[engine]
                ready[engine] = pad[engine]
                data_end[engine] = 0.0
                if engine == 1:
                    piece = min(sizes[request[1]], page - addresses[request[1]] % page)
                    pad[1] += pad_rate[1] * piece
                    ready[1] = pad[1]
                continue
            end[i] = begin + cycles[i]
            previous[q] = i
            head[q] = following[i]
            if signal[i]:
                reached[q] += 1
                signaller[q, reached[q]] = i
            done += 1
        if progress:
            continue
        if serving[0] < 0 and serving[1] < 0:
            return done
        engine = 0
        if serving[0] < 0 or (serving[1] >= 0 and ready[1] < ready[0]):
            engine = 1
        i = serving[engine]
        address = addresses[request[engine]] + offset[engine]
        piece = min(sizes[request[engine]] - offset[engine], page - address % page)
        _access(address, piece, engine, ready[engine], d, banks, channel, counts)
        offset[engine] += piece
        if offset[engine] == sizes[request[engine]]:
            request[engine] += 1
            offset[engine] = 0
        last = request[engine] == first_request[i + 1]
        if engine == 0:
            # A piece is laid down while the next one is fetched.
            before = pad[0]
            pad[0] = max(pad[0] + pad_rate[0] * piece, channel[1])
            ready[0] = max(channel[0], before)
            finish = pad[0]
        else:
            # A piece is compressed while the one before it is written.
            finish = channel[1]
            if not last:
                at = addresses[request[1]] + offset[1]
                piece = min(sizes[request[1]] - offset[1], page - at % page)
                pad[1] = max(pad[1], data_end[1]) + pad_rate[1] * piece
                ready[1] = max(pad[1], channel[0])
            data_end[1] = channel[1]
        if last:
            q = queue[i]
            end[i] = int(np.ceil(finish - 1e-6))
            serving[engine] = -1
            previous[q] = i
            head[q] = following[i]
            if signal[i]:
                reached[q] += 1
                signaller[q, reached[q]] = i
            done += 1
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
    """Start and end of every instruction in cycles, and the instruction whose end allowed it to start (-1: none)."""

    queue: Longs
    start: Longs
    end: Longs
    binder: Longs
    dram: DramUse

    @property
    def total(self) -> int:
        """Cycles from the start of the program to the end of its last instruction."""
        return int(self.end.max(initial=0))


def replay(recorder: Recorder) -> Timeline:
    """Time a recorded run. The program's waits must be satisfiable (`isa.hazards.check_semaphores`)."""
    instructions = recorder.program.instructions
    n = len(instructions)
    queue = np.array([i.spec.queue for i in instructions], np.int64)
    signal = np.array([i["signal"] for i in instructions], np.int64)
    waits = np.array([[i[name] for _, name in WAITS] for i in instructions], np.int64).reshape(n, len(Queue))
    counts = [len(addresses) for addresses, _ in recorder.requests]
    first = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)
    empty = np.empty(0, np.int64)
    addresses = np.concatenate([empty, *(a for a, _ in recorder.requests)])
    sizes = np.concatenate([empty, *(s for _, s in recorder.requests)])
    start, end, binder = (np.zeros(n, np.int64) for _ in range(3))
    parameters = _dram_parameters(recorder.target)
    used = np.zeros(4, np.int64)
    issue = recorder.target.dma.issue_cycles
    done = _replay(
        queue, signal, waits, recorder.cycles, issue, first, addresses, sizes, parameters, start, end, binder, used
    )
    assert done == n, "a wait is never satisfied"
    hits, misses, refreshes, bursts = (int(x) for x in used)
    return Timeline(
        queue, start, end, binder, DramUse(hits, misses, refreshes, bursts * float(parameters[_Dram.BURST]))
    )
