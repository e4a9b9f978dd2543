"""What executes an instruction: the form of the files in `emulator/units/`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar, cast

from emulator.memories import Memories
from emulator.recording import Entry
from isa.declaration import InstructionSpec
from isa.events import Event
from isa.integers import Values

T = TypeVar("T")


def nothing(*_: Any) -> None:
    """A unit without effect, or without anything to add to its closed forms."""


class Accumulating(NamedTuple):
    """Events for two waits that are known only when the whole program is timed: slice-cycles in which the instruction
    is read (`issue`), and those in which its first coefficients are expanded (`expansion`), as far as the instruction
    before does not hide them.
    """

    issue: Event
    expansion: Event


@dataclass(frozen=True)
class Unit(Generic[T]):
    """What executes one instruction.

    `execute` does to the memories what an instruction with given field values does; it raises `UserError` if the data
    that it meets are malformed. `record` adds to the closed forms of `spec` what data decide; it takes what `execute`
    has returned, before the next instruction runs. An instruction is `accumulating` if its cycles are those of the
    coefficient accumulators.
    """

    spec: InstructionSpec
    execute: Callable[[Memories, Values], T]
    record: Callable[[Entry, Values, T], None] = nothing
    accumulating: Accumulating | None = None

    def __post_init__(self) -> None:
        spec = cast(object, self.spec)
        if not isinstance(spec, InstructionSpec):
            raise TypeError(f"spec is of type {type(spec).__name__}; requires InstructionSpec")
