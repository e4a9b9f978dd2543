"""`plan-memory`: addresses of scratchpad buffers and, by lifetime, of the activation tensors in the DRAM arena."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from dialects.attributes import i64_array, integer
from dialects.bfs import LayerOp
from dialects.bfs_checks import lifetimes
from dialects.bfs_tiles import SPACES
from isa.errors import UserError
from isa.layout import DRAM_ALIGN, align
from isa.target import Target
from passes.analysis.preserved import Preserved
from passes.tiling.bfs_module import bfs_program
from passes.tiling.memory import Interval, plan_arena, stack


def place_buffers(layer: LayerOp, target: Target, from_top: bool) -> list[str]:
    """Give every buffer of a layer an address, from one end of its scratchpad; returns what does not fit."""
    causes: list[str] = []
    for space in SPACES:
        group = [b for b in layer.buffers if b.space == space]
        try:
            addresses = stack([b.nbytes for b in group], getattr(target.scratchpad, space), from_top)
        except ValueError as e:
            causes.append(f"layer '{layer.layer_name.data}': {space} {e}")
            continue
        for buffer, address in zip(group, addresses, strict=True):
            buffer.addresses = i64_array([address])
    return causes


@dataclass(frozen=True)
class PlanMemoryPass(ModulePass):
    """Place scratchpad buffers and the activation arena.

    Buffers of even layers grow from the bottom of a scratchpad, those of odd layers from the top, so that a layer's
    first loads need not wait for the last tile of the layer before. Tensors in DRAM share space when no layer needs
    both.
    """

    name = "plan-memory"
    PRESERVES: ClassVar[Preserved] = Preserved.OUTPUTS

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        program = bfs_program(op)
        target = program.machine
        causes = [
            c for i, layer in enumerate(program.layers) for c in place_buffers(layer, target, from_top=i % 2 == 1)
        ]
        if causes:
            raise UserError(causes, "tile for this target first")
        chunk, lives = target.array.chunk, lifetimes(program)
        sizes = {name: align(tensor.layout(chunk).nbytes) for name, tensor in program.tensors.items()}
        offsets, total = plan_arena([Interval(name, size, *lives[name]) for name, size in sizes.items()])
        for name, tensor in program.tensors.items():
            tensor.offset = integer(offsets[name])
        program.arena = integer(align(total, DRAM_ALIGN))
