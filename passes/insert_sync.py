"""`insert-sync`: waits and signals between the queues, from the bytes that instructions touch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from dialects.eisa import InstructionOp, program_of
from isa.declaration import WAITS
from isa.formats import Queue
from isa.hazards import dependencies
from passes.analysis.preserved import Preserved
from passes.math.sync import synchronise


@dataclass(frozen=True)
class InsertSyncPass(ModulePass):
    """Order every two instructions of different queues that touch the same bytes, at least one writing, as the
    program does.

    Waits that earlier waits imply are left out, and only instructions that are waited for signal. Replaces any
    synchronisation that was there.
    """

    name = "insert-sync"
    PRESERVES: ClassVar[Preserved] = Preserved.OUTPUTS

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        program = program_of(op)
        ops = list(program.instruction_ops)
        instructions = [x.instruction for x in ops]
        last = len(instructions) - 1
        depends = [list(d) for d in dependencies(instructions, program.machine)]
        # The program ends when everything has: `end` follows the last instruction of every queue.
        for i, instruction in enumerate(instructions[:last]):
            depends[last][instruction.spec.queue] = max(depends[last][instruction.spec.queue], i)
        queues = [int(x.spec.queue) for x in instructions]
        depends[last][queues[last]] = -1
        for x, instruction, sync in zip(ops, instructions, synchronise(queues, depends, len(Queue)), strict=True):
            instruction.values["signal"] = int(sync.signal)
            for queue, name in WAITS:
                instruction.values[name] = sync.waits[queue]
            x.fields = InstructionOp.of(instruction).fields
