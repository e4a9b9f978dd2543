"""What one instruction alone counts: how such an event is named, where statistics show it, and what energy it takes.

Events that instructions share are those of `isa.counts.Count`. An instruction declares its own in its file, in
`InstructionSpec.events`; records, statistics, energies, reports and the instruction's page derive from them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from isa.amounts import is_amount
from isa.counts import Count
from isa.errors import UserError
from isa.found import checked

if TYPE_CHECKING:
    from isa.target import Target

TITLE_CHARACTERS = 10
"""Of the longest title of a line below the table of `esc-emu --stats`."""


@dataclass(frozen=True, eq=False)
class EventTable:
    """Events of an instruction that stand together in the statistics of every layer and of the whole run.

    `name` is the key of the table, and `title` begins its line in `esc-emu --stats`; `unit` is what its events are
    counted in. Events that are `parts` of a whole are shown as shares of it there, others as they are. `doc` says on
    the page of the instruction what the whole is, or what the events have in common.
    """

    name: str
    title: str
    unit: str
    doc: str
    parts: bool = False

    def __post_init__(self) -> None:
        if len(self.title) > TITLE_CHARACTERS:
            raise ValueError(f"the title '{self.title}' of a table of events exceeds {TITLE_CHARACTERS} characters")


@dataclass(frozen=True)
class EnergyComponent:
    """A part of the machine that statistics give energy to: its name there, and what pages of charts call it."""

    name: str
    text: str


@dataclass(frozen=True, eq=False)
class Event:
    """Something that one instruction alone counts. `doc` says what one is.

    With a `table`, statistics hold the number of events there, under `name`. With a `component`, each event adds
    `picojoule` of the machine to the energy of this component. It may be one of the machine's (`emulator.energy`); an
    instruction whose logic is its own declares one.
    """

    name: str
    doc: str
    table: EventTable | None = None
    component: EnergyComponent | None = None
    picojoule: Callable[[Target], float] | None = None

    def __post_init__(self) -> None:
        if (self.component is None) != (self.picojoule is None):
            raise ValueError(f"the event '{self.name}' must have both a component and picojoule, or neither")
        if self.picojoule is not None:
            what = f"picojoule of the event '{self.name}'"
            object.__setattr__(self, "picojoule", checked(self.picojoule, what, "a number not below 0", is_amount))


Countable: TypeAlias = Count | Event
"""Whatever instructions count."""


def tables_of(events: Iterable[Event]) -> Mapping[EventTable, Mapping[str, Event]]:
    """The tables in which statistics show events, and the events of each by name, all in order of appearance.

    Raises `UserError` if two events of a table have one name.
    """
    tables: dict[EventTable, dict[str, Event]] = {}
    for event in events:
        if event.table is None:
            continue
        if tables.setdefault(event.table, {}).setdefault(event.name, event) is not event:
            raise UserError(
                f"the table of events '{event.table.name}' has two events '{event.name}'; names must differ"
            )
    return tables
