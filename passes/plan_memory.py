"""`plan-memory`: addresses of scratchpad buffers and, by lifetime, of the activation tensors in the DRAM arena."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from dialects.attributes import i64_array, integer
from dialects.bfs import BufferOp, LayerOp, ProgramOp
from dialects.bfs_checks import lifetimes
from dialects.bfs_tiles import SPACES
from isa.errors import UserError
from isa.layout import DRAM_ALIGN, align
from isa.target import Target
from passes.analysis.preserved import Preserved
from passes.tiling.bfs_module import bfs_program
from passes.tiling.memory import Interval, plan_arena, plan_resident, reserve, stack_above, taken_by


def intervals(program: ProgramOp) -> tuple[list[Interval], list[Interval]]:
    """The tensors of a program with their lives: those in DRAM, and the resident ones."""
    chunk, lives = program.machine.array.chunk, lifetimes(program)
    off_chip: list[Interval] = []
    resident: list[Interval] = []
    for name, tensor in program.stored.items():
        if tensor.resident is not None:
            resident.append(Interval(name, reserve(tensor.resident_bytes), *lives[name]))
        else:
            off_chip.append(Interval(name, align(tensor.layout(chunk).nbytes), *lives[name]))
    return off_chip, resident


def act_taken(program: ProgramOp) -> list[int]:
    """Bytes at the bottom of ACT that placed resident tensors take during each group of layers."""
    offsets = {name: 0 if t.offset is None else t.offset.value.data for name, t in program.stored.items()}
    return taken_by(intervals(program)[1], offsets, len(program.groups))


class Stacked(NamedTuple):
    """Buffers of a scratchpad that lie one after the other, from one end of it, and the layer that they belong to, or
    the last of several.
    """

    buffers: list[BufferOp]
    from_top: bool
    layer: LayerOp


def stacks(group: Sequence[LayerOp], space: str, from_top: bool) -> list[Stacked]:
    """The buffers of layers that run together. They lie apart, except in PSUM, where no layer keeps anything from one
    tile to the next: there every second layer begins at the other end.
    """
    own = [[b for b in layer.buffers if b.space == space] for layer in group]
    if space == "psum":
        used = [(buffers, layer) for buffers, layer in zip(own, group, strict=True) if buffers]
        return [Stacked(buffers, from_top != (i % 2 == 1), layer) for i, (buffers, layer) in enumerate(used)]
    return [Stacked([b for buffers in own for b in buffers], from_top, group[-1])]


def place_buffers(group: Sequence[LayerOp], target: Target, taken: int, from_top: bool) -> list[str]:
    """Give every buffer of layers that run together an address, without the first `taken` bytes of ACT; returns what
    does not fit.
    """
    causes: list[str] = []
    for space in SPACES:
        for stacked in stacks(group, space, from_top):
            sizes = [b.nbytes for b in stacked.buffers]
            try:
                addresses = stack_above(sizes, space, target, taken, stacked.from_top)
            except ValueError as e:
                causes.append(f"layer '{stacked.layer.layer_name.data}': {space} {e}")
                continue
            for buffer, address in zip(stacked.buffers, addresses, strict=True):
                buffer.addresses = i64_array([address])
    return causes


@dataclass(frozen=True)
class PlanMemoryPass(ModulePass):
    """Place scratchpad buffers and the activation arena.

    Buffers of even layers grow from the bottom of a scratchpad, those of odd layers from the top, so that a layer's
    first loads need not wait for the last tile of the layer before; layers in bands count as one layer, except that
    in PSUM they take turns. Resident tensors lie at the bottom of ACT, below the buffers. Tensors share space, in DRAM
    and in ACT, when no layer needs both, or when one is computed over the other.
    """

    name = "plan-memory"
    PRESERVES: ClassVar[Preserved] = Preserved.OUTPUTS

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        program = bfs_program(op)
        target = program.machine
        off_chip, resident = intervals(program)
        offsets, total = plan_arena(off_chip)
        chip, taken = plan_resident(resident, program.over, len(program.groups))
        causes = [
            c
            for i, group in enumerate(program.groups)
            for c in place_buffers(group, target, taken[i], from_top=i % 2 == 1)
        ]
        if causes:
            raise UserError(causes, "tile for this target first")
        for name, tensor in program.stored.items():
            tensor.offset = integer({**offsets, **chip}[name])
        program.arena = integer(align(total, DRAM_ALIGN))
