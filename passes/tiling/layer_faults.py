"""What is wrong with the instructions of a lowered layer: numbers that no field holds, broken rules, work left undone.

A layer stands for itself: what its instructions read from a scratchpad, they have written there, unless it is a
resident input; what they load, they read; and they store every byte of the tensor that the layer computes, or leave it
in ACT if it is resident. Whatever a buffer or the arena still holds from
the layers before is nobody's data.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import islice
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dialects.bfs import TensorOp
from isa.code import group, touched
from isa.declaration import Instruction, InstructionSpec
from isa.formats import Queue, Space, TensorFormat
from isa.hazards import describe
from isa.integers import ceil_div
from isa.legality import instruction_faults
from isa.target import Target

Fault: TypeAlias = tuple[int | None, str]
"""Number of an instruction in its layer, None where it is no single one's, and what is wrong."""

MOST_FAULTS = 4
"""Faults of a layer that are told."""


class StoredTensor(NamedTuple):
    """A tensor, and the one that has its bytes: itself, or the one that it is a part of."""

    tensor: TensorOp
    whole: TensorOp

    @property
    def resident(self) -> bool:
        """Whether the bytes lie in ACT."""
        return self.whole.resident is not None

    @property
    def address(self) -> int:
        """Where the bytes of the whole begin, from the base of the arena or of ACT."""
        assert self.whole.offset is not None
        return self.whole.offset.value.data

    def size(self, target: Target) -> int:
        """Bytes of the whole that mean something: all but what aligns the end of a RAW tensor."""
        if self.whole.tensor_format is TensorFormat.RAW:
            return math.prod(self.whole.extents)
        return self.whole.layout(target.array.chunk).nbytes

    def of(self, memory: NDArray[np.bool_], base: int, target: Target) -> NDArray[np.bool_]:
        """The bytes of the tensor in a memory in which its whole begins at `base`, as they lie there."""
        (h, w, c), channels, chunk = self.whole.extents, self.tensor.channels, target.array.chunk
        if self.whole.tensor_format is TensorFormat.RAW:
            return _view(memory, base + channels.start, (h, w * c, w, c, len(channels)))
        layout = self.whole.layout(chunk)
        first, end = channels.start // chunk, ceil_div(channels.stop, chunk)
        between = layout.segments * layout.line_bytes
        return _view(
            memory, base + first * between, (h, layout.records.chunks * between, 1, 0, (end - first) * between)
        )


def layer_faults(
    instructions: Sequence[Instruction],
    output: StoredTensor,
    inputs: Sequence[StoredTensor],
    arena_base: int,
    target: Target,
) -> list[str]:
    """At most `MOST_FAULTS` lines on instructions without synchronisation that compute the tensor `output`, from the
    resident ones `inputs` among others; none if there is nothing wrong. Tensors in DRAM begin at `arena_base` plus
    their offset.
    """
    checks = (
        _unencodable(instructions),
        _illegal(instructions, target),
        _undone(instructions, output, inputs, arena_base, target),
    )
    for check in checks:  # generators: none looks at instructions that those before it refuse
        found = list(islice(check, MOST_FAULTS))
        if found:
            return [what if number is None else f"{_named(instructions, number)}: {what}" for number, what in found]
    return []


def _named(instructions: Sequence[Instruction], number: int) -> str:
    instruction = instructions[number]
    if any(not low <= instruction[name] <= high for name, low, high in _ranges(instruction.spec)):
        return f"instruction {number} '{instruction.spec.mnemonic}'"  # an unknown enumeration has no text
    return describe(instructions, number)


@cache
def _ranges(spec: InstructionSpec) -> tuple[tuple[str, int, int], ...]:
    enums = {f.name: max(map(int, f.enum)) for f in spec.fields if f.enum is not None}
    return tuple((f.name, f.low, enums.get(f.name, f.high)) for f in spec.fields)


def _unencodable(instructions: Sequence[Instruction]) -> Iterator[Fault]:
    for number, instruction in enumerate(instructions):
        values = instruction.values
        for name, low, high in _ranges(instruction.spec):
            if not low <= values[name] <= high:
                yield number, f"{name}={values[name]} does not fit [{low}, {high}]"


def _illegal(instructions: Sequence[Instruction], target: Target) -> Iterator[Fault]:
    faults = instruction_faults(group(instructions), instructions, target)
    for number in sorted(faults):
        yield from ((number, what) for what in faults[number])


