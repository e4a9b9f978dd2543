"""A sequence of instructions as columns: one array for each field of all instructions of one mnemonic.

What is asked of every instruction of a program (is it legal, which bytes does it touch, how long does it take) is asked
once for each mnemonic, of all its instructions together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from isa.declaration import INSTRUCTION_BYTES, WAITS, Field, Instruction, InstructionSpec
from isa.extents import Extent
from isa.table import BY_OPCODE, decode
from isa.target import Target

Longs: TypeAlias = NDArray[np.int64]
Mask: TypeAlias = NDArray[np.bool_]


class Group(NamedTuple):
    """All instructions of one mnemonic: their numbers [n], in order, and the columns [n] of their fields."""

    spec: InstructionSpec
    number: Longs
    values: dict[str, Longs]

    def where(self, mask: Mask) -> Group:
        """The instructions that a mask [n] picks."""
        if mask.all():
            return self
        return Group(self.spec, self.number[mask], {name: column[mask] for name, column in self.values.items()})


def group(instructions: Sequence[Instruction]) -> tuple[Group, ...]:
    """The groups of a sequence, by opcode."""
    places: dict[int, list[int]] = {}
    specs: dict[int, InstructionSpec] = {}
    for index, instruction in enumerate(instructions):
        opcode = instruction.spec.opcode
        if opcode not in places:
            places[opcode], specs[opcode] = [], instruction.spec
        places[opcode].append(index)
    found: list[Group] = []
    for opcode in sorted(places):
        spec, index = specs[opcode], places[opcode]
        names = [f.name for f in spec.fields]
        row = itemgetter(*names)
        values = chain.from_iterable(row(instructions[i].values) for i in index)
        table = np.fromiter(values, np.int64, len(index) * len(names)).reshape(len(index), len(names))
        columns = dict(zip(names, np.ascontiguousarray(table.T), strict=True))
        found.append(Group(spec, np.array(index, np.int64), columns))
    return tuple(found)


class Synchronisation(NamedTuple):
    """Queue and signal [n], waits [n, queues] of all instructions."""

    queue: Longs
    signal: Longs
    waits: Longs


def synchronisation(groups: Sequence[Group]) -> Synchronisation:
    """The synchronisation fields of all instructions in program order."""
    n = sum(part.number.size for part in groups)
    found = Synchronisation(np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros((n, len(WAITS)), np.int64))
    for part in groups:
        found.queue[part.number] = part.spec.queue
        found.signal[part.number] = part.values["signal"]
        for queue, name in WAITS:
            found.waits[part.number, queue] = part.values[name]
    return found


# Instruction words ----------------------------------------------------------------------------------------------------


def _column(words: NDArray[np.uint8], f: Field, offset: int) -> Longs:
    window = np.ascontiguousarray(words[:, offset // 8 : offset // 8 + 8]).view("<u8")[:, 0]
    value = ((window >> np.uint64(offset % 8)) & np.uint64((1 << f.bits) - 1)).astype(np.int64)
    return np.where(value > f.high, value - (1 << f.bits), value) if f.signed else value


def _undecodable(words: NDArray[np.uint8], spec: InstructionSpec, columns: dict[str, Longs]) -> Mask:
    last = spec.fields[-1]
    end = spec.offsets[last.name] + last.bits
    stray = (words[:, end // 8] >> np.uint8(end % 8)) != 0
    stray |= words[:, end // 8 + 1 :].any(axis=1)
    for f in spec.fields:
        if f.enum is not None:
            stray |= ~np.isin(columns[f.name], [int(member) for member in f.enum])
    return stray


class WordError(ValueError):
    """An instruction word that does not decode: its number, and why."""

    def __init__(self, index: int, cause: Exception):
        super().__init__(str(cause))
        self.index = index


def decode_all(text: bytes) -> tuple[Instruction, ...]:
    """Decode the words of a program, whose length is a multiple of `INSTRUCTION_BYTES`.

    Raises `WordError` for the first word that `isa.table.decode` refuses.
    """
    words = np.frombuffer(text, np.uint8).reshape(-1, INSTRUCTION_BYTES)
    padded = np.zeros((len(words), INSTRUCTION_BYTES + 8), np.uint8)
    padded[:, :INSTRUCTION_BYTES] = words
    found: list[Instruction | None] = [None] * len(words)
    for opcode, spec in BY_OPCODE.items():
        index = np.flatnonzero(words[:, 0] == opcode)
        if not index.size:
            continue
        mine = padded[index]
        columns = {f.name: _column(mine, f, spec.offsets[f.name]) for f in spec.fields}
        good = ~_undecodable(mine, spec, columns)
        names = list(columns)
        rows = np.stack([column[good] for column in columns.values()], axis=1).tolist()
        for i, row in zip(index[good].tolist(), rows, strict=True):
            found[i] = Instruction(spec, dict(zip(names, row, strict=True)))
    return tuple(_whole(text, found))


def _whole(text: bytes, found: Sequence[Instruction | None]) -> Iterator[Instruction]:
    for index, instruction in enumerate(found):
        if instruction is None:
            try:
                instruction = decode(text[index * INSTRUCTION_BYTES : (index + 1) * INSTRUCTION_BYTES])
            except ValueError as e:
                raise WordError(index, e) from e
        yield instruction


# Bytes touched --------------------------------------------------------------------------------------------------------


class Touched(NamedTuple):
    """Extents of instructions as columns [m], in program order and, within an instruction, as it declares them.

    `number`: that of the instruction; the others: see `isa.extents.Extent`. Extents without bytes are left out.
    """

    number: Longs
    space: Longs
    write: Longs
    base: Longs
    outer: Longs
    outer_stride: Longs
    inner: Longs
    inner_stride: Longs
    run: Longs

    @property
    def end(self) -> Longs:
        """Address after the last byte of each extent."""
        return self.base + (self.outer - 1) * self.outer_stride + (self.inner - 1) * self.inner_stride + self.run

    def of(self, number: int) -> slice:
        """The rows of one instruction."""
        first, last = np.searchsorted(self.number, [number, number + 1])
        return slice(int(first), int(last))

    def view(self, row: int, memory: NDArray[Any], origin: int = 0) -> NDArray[Any]:
        """The elements [outer, inner, run] that the extent in this row touches of a `memory` with an element for each
        byte, the first for the one at address `origin`.
        """
        (step,) = memory.strides
        shape = (self.outer[row], self.inner[row], self.run[row])
        strides = (self.outer_stride[row] * step, self.inner_stride[row] * step, step)
        return as_strided(memory[self.base[row] - origin :], shape, strides)


def _extents(groups: Sequence[Group], target: Target) -> Iterator[tuple[Longs, int, Extent]]:
    for part in groups:
        for place, extent in enumerate(part.spec.extents(part.values, target)):
            yield part.number, place, extent


def touched(groups: Sequence[Group], target: Target) -> Touched:
    """All bytes that legal instructions touch."""
    pieces = [np.empty((1 + len(Touched._fields), 0), np.int64)]
    for index, place, extent in _extents(groups, target):
        columns = np.broadcast_arrays(index, *(np.asarray(value, np.int64) for value in extent), place)
        table = np.stack(columns)
        pieces.append(table[:, (np.asarray(extent.outer * extent.inner * extent.run) > 0) | np.zeros(index.size, bool)])
    whole = np.concatenate(pieces, axis=1)
    order = np.lexsort((whole[-1], whole[0]))
    return Touched(*whole[:-1, order])
