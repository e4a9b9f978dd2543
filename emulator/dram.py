"""The DRAM channel and its controller: one command a DRAM clock, chosen from queues of bursts (docs/performance.md).

The controller holds a queue of reads and one of writes, in the order of arrival, and serves one direction at a time.
In each clock it gives the command that brings a burst of that direction on: a column command to an open row before
anything else, the oldest burst first. Time goes from command to command, not from clock to clock: `decide` finds the
next command and its clock, `perform` gives it. All times are integers, in clocks of the DRAM.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from isa.jit import woven
from isa.target import Target

Longs: TypeAlias = NDArray[np.int64]
Records: TypeAlias = NDArray[np.void]

NEVER = 1 << 62
"""A clock after all others."""
_LONG_AGO = -(1 << 40)


class Direction(IntEnum):
    """The two queues of the controller."""

    READ = 0
    WRITE = 1


class Command(IntEnum):
    """What the controller does next. `WAIT`: nothing before a burst becomes overdue, which may change the choice."""

    NONE = 0
    COLUMN = 1
    ACTIVATE = 2
    PRECHARGE = 3
    REFRESH = 4
    WAIT = 5


class ChannelTiming(NamedTuple):
    """Parameters of the channel: bytes, counts, and clocks."""

    burst_bytes: int
    page_bytes: int
    banks: int
    burst: int  # clocks of data
    tccd: int
    read: int  # from a read command to its data
    write: int
    trcd: int
    trp: int
    trpab: int
    tras: int
    trrd: int
    tfaw: int
    twr: int
    trtp: int
    twtr: int
    trefi: int
    trfc: int
    write_high: int
    write_low: int
    age: int


_BANK = np.dtype(
    [
        ("row", np.int64),  # open row, -1: closed
        ("activate", np.int64),  # earliest activation
        ("column", np.int64),  # earliest column command
        ("precharge", np.int64),  # earliest precharge
        ("reads", np.int64),  # waiting reads of the open row
        ("writes", np.int64),
        ("asked", np.int64),  # the last decision in which a burst asked for another row
    ]
)
_BURST = np.dtype(
    [
        ("arrival", np.int64),
        ("bank", np.int64),
        ("row", np.int64),
        ("number", np.int64),  # the caller's
        ("opened", np.int64),  # 1: its row was opened for it
    ]
)
_STATE = np.dtype(
    [
        ("direction", np.int64),
        ("clock", np.int64),  # the clock that the direction is of
        ("before", np.int64),  # the direction of the clock before
        ("command", np.int64),  # clock of the last command
        ("column", np.int64),  # clock of the last column command
        ("read_end", np.int64),  # end of the last data read
        ("write_end", np.int64),  # end of the last data written
        ("activated", np.int64),
        ("slot", np.int64),  # next of the four activations
        ("refresh", np.int64),  # when the next refresh is due
        ("served", np.int64),  # 1: a burst has been served since the last refresh
        ("decision", np.int64),  # number of decisions
        ("next", np.int64),  # the next command, its clock and the place of its burst in the queue
        ("time", np.int64),
        ("index", np.int64),
        ("row_hits", np.int64),  # bursts that found their row open
        ("activations", np.int64),
        ("refreshes", np.int64),
        ("openings", np.int64),  # how many of `Channel.openings` are filled in
    ]
)
OPENING = np.dtype([("time", np.int64), ("bank", np.int64), ("row", np.int64)])
"""A row that is opened, or a refresh that closes all rows (bank -1)."""
_OPENINGS = 4096


class Channel(NamedTuple):
    """The channel: parameters, a record a bank, a record for all, the last four activations, the queues
    [direction, place] of `waiting` [direction] bursts, of which `hits` ask for an open row, and rows opened since the
    caller last emptied `openings`.
    """

    timing: ChannelTiming
    banks: Records
    state: Records
    activations: Longs
    queues: Records
    waiting: Longs
    hits: Longs
    openings: Records


def new_dram(target: Target) -> Channel:
    """An idle channel whose rows are closed."""
    d = target.dram
    high = min(d.write_high, d.write_queue)
    timing = ChannelTiming(
        d.burst_bytes, d.page_bytes, d.banks, d.burst_clocks, d.tCCD, d.RL + d.tDQSCK, d.WL, d.tRCD, d.tRPpb,
        d.tRPab, d.tRAS, d.tRRD, d.tFAW, d.tWR, d.tRTP, d.tWTR, d.tREFI, d.tRFCab, high,
        min(d.write_low, high - 1), d.age,
    )  # fmt: skip
    banks, state = np.zeros(d.banks, _BANK), np.zeros(1, _STATE)
    banks["row"] = -1
    for name in ("column", "read_end", "write_end", "activated"):
        state[name] = _LONG_AGO
    state["command"] = state["clock"] = -1
    state["refresh"] = d.tREFI
    queues = np.zeros((2, max(d.queue, d.write_queue) + 1), _BURST)
    openings = np.zeros(_OPENINGS, OPENING)
    waiting, hits = np.zeros(2, np.int64), np.zeros(2, np.int64)
    return Channel(timing, banks, state, np.full(4, _LONG_AGO), queues, waiting, hits, openings)


@woven
def full_of_openings(dram: Channel) -> bool:
    """Whether `openings` must be emptied before the next command."""
    return dram.state[0]["openings"] + 1 >= dram.openings.shape[0]


@woven
def _opened(dram: Channel, time: int, bank: int, row: int) -> None:
    """Note that a row is opened, or all rows closed."""
    state = dram.state[0]
    opening = dram.openings[state["openings"]]
    opening["time"] = time
    opening["bank"] = bank
    opening["row"] = row
    state["openings"] += 1


@woven
def enqueue(dram: Channel, address: int, write: int, number: int, now: int) -> None:
    """A burst arrives at the controller, whose queue has room for it, not before all that has happened."""
    t = dram.timing
    if dram.waiting[0] + dram.waiting[1] == 0 and dram.state[0]["refresh"] < now:
        _refresh_idle(dram, now)
    page = address // t.page_bytes
    burst = dram.queues[write, dram.waiting[write]]
    burst["arrival"] = now
    burst["bank"] = page % t.banks
    burst["row"] = page // t.banks
    burst["number"] = number
    burst["opened"] = 0
    dram.waiting[write] += 1
    if dram.banks[burst["bank"]]["row"] == burst["row"]:
        _count(dram, int(burst["bank"]), write, 1)


@woven
def _count(dram: Channel, b: int, direction: int, more: int) -> None:
    """More bursts of a direction wait for the open row of bank b."""
    dram.hits[direction] += more
    if direction == Direction.WRITE:
        dram.banks[b]["writes"] += more
    else:
        dram.banks[b]["reads"] += more


@woven
def _close(dram: Channel, b: int) -> None:
    """Close bank b, for whose row nobody waits any more."""
    bank = dram.banks[b]
    bank["row"] = -1
    dram.hits[Direction.READ] -= bank["reads"]
    dram.hits[Direction.WRITE] -= bank["writes"]
    bank["reads"] = 0
    bank["writes"] = 0


@woven
def _open(dram: Channel, b: int, row: int) -> None:
    """Open a row of bank b, and find who waits for it."""
    dram.banks[b]["row"] = row
    for d in range(2):
        queue = dram.queues[d]
        for i in range(dram.waiting[d]):
            if queue[i]["bank"] == b and queue[i]["row"] == row:
                _count(dram, b, d, 1)


@woven
def _refresh(dram: Channel, begin: int) -> int:
    """Close all rows from clock `begin` on and refresh; the clock of the refresh command."""
    t, state = dram.timing, dram.state[0]
    precharge = max(begin, state["command"] + 1)
    time = precharge
    is_open = False
    for b in range(t.banks):
        if dram.banks[b]["row"] >= 0:
            is_open = True
            precharge = max(precharge, dram.banks[b]["precharge"])
        else:
            time = max(time, dram.banks[b]["activate"])
    time = max(time, precharge + t.trpab) if is_open else time
    for b in range(t.banks):
        _close(dram, b)
        dram.banks[b]["activate"] = time + t.trfc
    state["command"] = time
    state["refresh"] += t.trefi
    state["refreshes"] += 1
    state["served"] = 0
    _opened(dram, precharge, -1, 0)
    return time


@woven
def _refresh_idle(dram: Channel, now: int) -> None:
    """The refreshes that fell due, up to `now`, while the queues were empty."""
    t, state = dram.timing, dram.state[0]
    time = _refresh(dram, state["refresh"])
    if state["refresh"] >= now:
        return
    more = (now - 1 - state["refresh"]) // t.trefi + 1
    state["refresh"] += more * t.trefi
    state["refreshes"] += more
    time = max(time + more * t.trfc, state["refresh"] - t.trefi)
    state["command"] = time
    for b in range(t.banks):
        dram.banks[b]["activate"] = time + t.trfc


@woven
def _overdue(dram: Channel, direction: int, now: int) -> bool:
    """Whether the oldest burst of a queue has waited for long enough to go before all others."""
    return dram.waiting[direction] > 0 and now - dram.queues[direction, 0]["arrival"] >= dram.timing.age


@woven
def _direction(dram: Channel, now: int) -> int:
    """Reads go first until `write_high` writes wait; then writes until `write_low` are left. Overdue bursts go first
    of all, the older one of two.
    """
    reads, writes = dram.waiting[0], dram.waiting[1]
    if reads == 0 or writes == 0:
        return int(reads == 0)
    late_read, late_write = _overdue(dram, 0, now), _overdue(dram, 1, now)
    if late_read and late_write:
        return int(dram.queues[1, 0]["arrival"] < dram.queues[0, 0]["arrival"])
    if late_read or late_write:
        return int(late_write)
    if dram.state[0]["before"] == 0:
        return int(writes >= dram.timing.write_high)
    return int(writes > dram.timing.write_low)


@woven
def _next_overdue(dram: Channel, now: int) -> int:
    """The next clock after now in which the oldest burst of a queue becomes overdue."""
    found = NEVER
    for d in range(2):
        if dram.waiting[d] > 0:
            late = dram.queues[d, 0]["arrival"] + dram.timing.age
            if late > now:
                found = min(found, late)
    return found


@woven
def decide(dram: Channel, now: int) -> None:
    """Find the next command if no burst arrives before it: `next`, `time` and `index` of the state."""
    state = dram.state[0]
    state["next"] = Command.NONE.value
    state["time"] = NEVER
    if dram.waiting[0] + dram.waiting[1] == 0:
        return
    earliest = max(now, state["command"] + 1)
    if state["served"] and state["refresh"] <= earliest:
        state["next"] = Command.REFRESH.value
        state["time"] = earliest
        return
    if earliest > state["clock"]:  # the direction of a clock follows from that of the clock before
        state["before"] = state["direction"]
        state["clock"] = earliest
    d = _direction(dram, earliest)
    state["direction"] = d
    _choose(dram, d, earliest, _overdue(dram, d, earliest))
    late = _next_overdue(dram, earliest)
    if late <= state["time"]:
        state["next"] = Command.WAIT.value
        state["time"] = late
    if state["served"] and state["refresh"] <= state["time"]:
        state["next"] = Command.REFRESH.value
        state["time"] = state["refresh"]


@woven
def _choose(dram: Channel, d: int, earliest: int, late: bool) -> None:
    """The earliest command for a burst of direction d; of several, a column command, then the oldest."""
    t, state, banks, queue = dram.timing, dram.state[0], dram.banks, dram.queues[d]
    n = dram.waiting[d]
    state["decision"] += 1
    decision = state["decision"]
    reserved = -1  # the bank of an overdue burst of a closed row, which waits for no younger one
    if late and banks[queue[0]["bank"]]["row"] != queue[0]["row"]:
        reserved = queue[0]["bank"]
    column = max(earliest, state["column"] + t.tccd)
    if d == Direction.WRITE:
        column = max(column, max(state["read_end"], state["write_end"]) - t.write)
    else:
        column = max(column, max(state["read_end"] - t.read, state["write_end"] + t.twtr))
    activate = max(earliest, max(state["activated"] + t.trrd, dram.activations[state["slot"]] + t.tfaw))
    others = n - dram.hits[d]  # bursts, not yet seen, that need another command than a column command
    time, command, index = NEVER, Command.NONE.value, 0
    for i in range(n):
        b = queue[i]["bank"]
        bank = banks[b]
        row = bank["row"]
        if row == queue[i]["row"]:
            at, what = max(column, bank["column"]), Command.COLUMN.value
            if b == reserved:
                continue
        else:
            others -= 1
            hits = bank["writes"] if d == Direction.WRITE else bank["reads"]
            if bank["asked"] == decision or (b != reserved and hits > 0):
                continue
            bank["asked"] = decision
            if row < 0:
                at, what = max(activate, bank["activate"]), Command.ACTIVATE.value
            else:
                at, what = max(earliest, bank["precharge"]), Command.PRECHARGE.value
        if at < time or (at == time and what == Command.COLUMN and command != Command.COLUMN):
            time, command, index = at, what, i
        if what == Command.COLUMN and (at == earliest or (at == column and others == 0)):
            break  # nothing is earlier, and what comes later is no older
    state["time"] = time
    state["next"] = command
    state["index"] = index


@woven
def perform(dram: Channel) -> tuple[int, int]:
    """Give the command that was decided on. After a column command, the number of its burst and the end of its data;
    otherwise -1 and 0.
    """
    t, state = dram.timing, dram.state[0]
    now, command, d = state["time"], state["next"], state["direction"]
    if command == Command.WAIT:
        return -1, 0
    if command == Command.REFRESH:
        _refresh(dram, now)
        return -1, 0
    state["command"] = now
    burst = dram.queues[d, state["index"]]
    bank = dram.banks[burst["bank"]]
    if command == Command.PRECHARGE:
        _close(dram, int(burst["bank"]))
        bank["activate"] = max(bank["activate"], now + t.trp)
        return -1, 0
    if command == Command.ACTIVATE:
        dram.activations[state["slot"]] = now
        state["slot"] = (state["slot"] + 1) % 4
        state["activated"] = now
        state["activations"] += 1
        _open(dram, int(burst["bank"]), int(burst["row"]))
        bank["column"] = now + t.trcd
        bank["precharge"] = now + t.tras
        burst["opened"] = 1
        _opened(dram, now, int(burst["bank"]), int(burst["row"]))
        return -1, 0
    return _column(dram, d, now)


@woven
def _column(dram: Channel, d: int, now: int) -> tuple[int, int]:
    """A column command for the chosen burst, which leaves its queue."""
    t, state = dram.timing, dram.state[0]
    index = state["index"]
    burst = dram.queues[d, index]
    bank, number = dram.banks[burst["bank"]], burst["number"]
    _count(dram, int(burst["bank"]), d, -1)
    state["row_hits"] += 1 - burst["opened"]
    state["column"] = now
    state["served"] = 1
    if d == Direction.WRITE:
        end = now + t.write + t.burst
        state["write_end"] = end
        bank["precharge"] = max(bank["precharge"], end + t.twr)
    else:
        end = now + t.read + t.burst
        state["read_end"] = end
        bank["precharge"] = max(bank["precharge"], now + t.trtp)
    dram.waiting[d] -= 1
    for i in range(index, dram.waiting[d]):
        dram.queues[d, i] = dram.queues[d, i + 1]
    return number, end
