"""The table of all instructions: those of `isa/instructions/` and those that other packages declare.

A package adds an instruction by an entry point of the group `isa.instructions` that names its `InstructionSpec`, whose
opcode lies in `isa.declaration.EXTERNAL_OPCODES`. What executes it is an entry point of the group `emulator.units`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from isa import found, instructions
from isa.counts import Count
from isa.declaration import EXTERNAL_OPCODES, EncodingError, Instruction, InstructionSpec, decode_as
from isa.errors import UserError
from isa.events import Countable, Event, tables_of

GROUP = "isa.instructions"
"""Entry points, each an `InstructionSpec`."""


def assemble_table(own: Iterable[tuple[str, object]], installed: Iterable[tuple[str, object]]) -> list[InstructionSpec]:
    """All specs by opcode. Raises `UserError` if one is no `InstructionSpec`, or does not keep to the names and opcodes
    of its package, or if two claim the same mnemonic, opcode or table of events.
    """
    specs: list[InstructionSpec] = []
    claimed: dict[str, str] = {}
    for external, source in ((False, own), (True, installed)):
        for name, spec in source:
            if not isinstance(spec, InstructionSpec):
                raise UserError(f"the instruction '{name}' must be an InstructionSpec, found {type(spec).__name__}")
            tables = [table.name for table in tables_of(spec.events)]
            _check_names(name, spec, tables, external)
            for what in (spec.mnemonic, f"opcode {spec.opcode:#x}", *(f"table of events '{t}'" for t in tables)):
                if what in claimed:
                    raise UserError(
                        f"the instructions '{claimed[what]}' and '{name}' both claim {what}",
                        found.mend(GROUP, claimed[what], name),
                    )
                claimed[what] = name
            specs.append(spec)
    return sorted(specs, key=lambda spec: spec.opcode)


def _check_names(name: str, spec: InstructionSpec, tables: Iterable[str], external: bool) -> None:
    """Raise `UserError` unless opcode and tables of events are such that no release of ours takes one of another
    package.
    """
    if (spec.opcode in EXTERNAL_OPCODES) != external:
        low, high = EXTERNAL_OPCODES.start, EXTERNAL_OPCODES.stop - 1
        where = f"must be in [{low:#x}, {high:#x}]" if external else f"must be below {low:#x}"
        raise UserError(f"the instruction '{name}' has opcode {spec.opcode:#x}; it {where}", found.mend(GROUP, name))
    prefix = spec.mnemonic.replace(".", "_")
    for table in tables:
        if external and not table.startswith(prefix):
            raise UserError(
                f"the instruction '{name}' has a table of events '{table}'; it must begin with '{prefix}'",
                found.mend(GROUP, name),
            )


INSTRUCTIONS: tuple[InstructionSpec, ...] = tuple(
    assemble_table(found.own(instructions, "SPEC"), found.installed(GROUP, "instruction", InstructionSpec))
)
"""All instructions in the order of their opcodes."""

OWN_INSTRUCTIONS: tuple[InstructionSpec, ...] = tuple(s for s in INSTRUCTIONS if s.opcode not in EXTERNAL_OPCODES)
"""Those of `isa/instructions/`, whatever packages are installed."""

EVENTS: tuple[Event, ...] = tuple(dict.fromkeys(event for spec in INSTRUCTIONS for event in spec.events))
"""What single instructions count, in the order of the instructions; some may share an event."""

COLUMNS: Mapping[Countable, int] = MappingProxyType({what: column for column, what in enumerate((*Count, *EVENTS))})
"""Where records of a run have the number of each event."""

BY_MNEMONIC: Mapping[str, InstructionSpec] = MappingProxyType({spec.mnemonic: spec for spec in INSTRUCTIONS})
BY_OPCODE: Mapping[int, InstructionSpec] = MappingProxyType({spec.opcode: spec for spec in INSTRUCTIONS})


def make(mnemonic: str, **values: int) -> Instruction:
    """An instruction of given field values, 0 where none is given. Unknown names raise KeyError."""
    return BY_MNEMONIC[mnemonic].make(**values)


def spec_of(opcode: int) -> InstructionSpec:
    """The declaration with an opcode. Raises `EncodingError` if there is none."""
    spec = BY_OPCODE.get(opcode)
    if spec is None:
        raise EncodingError(f"unknown opcode 0x{opcode:02x}")
    return spec


def decode(raw: bytes) -> Instruction:
    """Decode one instruction. Raises `EncodingError` on an unknown opcode, an undefined enum value or stray bits."""
    return decode_as(spec_of(raw[0]), raw)
