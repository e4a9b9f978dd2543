"""A literal DRAM controller: every clock looked at, every command checked against the whole log of those before.

It shares with `emulator.dram` the rules that docs/performance.md states, and no code: no time is computed ahead, the
state of a bank is what the log says, and a command that breaks a timing rule, or data of two bursts on the bus at the
same time, is an error.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from isa.target import Dram


class DramRequest(NamedTuple):
    """A burst: the clock of its arrival, its address, and whether it writes."""

    arrival: int
    address: int
    write: bool


@dataclass
class Bank:
    """When each command was last given, None: never (or, for `row`, no open row)."""

    row: int | None = None
    activate: int | None = None
    precharge: int | None = None
    read: int | None = None
    write: int | None = None


def since(now: int, then: int | None, least: int) -> bool:
    """Whether at least so many clocks have passed."""
    return then is None or now - then >= least


@dataclass
class Reference:
    """Runs requests, which are sorted by arrival, until all are served. `ends`: clock after the data of each."""

    d: Dram
    requests: list[DramRequest]
    ends: list[int] = field(default_factory=list)
    served: list[int] = field(default_factory=list)  # in the order of their column commands
    commands: list[tuple[int, str, int]] = field(default_factory=list)  # clock, name, bank
    refreshes: int = 0

    def __post_init__(self) -> None:
        self.banks = [Bank() for _ in range(self.d.banks)]
        self.activates: list[int] = []
        self.bus: set[int] = set()
        self.columns: list[tuple[int, bool]] = []
        self.refreshed: int | None = None
        self.due = self.d.tREFI
        self.closing: int | None = None  # clock of the precharge of all banks before a refresh
        self.refreshing = False
        self.fresh = True  # no burst has been served since the last refresh
        self.queue: list[int] = []
        self.writing = False
        self.ends = [0] * len(self.requests)
        self.admitted = [0] * len(self.requests)

    def place(self, i: int) -> tuple[int, int]:
        """Bank and row of a request."""
        page = self.requests[i].address // self.d.page_bytes
        return page % self.d.banks, page // self.d.banks

    # Which commands the standard allows in this clock ----------------------------------------------------------------

    def may_activate(self, b: int, now: int) -> bool:
        bank, d = self.banks[b], self.d
        four = self.activates[-4] if len(self.activates) >= 4 else None
        last = self.activates[-1] if self.activates else None
        return (
            bank.row is None
            and since(now, bank.precharge, d.tRPpb)
            and since(now, last, d.tRRD)
            and since(now, four, d.tFAW)
            and since(now, self.refreshed, d.tRFCab)
        )

    def may_precharge(self, b: int, now: int) -> bool:
        bank, d = self.banks[b], self.d
        return (
            since(now, bank.activate, d.tRAS)
            and since(now, bank.read, d.tRTP)
            and since(now, bank.write, d.WL + self.data_clocks + d.tWR)
        )

    def may_column(self, i: int, now: int) -> bool:
        d, (b, row), write = self.d, self.place(i), self.requests[i].write
        bank = self.banks[b]
        if bank.row != row or not since(now, bank.activate, d.tRCD):
            return False
        if self.columns and not since(now, self.columns[-1][0], d.tCCD):
            return False
        last_write = max((t for t, w in self.columns[-200:] if w), default=None)
        if not write and not since(now, last_write, d.WL + self.data_clocks + d.tWTR):
            return False
        first = now + (d.WL if write else d.RL + d.tDQSCK)
        # Data of one direction never comes before data of the other that was asked for earlier.
        return first >= max(self.bus, default=-1) + 1

    @property
    def data_clocks(self) -> int:
        return -(-self.d.burst_bytes // self.d.bytes_per_clock)

    # What the controller wants ---------------------------------------------------------------------------------------

    def late(self, i: int, now: int) -> bool:
        return now >= self.admitted[i] + self.d.age

    def choose_direction(self, now: int) -> None:
        reads = [i for i in self.queue if not self.requests[i].write]
        writes = [i for i in self.queue if self.requests[i].write]
        if not reads or not writes:
            self.writing = not reads
            return
        late = [i for i in (reads[0], writes[0]) if self.late(i, now)]
        if late:
            self.writing = self.requests[min(late, key=lambda i: (self.admitted[i], self.requests[i].write))].write
            return
        high = min(self.d.write_high, self.d.write_queue)
        if self.writing:
            self.writing = len(writes) > min(self.d.write_low, high - 1)
        else:
            self.writing = len(writes) >= high

    def step(self, now: int) -> None:
        """What happens in a clock, after arrivals."""
        if self.closing is not None or self.refreshing:
            self.refresh(now)
            return
        if now >= self.due and (not self.queue or not self.fresh):
            self.refreshing = True
            self.refresh(now)
            return
        if not self.queue:
            return
        self.choose_direction(now)
        mine = [i for i in self.queue if self.requests[i].write == self.writing]
        first = mine[0]
        blocked = None  # the bank whose open row an overdue burst is about to close
        if self.late(first, now) and self.banks[self.place(first)[0]].row != self.place(first)[1]:
            blocked = self.place(first)[0]
        for i in mine:
            if self.place(i)[0] != blocked and self.may_column(i, now):
                self.column(i, now)
                return
        seen: set[int] = set()
        for i in mine:
            b, row = self.place(i)
            bank = self.banks[b]
            if bank.row == row or b in seen:
                continue
            wanted = b != blocked and any(self.place(j) == (b, bank.row) for j in mine)
            if wanted:
                continue
            seen.add(b)
            if bank.row is None and self.may_activate(b, now):
                bank.row, bank.activate = row, now
                self.activates.append(now)
                self.commands.append((now, "activate", b))
                return
            if bank.row is not None and self.may_precharge(b, now):
                bank.row, bank.precharge = None, now
                self.commands.append((now, "precharge", b))
                return

    def column(self, i: int, now: int) -> None:
        b, write = self.place(i)[0], self.requests[i].write
        first = now + (self.d.WL if write else self.d.RL + self.d.tDQSCK)
        data = set(range(first, first + self.data_clocks))
        assert not data & self.bus, "two bursts on the bus"
        self.bus = {t for t in self.bus if t >= now} | data
        self.columns.append((now, write))
        if write:
            self.banks[b].write = now
        else:
            self.banks[b].read = now
        self.ends[i] = first + self.data_clocks
        self.queue.remove(i)
        self.served.append(i)
        self.fresh = False
        self.commands.append((now, "write" if write else "read", b))

    def refresh(self, now: int) -> None:
        """Close what is open as soon as all of it may be closed, then refresh."""
        opened = [b for b in range(self.d.banks) if self.banks[b].row is not None]
        if self.closing is None and opened:
            if all(self.may_precharge(b, now) for b in opened):
                for b in opened:
                    self.banks[b].row = None
                self.closing = now
                self.commands.append((now, "precharge all", -1))
            return
        idle = all(since(now, bank.precharge, self.d.tRPpb) for bank in self.banks)
        if idle and since(now, self.closing, self.d.tRPab) and since(now, self.refreshed, self.d.tRFCab):
            self.commands.append((now, "refresh", -1))
            self.refreshed, self.closing, self.refreshing, self.fresh = now, None, False, True
            self.due += self.d.tREFI
            self.refreshes += 1

    def has_room(self, write: bool) -> bool:
        held = sum(self.requests[i].write == write for i in self.queue)
        return held < (self.d.write_queue if write else self.d.queue)

    def run(self) -> int:
        """The clock after the last data. A request that finds its queue full waits, and those behind it too."""
        now = following = 0
        while self.queue or following < len(self.requests):
            while following < len(self.requests):
                request = self.requests[following]
                if request.arrival > now or not self.has_room(request.write):
                    break
                self.admitted[following] = now
                self.queue.append(following)
                following += 1
            self.step(now)
            now += 1
        return max(self.ends, default=0)
