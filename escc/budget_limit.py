"""What a budget limits, apart from the search that keeps it: a command judges its options without what that loads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from escc.compress.database import Measure

Kind = Literal["drop", "bytes", "cycles", "energy"]


@dataclass(frozen=True)
class Budget:
    """At most `limit` points of top-1 accuracy lost, bytes of .rodata, or cycles or microjoules an image."""

    kind: Kind
    limit: float

    @property
    def flag(self) -> str:
        """The budget as the user asked for it."""
        return f"--max-{self.kind} {self.limit:.12g}"

    @property
    def measure(self) -> Measure:
        """What the rows are chosen by: the fewest bytes for a drop."""
        return "bytes" if self.kind == "drop" else self.kind

    def remedy(self) -> str:
        """What to do if it cannot be kept."""
        return "raise the limit, or compile with --scheme dense" if self.kind == "drop" else "raise the limit"
