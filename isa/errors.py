"""The one exception that means "the input is at fault"; command lines turn it into diagnostics and exit code 1."""

from __future__ import annotations

from collections.abc import Sequence


class UserError(ValueError):
    """Something the user can mend.

    Each cause is one line (`file: node 'n' (Op): what; requires what`), `note` says what to do.
    """

    def __init__(self, causes: str | Sequence[str], note: str = ""):
        self.causes: tuple[str, ...] = (causes,) if isinstance(causes, str) else tuple(causes)
        self.note = note
        super().__init__("\n".join(self.causes))
