"""Which bytes an instruction touches, and whether semaphores order every two instructions that touch the same ones.

`accesses` gives static ranges: from the first to one past the last byte that an instruction may touch whatever the
data, gaps of strided tiles included. Two instructions of different queues conflict when ranges of one memory overlap
and at least one of them writes. Both the compiler, which places waits, and the machine's check of those waits read
this file; they share the ranges, not the ordering.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from isa.code import group, touched
from isa.declaration import WAITS, Instruction
from isa.errors import UserError
from isa.formats import Queue, Space
from isa.program import Program
from isa.target import Target

SPACES = tuple(dict.fromkeys(space.address_space for space in Space))
"""The five scratchpads and DRAM; each has addresses of its own."""


class Access(NamedTuple):
    """Bytes [low, high) of `space` that an instruction may read, or write if `write`."""

    space: str
    low: int
    high: int
    write: bool


def accesses(instruction: Instruction, target: Target) -> list[Access]:
    """Byte ranges that the instruction may touch. It must be legal by itself (`isa.legality.check_instruction`)."""
    return all_accesses([instruction], target)[0]


def all_accesses(instructions: Sequence[Instruction], target: Target) -> list[list[Access]]:
    """The byte ranges of each instruction of a sequence: the bounding boxes of the extents that it declares."""
    found: list[list[Access]] = [[] for _ in instructions]
    table = touched(group(instructions), target)
    names = [space.address_space for space in Space]
    rows: list[list[int]] = np.stack([table.number, table.space, table.base, table.end, table.write], axis=1).tolist()
    for number, space, low, high, write in rows:
        found[number].append(Access(names[space], low, high, bool(write)))
    return found


class _LatestByRange:
    """A map from every address to the latest instruction that touched it; -1 where none has."""

    def __init__(self) -> None:
        self._starts = [0]  # piece i covers [starts[i], starts[i + 1])
        self._latest = [-1]

    def latest(self, low: int, high: int) -> int:
        """Latest instruction that touched a byte of [low, high)."""
        starts = self._starts
        i = bisect_right(starts, low) - 1
        j = bisect_left(starts, high, i + 1)
        return self._latest[i] if j == i + 1 else max(self._latest[i:j])

    def touch(self, low: int, high: int, index: int) -> None:
        """Record that instruction `index`, later than all before, touches [low, high)."""
        starts, latest = self._starts, self._latest
        i = bisect_right(starts, low) - 1
        j = bisect_left(starts, high, i + 1)
        after = latest[j - 1]
        new_starts, new_latest = [low], [index]
        if starts[i] < low:
            new_starts.insert(0, starts[i])
            new_latest.insert(0, latest[i])
        if j == len(starts) or starts[j] > high:
            new_starts.append(high)
            new_latest.append(after)
        starts[i:j] = new_starts
        latest[i:j] = new_latest


Dependency = tuple[int, int, int, int]
"""Index of the latest conflicting earlier instruction in each queue (by `Queue` value); -1: none, or its own queue."""


def dependencies(instructions: Sequence[Instruction], target: Target) -> list[Dependency]:
    """For each instruction, the latest earlier instruction of every other queue that conflicts with it.

    Since queues are in order, an instruction that starts after those has seen all earlier conflicting ones complete.
    """
    readers: dict[str, dict[Queue, _LatestByRange]] = {space: {} for space in SPACES}
    writers: dict[str, dict[Queue, _LatestByRange]] = {space: {} for space in SPACES}
    found: list[Dependency] = []
    ranges = all_accesses(instructions, target)
    for index, instruction in enumerate(instructions):
        queue = instruction.spec.queue
        latest = [-1, -1, -1, -1]
        for space, low, high, write in ranges[index]:
            for maps in (writers, readers) if write else (writers,):
                for other, pieces in maps[space].items():
                    if other is not queue:
                        latest[other] = max(latest[other], pieces.latest(low, high))
        for space, low, high, write in ranges[index]:
            maps = (writers if write else readers)[space]
            if queue not in maps:
                maps[queue] = _LatestByRange()
            maps[queue].touch(low, high, index)
        found.append((latest[0], latest[1], latest[2], latest[3]))
    return found


def check_semaphores(instructions: Sequence[Instruction]) -> None:
    """Every wait must name a signal that stands earlier in program order, so that no run can deadlock.

    Raises `UserError` naming those that do not. One signal too few makes all later waits of a queue fail too, so a wait
    is only named if it lacks more signals than those of the queue before it.
    """
    signals = [0, 0, 0, 0]
    lacking = dict.fromkeys(((waiter, queue) for waiter in Queue for queue, _ in WAITS), 0)
    causes: list[str] = []
    for index, instruction in enumerate(instructions):
        for queue, name in WAITS:
            pair = instruction.spec.queue, queue
            if instruction[name] - signals[queue] > lacking[pair]:
                lacking[pair] = instruction[name] - signals[queue]
                causes.append(
                    f"{describe(instructions, index)}: waits for {queue.name.lower()}>={instruction[name]}, "
                    f"but only {signals[queue]} signals of that queue stand before it"
                )
        signals[instruction.spec.queue] += instruction["signal"]
    if causes:
        raise UserError(causes, "a wait must be satisfied by earlier instructions")


def clocks(instructions: Sequence[Instruction]) -> list[tuple[int, int, int, int]]:
    """Vector clocks: for each instruction, how many instructions of every queue have completed when it starts.

    The waits must have passed `check_semaphores`.
    """
    current = [[0, 0, 0, 0] for _ in Queue]
    at_signal: list[list[list[int]]] = [[] for _ in Queue]
    found: list[tuple[int, int, int, int]] = []
    for instruction in instructions:
        queue = instruction.spec.queue
        clock = current[queue]
        values = instruction.values
        for other, name in WAITS:
            count = values[name]
            if count:
                clock = [max(a, b) for a, b in zip(clock, at_signal[other][count - 1], strict=True)]
        found.append((clock[0], clock[1], clock[2], clock[3]))
        done = list(clock)
        done[queue] += 1
        if values["signal"]:
            at_signal[queue].append(done)
        current[queue] = done
    return found


def check_races(program: Program) -> None:
    """Check that semaphores order all conflicting instructions as `.text` does and that no wait can hang.

    Raises `UserError` with one cause for each instruction and queue whose latest conflicting instruction may still run.
    """
    instructions = program.instructions
    check_semaphores(instructions)
    position: list[int] = []
    lengths = [0, 0, 0, 0]
    for instruction in instructions:
        position.append(lengths[instruction.spec.queue])
        lengths[instruction.spec.queue] += 1
    pairs = zip(dependencies(instructions, program.target), clocks(instructions), strict=True)
    causes = [
        _race(instructions, program.target, earlier, index)
        for index, (depends, clock) in enumerate(pairs)
        for earlier, completed in zip(depends, clock, strict=True)
        if earlier >= 0 and position[earlier] >= completed
    ]
    if causes:
        raise UserError(causes, "a wait is missing between the two instructions")


def describe(instructions: Sequence[Instruction], index: int) -> str:
    """Name an instruction in a diagnostic: its number and its assembly text."""
    from isa.assembly import format_instruction  # only a faulty program pays for the assembler

    return f"instruction {index} '{format_instruction(instructions[index])}'"


def _race(instructions: Sequence[Instruction], target: Target, earlier: int, later: int) -> str:
    first, second = instructions[earlier], instructions[later]
    for a in accesses(first, target):
        for b in accesses(second, target):
            low, high = max(a.low, b.low), min(a.high, b.high)
            if a.space == b.space and low < high and (a.write or b.write):
                what = f"{'writes' if b.write else 'reads'} {b.space}[{low:#x}, {high:#x})"
                other = f"may still be {'writing' if a.write else 'reading'} it"
                return f"race: {describe(instructions, later)} {what} while {describe(instructions, earlier)} {other}"
    raise AssertionError("a dependency without a conflict")
