"""Errors of ours, and which exceptions are faults of the user's (`isa.errors.UserError`)."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Generator
from itertools import pairwise

from isa import found
from isa.errors import UserError


class InternalError(Exception):
    """A bug of ours, with the IR text that shows it: goes into the reproducer."""

    def __init__(self, message: str, ir: str = ""):
        super().__init__(message)
        self.ir = ir


@contextlib.contextmanager
def user_errors() -> Generator[None]:
    """Raise every exception that means a fault of the input as `UserError`; the others pass."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        fault = user_fault(error)
        if fault is None:
            raise
        raise fault from error


def user_fault(error: BaseException) -> UserError | None:
    """The diagnostic of an exception that means a fault of the input, None for a bug of ours.

    IR text that does not parse or verify and passes that refuse are faults of the input; whoever runs a pass on IR
    of our own making wraps what goes wrong in `InternalError` first. What goes wrong in a package that extends escc is
    a fault of that package, whichever way it was called.
    """
    if isinstance(error, UserError):
        return error
    fault = _fault_of_input(error)
    if _out_of_memory(error) is not None or not (where := found.at_fault(error)):
        return fault
    causes = fault.causes if fault is not None else [_told(error)]
    return UserError([f"{cause} ({where})" for cause in causes], _MEND)


_MEND = "mend or uninstall that package, or do without what it adds; --debug shows the traceback"


def _told(error: BaseException) -> str:
    """A fault of a package, in one line."""
    reason = one_line(str(error))
    if isinstance(error, InternalError | found.AnswerError) and reason:
        return reason
    return f"{type(error).__name__}: {reason}" if reason else type(error).__name__


def _fault_of_input(error: BaseException) -> UserError | None:
    """As `user_fault`, whoever raised the exception."""
    if isinstance(error, OSError):
        what = error.strerror or str(error)
        return UserError(f"{error.filename}: {what}" if error.filename else what)
    if (exhausted := _out_of_memory(error)) is not None:
        # NumPy says how much was wanted for what, whoever wraps the exception says where.
        what = one_line(str(exhausted))
        where = "" if exhausted is error else f" in {one_line(str(error)).partition(': ')[0]}"
        return UserError(
            f"out of memory{where}{f': {what}' if what else ''}",
            "the model or its data are too large for this machine: give fewer samples, or more memory",
        )
    # Only if xDSL is loaded can the exception be one of its own: do not load it for a command that needs none.
    if "xdsl.utils.exceptions" not in sys.modules:
        return None
    from xdsl.utils.exceptions import DiagnosticException, ParseError, UnregisteredConstructException

    if isinstance(error, ParseError):
        return UserError(f"{error.span.get_location()}: {one_line(error.msg)}", "the IR text does not parse")
    if isinstance(error, DiagnosticException | UnregisteredConstructException):
        name = _drawn_operation(error)
        return UserError((f"'{name}': " if name else "") + one_line(str(error)))
    return None


def _out_of_memory(error: BaseException) -> BaseException | None:
    """The exception that says so, which others may wrap."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, MemoryError) or (isinstance(seen, RuntimeError) and "allocate memory" in str(seen)):
            return seen  # torch raises a RuntimeError
        seen = seen.__cause__
    return None


def one_line(text: str) -> str:
    """The text with single spaces instead of line breaks and runs of spaces."""
    return " ".join(text.split())


def _drawn_operation(error: BaseException) -> str:
    """Name of the operation that xDSL underlines in the IR dump which it attaches to a diagnostic, or ""."""
    for note in getattr(error, "__notes__", ()):
        lines = str(note).splitlines()
        for above, line in pairwise(lines):
            if line.strip().startswith("^^") and (quoted := re.search(r'"([\w.]+)"\(', above)):
                return quoted.group(1)
    return ""