# Work left undone ----------------------------------------------------------------------------------------------------


class _Transfer(NamedTuple):
    """Bytes [low, high) that a load has written and nothing has read yet."""

    low: int
    high: int
    number: int


class _Unread:
    """What has been loaded into one scratchpad and not been read. Few transfers are waiting at any time."""

    def __init__(self) -> None:
        self.waiting: list[_Transfer] = []

    def take(self, low: int, high: int) -> list[_Transfer]:
        """Forget, and return, the transfers that share bytes with [low, high)."""
        found = [t for t in self.waiting if t.low < high and low < t.high]
        if found:
            self.waiting = [t for t in self.waiting if not (t.low < high and low < t.high)]
        return found

    def add(self, low: int, high: int, number: int) -> None:
        self.waiting.append(_Transfer(low, high, number))


def _undone(
    instructions: Sequence[Instruction],
    output: StoredTensor,
    inputs: Sequence[StoredTensor],
    arena_base: int,
    target: Target,
) -> Iterator[Fault]:
    rows = touched(group(instructions), target)
    ends = rows.end
    written = {space: np.zeros(int(ends[rows.space == space].max(initial=0)), bool) for space in Space}
    on_chip = [tensor.address + tensor.size(target) for tensor in (output, *inputs) if tensor.resident]
    act = written[Space.ACT] = np.zeros(max(len(written[Space.ACT]), *on_chip, 0), bool)
    kept, operand, replaced = (np.zeros_like(act) for _ in range(3))
    for tensor in inputs:
        tensor.of(act, tensor.address, target)[...] = tensor.of(kept, tensor.address, target)[...] = True
    if output.tensor.operand is not None:
        output.of(kept, output.address, target)[...] = False
        output.of(operand, output.address, target)[...] = True
    unread = {space: _Unread() for space in Space}
    address, name = arena_base + output.address, output.tensor.sym_name.data
    stored = np.zeros(0 if output.resident else output.size(target), bool)
    own = np.zeros_like(stored)
    if not output.resident:
        output.of(own, 0, target)[...] = True
    queues: list[Queue] = [instruction.spec.queue for instruction in instructions]
    for number, kind, write, base, *shape, end in zip(
        *(column.tolist() for column in rows), ends.tolist(), strict=True
    ):
        space = Space(kind)
        if space is Space.CONSTANTS or (space is Space.ARENA and not write):
            continue  # tensors and constants as a whole are the program's concern
        if space is Space.ARENA:
            inside = address <= base and end <= address + len(stored)
            if not inside or not _view(own, base - address, shape).all():
                yield number, f"stores outside of the tensor @{name} that the layer computes"
                return
            _view(stored, base - address, shape)[...] = True
            continue
        view = _view(written[space], base, shape)
        loaded = unread[space].take(base, end)
        if write:
            yield from ((t.number, "loads what nothing reads") for t in loaded)
            if space is Space.ACT and _view(kept, base, shape).any():
                yield number, "writes over a resident tensor that the layer reads"
            if space is Space.ACT:
                _view(replaced, base, shape)[...] |= _view(operand, base, shape)
            view[...] = True
            if queues[number] is Queue.LOAD:
                unread[space].add(base, end, number)
            continue
        if not view.all():
            yield number, f"reads bytes of {space.name} that the layer has not written"
        if space is Space.ACT and _view(replaced, base, shape).any():
            yield number, "reads bytes of a resident tensor over which the layer has computed its output"
        if queues[number] is Queue.STORE:
            view[...] = False  # a tile is stored once: the next one is another
    yield from ((t.number, "loads what nothing reads") for pad in unread.values() for t in pad.waiting)
    here = act if output.tensor.operand is None else replaced
    done = output.of(here, output.address, target) if output.resident else output.of(stored, 0, target)
    if not done.all():
        row = int(done.all(axis=(1, 2)).argmin())
        yield None, f"row {row} of the output @{name} is not stored whole"


def _view(memory: NDArray[np.bool_], base: int, shape: Sequence[int]) -> NDArray[np.bool_]:
    outer, outer_stride, inner, inner_stride, run = shape
    return np.ndarray((outer, inner, run), np.bool_, memory, base, (outer_stride, inner_stride, 1))
