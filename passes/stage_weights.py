"""`stage-weights`: weights of layers that wait for DRAM wait in ACT, where layers before leave DRAM and ACT free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from dialects.eisa import InstructionOp, LayerOp, program_of
from passes.analysis.preserved import Preserved
from passes.tiling.staging import Listing, staged


@dataclass(frozen=True)
class StageWeightsPass(ModulePass):
    """Fetch weights into ACT while a layer before only computes, so that their own layer need not wait for DRAM.

    A load of weights then takes its bytes from ACT. Which loads do so is decided by estimated times, from the gaps of
    the load engine, the waits of the blocks and the bytes of ACT that no layer in between uses. What fetches them
    belongs to the layer in which it stands. Where the load engine waits for a scratchpad, later loads of weights of the
    same layer go first. A program that gains less than the estimate may err, 1 %, stays as it is. Without this pass the
    program is the same, slower.
    """

    name = "stage-weights"
    PRESERVES: ClassVar[Preserved] = Preserved.OUTPUTS

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        program = program_of(op)
        layers = [layer for layer in program.body.block.ops if isinstance(layer, LayerOp)]
        instructions = [list(layer.instruction_ops) for layer in layers]
        before = Listing(
            [x.instruction for ops in instructions for x in ops],
            [number for number, ops in enumerate(instructions) for _ in ops],
        )
        after = staged(before, program.machine)
        if after is before:
            return
        for ops in instructions:
            for x in ops:
                x.detach()
                x.erase()
        for instruction, number in zip(after.instructions, after.layers, strict=True):
            new = InstructionOp.of(instruction)
            new.location = layers[number].location
            layers[number].body.block.add_op(new)
