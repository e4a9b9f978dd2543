"""Finding the program of a module of level `bfs`."""

from __future__ import annotations

from xdsl.dialects.builtin import ModuleOp

from dialects.bfs import ProgramOp
from isa.errors import UserError


def bfs_program(module: ModuleOp) -> ProgramOp:
    """The single `bfs.program` of a module. Raises `UserError` if it holds anything else."""
    ops = list(module.body.block.ops)
    if len(ops) != 1 or not isinstance(ops[0], ProgramOp):
        found = ", ".join(sorted({op.name for op in ops})) or "nothing"
        raise UserError(f"expected a module with one bfs.program, found {found}", "run tile-basis-first first")
    return ops[0]
