"""`eisa-legalize`: the last check before a binary is written; reports all offenders at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from dialects.eisa import program_of, to_program
from isa.declaration import EncodingError, encode
from isa.errors import UserError
from isa.hazards import describe
from isa.legality import check_executable
from isa.program import Program
from passes.analysis.preserved import Preserved


def _encodable(program: Program) -> list[str]:
    causes: list[str] = []
    for i, instruction in enumerate(program.instructions):
        try:
            encode(instruction)
        except EncodingError as e:
            causes.append(f"{_where(program, i)}: {e}")
    return causes


def _where(program: Program, index: int) -> str:
    for layer in program.layers:
        if layer.start <= index < layer.end:
            return f"layer '{layer.name}': {describe(program.instructions, index)}"
    return describe(program.instructions, index)


@dataclass(frozen=True)
class EisaLegalizePass(ModulePass):
    """Allow only programs that the machine accepts.

    - every field of every instruction is encodable;
    - every instruction is legal by itself: extents, scratchpad and DRAM bounds, whole segments and chunks in stores;
    - the program ends in `end`, its layers follow each other, its ports fit their tensors;
    - semaphores order every two conflicting instructions of different queues, and no wait can hang.
    """

    name = "eisa-legalize"
    PRESERVES: ClassVar[Preserved] = Preserved.OUTPUTS

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        program_of(op)
        program = to_program(op)
        causes = _encodable(program)
        if not causes:
            try:
                check_executable(program)
            except UserError as e:
                causes += e.causes
        if causes:
            raise UserError(causes, "the program cannot run on this target")
