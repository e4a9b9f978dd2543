"""Which bytes an instruction touches, and whether semaphores order every two instructions that touch the same ones.

`accesses` gives static ranges: from the first to one past the last byte that an instruction may touch whatever the
data, gaps of strided tiles included. Two instructions of different queues conflict when ranges of one memory overlap
and at least one of them writes. Both the compiler, which places waits, and the machine's check of those waits read
this file; they share the ranges, not the ordering.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from isa.code import Group, Longs, Synchronisation, Touched, group, synchronisation, touched
from isa.declaration import Instruction
from isa.errors import UserError
from isa.formats import Queue, Space
from isa.program import Program
from isa.target import Target

SPACES = tuple(dict.fromkeys(space.address_space for space in Space))
"""The four scratchpads and DRAM; each has addresses of its own."""


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


Dependency = tuple[int, int, int, int]
"""Number of the latest conflicting earlier instruction in each queue (by `Queue` value); -1: none, or its own queue."""


def dependencies(instructions: Sequence[Instruction], target: Target) -> list[Dependency]:
    """For each instruction, the latest earlier instruction of every other queue that conflicts with it.

    Since queues are in order, an instruction that starts after those has seen all earlier conflicting ones complete.
    """
    groups = group(instructions)
    return [(a, b, c, d) for a, b, c, d in _latest_conflicts(groups, touched(groups, target)).tolist()]


def _latest_conflicts(groups: Sequence[Group], table: Touched) -> Longs:
    """The same as an array [n, queues]."""
    from isa.orderloops import latest_conflicts  # only those who ask for an order pay for the compiler

    queue = synchronisation(groups).queue
    space = np.minimum(table.space, Space.ARENA)  # both parts of DRAM have the same addresses
    ranges = np.stack([table.number, space, table.base, table.end, table.write], axis=1)
    return latest_conflicts(queue, ranges, len(SPACES))


def check_semaphores(instructions: Sequence[Instruction], sync: Synchronisation | None = None) -> None:
    """Every wait must name a signal that stands earlier in program order, so that no run can deadlock.

    Raises `UserError` naming those that do not. One signal too few makes all later waits of a queue fail too, so a wait
    is only named if it lacks more signals than those of the queue before it. `sync`: their synchronisation fields
    if the caller has them.
    """
    causes = _lacking_signals(instructions, sync or synchronisation(group(instructions)))
    if causes:
        raise UserError(causes, "a wait must be satisfied by earlier instructions")


def _lacking_signals(instructions: Sequence[Instruction], sync: Synchronisation) -> list[str]:
    """A line for each wait that `check_semaphores` names."""
    own = (sync.queue[:, None] == np.arange(len(Queue))) * sync.signal[:, None]
    before = np.cumsum(own, axis=0) - own
    lack = sync.waits - before
    most: dict[tuple[int, int], int] = {}
    causes: list[str] = []
    for number, other in np.argwhere(lack > 0).tolist():
        pair = int(sync.queue[number]), other
        if lack[number, other] > most.get(pair, 0):
            most[pair] = int(lack[number, other])
            causes.append(
                f"{describe(instructions, number)}: waits for {Queue(other).name.lower()}>={sync.waits[number, other]}"
                f", but only {before[number, other]} signals of that queue stand before it"
            )
    return causes


def clocks(instructions: Sequence[Instruction]) -> list[tuple[int, int, int, int]]:
    """Vector clocks: for each instruction, how many instructions of every queue have completed when it starts.

    The waits must have passed `check_semaphores`.
    """
    return [(a, b, c, d) for a, b, c, d in _clocks(synchronisation(group(instructions))).tolist()]


def _clocks(sync: Synchronisation) -> Longs:
    """The same as an array [n, queues]."""
    from isa.orderloops import vector_clocks

    return vector_clocks(*sync)


def check_races(program: Program) -> None:
    """Check that semaphores order all conflicting instructions as `.text` does and that no wait can hang.

    Raises `UserError` with one cause for each instruction and queue whose latest conflicting instruction may still run.
    """
    instructions, sync = program.instructions, program.synchronisation
    check_semaphores(instructions, sync)
    own = sync.queue[:, None] == np.arange(len(Queue))
    position = np.where(own, np.cumsum(own, axis=0) - 1, 0).sum(axis=1)
    latest = _latest_conflicts(program.groups, program.touched)
    racing = (latest >= 0) & (position[latest] >= _clocks(sync))
    causes = [
        _race(instructions, program.target, int(latest[number, other]), number)
        for number, other in np.argwhere(racing).tolist()
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
