"""`end`: the last instruction of a program."""

from __future__ import annotations

from isa.declaration import InstructionSpec
from isa.formats import Queue

SPEC = InstructionSpec("end", 0x3F, Queue.STORE, "End of the program; the last instruction, exactly once.")
