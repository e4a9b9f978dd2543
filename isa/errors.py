"""The one exception that means "the input is at fault"; command lines turn it into diagnostics and exit code 1."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_SHOWN_NAMES = 3


class UserError(ValueError):
    """Something the user can mend.

    Each cause is one line (`file: node 'n' (Op): what; requires what`), `note` says what to do. `details` are the
    lines that the causes sum up, equal to them where they sum up nothing.
    """

    def __init__(self, causes: str | Sequence[str], note: str = "", details: Sequence[str] = ()):
        self.causes: tuple[str, ...] = (causes,) if isinstance(causes, str) else tuple(causes)
        self.note = note
        self.details: tuple[str, ...] = tuple(details) or self.causes
        super().__init__("\n".join(self.causes))
        if note:
            self.add_note(f"note: {note}")  # what a traceback shows below the causes

    def about(self, file: str) -> UserError:
        """The error with the name of the file at fault before every cause."""
        return UserError(
            [f"{file}: {c}" for c in self.causes], self.note, [f"{file}: {detail}" for detail in self.details]
        )


@dataclass(frozen=True)
class NodeFault:
    """What is wrong with one node of a model."""

    name: str
    kind: str
    reason: str

    def __str__(self) -> str:
        return f"node '{self.name}' ({self.kind}): {self.reason}"

    @property
    def likeness(self) -> tuple[str, str]:
        """Equal for faults that differ in names and numbers only."""
        return self.kind, re.sub(r"'[^']*'|-?\d[\d.,]*", "#", self.reason)


def summed_up(faults: Iterable[NodeFault | str], note: str) -> UserError:
    """The error of all faults: one cause for nodes of one kind with like faults, with their number and first names."""
    groups: dict[object, list[NodeFault | str]] = {}
    for fault in dict.fromkeys(faults):
        key = fault.likeness if isinstance(fault, NodeFault) else fault
        groups.setdefault(key, []).append(fault)
    causes = [_summary(group) for group in groups.values()]
    details = [str(fault) for group in groups.values() for fault in group]
    if len(details) > len(causes):
        note = f"{note}; -v names every node" if note else "-v names every node"
    return UserError(causes, note, details)


def _summary(group: Sequence[NodeFault | str]) -> str:
    nodes = [fault for fault in group if isinstance(fault, NodeFault)]
    if len(nodes) < 2:
        return str(group[0])
    names = ", ".join(f"'{node.name}'" for node in nodes[:_SHOWN_NAMES])
    rest = f" and {len(nodes) - _SHOWN_NAMES} more" if len(nodes) > _SHOWN_NAMES else ""
    same = len({node.reason for node in nodes}) == 1
    return f"{len(nodes)} nodes ({nodes[0].kind}) {names}{rest}: {'' if same else 'the first '}{nodes[0].reason}"
