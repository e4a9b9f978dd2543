"""What a run leaves behind for timing, energy and statistics: durations, DRAM requests and event counts.

What follows from the fields of instructions is filled in at once, from their closed forms (`isa/instructions/`); units
add what the data of image 0 decide. Formulas are explained in docs/performance.md.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from isa.counts import Count
from isa.program import Program
from isa.target import Target

Longs: TypeAlias = NDArray[np.int64]


class Recorder:
    """Filled by one functional run.

    `cycles` [n]: compute and post: duration, start-up included; load and store: cycles of the scratchpad side.
    `counts` [n, len(Count)]. DRAM requests of instruction i are `requests[i]`: (addresses, bytes).
    """

    def __init__(self, program: Program):
        n = len(program.instructions)
        self.program = program
        self.target = program.target
        self.cycles: Longs = np.zeros(n, np.int64)
        self.counts: Longs = np.zeros((n, len(Count)), np.int64)
        self.requests: list[tuple[Longs, Longs]] = [(np.empty(0, np.int64), np.empty(0, np.int64))] * n
        for group in program.groups:
            if group.spec.cycles is not None:
                self.cycles[group.number] = group.spec.cycles(group.values, self.target)
            if group.spec.counts is not None:
                for count, numbers in group.spec.counts(group.values, self.target).items():
                    self.counts[group.number, count] = numbers


class Entry:
    """What a recorder holds of one instruction."""

    def __init__(self, recorder: Recorder, number: int):
        self._recorder = recorder
        self._number = number

    @property
    def target(self) -> Target:
        """The machine."""
        return self._recorder.target

    def takes(self, cycles: int) -> None:
        """Set how long the instruction takes (`Recorder.cycles`)."""
        self._recorder.cycles[self._number] = cycles

    def add(self, count: Count, number: int) -> None:
        """Count more events than the closed form."""
        self._recorder.counts[self._number, count] += number

    def request(self, count: Count, *pieces: tuple[int, int]) -> None:
        """DRAM requests of the instruction, (address, bytes) each; whole bursts count."""
        self.request_all(count, *np.array(pieces, np.int64).reshape(-1, 2).T)

    def request_all(self, count: Count, addresses: Longs, sizes: Longs) -> None:
        """The same, as arrays; pieces that lie one after the other become one."""
        joins = addresses[1:] == addresses[:-1] + sizes[:-1]
        if joins.any():
            first = np.flatnonzero(np.concatenate([[True], ~joins]))
            sizes = np.add.reduceat(sizes, first)
            addresses = addresses[first]
        self._recorder.requests[self._number] = (addresses, sizes)
        burst = self.target.dram.burst_bytes
        bursts = (addresses + sizes - 1) // burst - addresses // burst + 1
        self.add(count, int(bursts.sum()) * burst)
