"""`end`: nothing is left to do."""

from __future__ import annotations

from emulator.unit import Unit, nothing
from isa.instructions.end import SPEC

UNIT = Unit(SPEC, nothing)
