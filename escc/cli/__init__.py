"""Command lines. Importing one imports nothing heavy; `--help` answers at once."""

from __future__ import annotations

import sys
from types import TracebackType

_others = sys.excepthook


def _quiet_interrupt(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
    """Ctrl-C while a command is still being imported shows no traceback either; all else is shown as ever."""
    if not issubclass(kind, KeyboardInterrupt):
        _others(kind, error, where)


sys.excepthook = _quiet_interrupt
