"""What a run leaves behind for timing, energy and statistics: durations, DRAM requests and event counts.

What follows from the fields of instructions is filled in at once, from their closed forms (`isa/instructions/`); units
add what the data of image 0 decide. Formulas are explained in docs/performance.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from emulator.kernels import Bytes, nonzeros
from isa.counts import Count
from isa.events import Countable
from isa.jit import borrowing
from isa.program import Program
from isa.table import COLUMNS
from isa.target import Target

Longs: TypeAlias = NDArray[np.int64]


class Recorder:
    """Filled by one functional run.

    `cycles` [n]: compute and post: duration, start-up included; load and store: cycles of the scratchpad side.
    `counts` [n, len(COLUMNS)]. DRAM requests of instruction i are the rows (address, bytes) of `requests[i]`.
    """

    def __init__(self, program: Program):
        n = len(program.instructions)
        cycles, counts = program.derive(_closed_forms)
        self.program = program
        self.target = program.target
        self.cycles: Longs = cycles.copy()
        self.expansion: Longs = np.zeros(n, np.int64)
        self.released: Longs = np.zeros(n, np.int64)
        self.counts: Longs = counts.copy()
        self.requests: list[Longs] = [np.empty((0, 2), np.int64)] * n


def _closed_forms(program: Program) -> tuple[Longs, Longs]:
    """Cycles [n] and counts [n, len(COLUMNS)] that follow from the fields of the instructions alone."""
    n, target = len(program.instructions), program.target
    cycles, counts = np.zeros(n, np.int64), np.zeros((n, len(COLUMNS)), np.int64)
    for group in program.groups:
        if group.spec.cycles is not None:
            cycles[group.number] = group.spec.cycles(group.values, target)
        if group.spec.counts is not None:
            for count, numbers in group.spec.counts(group.values, target).items():
                counts[group.number, COLUMNS[count]] = numbers
    return cycles, counts


def columns(*counted: Countable) -> Longs:
    """Where `Recorder.counts` has the numbers of events [n]."""
    return np.array([COLUMNS[what] for what in counted], np.int64)


class InputTile(NamedTuple):
    """The input tile of a convolution: an array [N, bytes], and where the tile lies in it (`geometry.packed`)."""

    act: Bytes
    numbers: Longs


class Entry:
    """What a recorder holds of one instruction, that of the present `number`. `target`: the machine."""

    def __init__(self, recorder: Recorder, number: int = 0):
        self._recorder = recorder
        self.number = number
        self.target: Target = recorder.target

    def takes(self, cycles: int, expansion: int = 0, released: int = 0) -> None:
        """Set how long the instruction takes (`Recorder.cycles`), and what it does before and leaves to the next one
        (`TimedInstructions`).
        """
        self._recorder.cycles[self.number] = cycles
        self._recorder.expansion[self.number] = expansion
        self._recorder.released[self.number] = released

    def add(self, count: Countable, number: int) -> None:
        """Count more events than the closed form."""
        self._recorder.counts[self.number, COLUMNS[count]] += number

    def add_all(self, counted: Longs, numbers: Sequence[int]) -> None:
        """The same for several events, all different: their `columns` [n], and how many there are of each."""
        self._recorder.counts[self.number, counted] += numbers

    def reads_inputs(self, tile: InputTile) -> None:
        """Count the non-zeros of an input tile of a convolution in image 0."""
        self.add(Count.INPUT_NONZEROS, nonzeros(*tile))

    def request(self, count: Count, *pieces: tuple[int, int]) -> None:
        """DRAM requests of the instruction, (address, bytes) each; whole bursts count."""
        found, nbytes = _requested(pieces, self.target.dram.burst_bytes)
        self._recorder.requests[self.number] = found
        self.add(count, nbytes)

    def request_all(self, count: Count, pieces: Longs, nbytes: int) -> None:
        """The same, as an array [n, 2] in which no piece follows another without a gap, and its `touched_bytes`."""
        self._recorder.requests[self.number] = pieces
        self.add(count, nbytes)


def joined(pieces: Sequence[tuple[int, int]]) -> Longs:
    """Pieces (address, bytes) as an array [n, 2]; those that follow one another without a gap become one."""
    found: list[list[int]] = []
    for address, size in pieces:
        if found and sum(found[-1]) == address:
            found[-1][1] += size
        else:
            found.append([address, size])
    return np.array(found, np.int64).reshape(-1, 2)


@lru_cache(maxsize=1 << 15)
def _requested(pieces: tuple[tuple[int, int], ...], burst: int) -> tuple[Longs, int]:
    """`joined` pieces, which nobody changes, and bytes of all bursts that they touch."""
    found = joined(pieces)
    found.flags.writeable = False
    return found, touched_bytes(found, burst)


@borrowing
def touched_bytes(pieces: Longs, burst: int) -> int:
    """Bytes of all bursts that pieces touch."""
    total = 0
    for i in range(pieces.shape[0]):
        address, size = pieces[i]
        total += (address + size - 1) // burst - address // burst + 1
    return total * burst
