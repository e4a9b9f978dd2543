"""What a campaign may find."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass
class Finding(Exception):
    """An answer that no input may get.

    `kind` is one of a few words ("crash", "slow", "memory", "files", "text", "wrong"); `detail` says what happened.
    """

    kind: str
    detail: str

    @property
    def signature(self) -> str:
        """The same for findings that surely have one cause: the text without numbers and quoted names."""
        plain = re.sub(r"'[^']*'|\"[^\"]*\"", "Q", self.detail)
        return f"{self.kind}: {re.sub(r'[-+]?[0-9][0-9a-fA-Fx.]*', 'N', plain)}"[:300]

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}"

    def __reduce__(self) -> tuple[type[Finding], tuple[str, str]]:
        return Finding, (self.kind, self.detail)
