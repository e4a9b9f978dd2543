"""Command lines. Importing one imports nothing heavy; `--help` answers at once."""

from __future__ import annotations

import sys
from types import TracebackType

_others = sys.excepthook


def tell_interrupted() -> None:
    """Say that Ctrl-C was heard, and that it did no harm: every output is put in its place whole."""
    print("interrupted; no file was left half-written", file=sys.stderr)


def _no_traceback(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
    """Ctrl-C while a command is still being imported shows no traceback either; all else is shown as ever."""
    if issubclass(kind, KeyboardInterrupt):
        tell_interrupted()
    else:
        _others(kind, error, where)


sys.excepthook = _no_traceback
