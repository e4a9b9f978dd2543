"""The units by mnemonic: those of `emulator/units/` and those that other packages add.

A package adds a unit by an entry point of the group `emulator.units` that names its `Unit`.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from types import MappingProxyType
from typing import Any, cast

from emulator import units
from emulator.unit import Unit
from isa import found
from isa.errors import UserError
from isa.program import Program

GROUP = "emulator.units"
"""Entry points, each a `Unit`."""


def _table() -> dict[str, Unit[Any]]:
    table: dict[str, Unit[Any]] = {}
    for name, unit in chain(found.own(units, "UNIT"), found.installed(GROUP, "unit", cast("type[Unit[Any]]", Unit))):
        if not isinstance(unit, Unit):
            raise UserError(f"the unit '{name}' must be a Unit, found {type(unit).__name__}")
        mnemonic = unit.spec.mnemonic
        if mnemonic in table:
            raise UserError(f"two units execute '{mnemonic}'; the second is '{name}'", found.mend(GROUP, name))
        table[mnemonic] = unit
    return table


UNITS: Mapping[str, Unit[Any]] = MappingProxyType(_table())
"""Every unit by the mnemonic of its instruction."""


def units_of(program: Program) -> list[Unit[Any]]:
    """The unit of every instruction. Raises `UserError` naming the instructions that have none."""
    lacking = sorted({i.spec.mnemonic for i in program.instructions} - UNITS.keys())
    if lacking:
        raise UserError(f"no unit executes {', '.join(lacking)}", "install the package that adds it")
    return [UNITS[i.spec.mnemonic] for i in program.instructions]
