"""Files and standard streams as users name them: "-" is standard input or output."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from collections.abc import Generator, Hashable
from contextvars import ContextVar
from pathlib import Path

from isa.errors import UserError
from isa.files import write_atomic


class ClashError(UserError):
    """An output that is one of the inputs, or another output."""


class Ledger:
    """The files of one command: no output may be one of its inputs, nor one of its other outputs."""

    def __init__(self) -> None:
        self._inputs: dict[Hashable, str] = {}
        self._outputs: dict[Hashable, str] = {}
        self._written: set[Hashable] = set()

    def reads(self, what: str, path: str) -> None:
        """Say that the command reads a file; `what` is how diagnostics call it.

        Raises `ClashError` if the file is to be written.
        """
        identity = _identity(path, sys.stdin)
        if identity is None:
            return
        if identity in self._outputs:
            raise ClashError(
                f"argument {self._outputs[identity]}: '{path}' is the same file as {what}; requires another one"
            )
        self._inputs.setdefault(identity, what)

    def claims(self, what: str, path: str) -> None:
        """Say that the command will write a file. Raises `ClashError` if another of its files is the same.

        Raises `UserError` if the file can surely not be written: better known before the work than after it.
        """
        identity = _identity(path, sys.stdout)
        other = self._inputs.get(identity) or self._outputs.get(identity)
        if other is not None:
            raise ClashError(f"argument {what}: '{path}' is the same file as {other}; requires another one")
        if identity is not None:
            self._outputs[identity] = what
        if path != "-":
            _check_place(path)

    def writes(self, path: str) -> None:
        """Say that a file is about to be written. Raises `ClashError` if it is an input or was written before."""
        identity = _identity(path, sys.stdout)
        other = self._inputs.get(identity) or ("another output" if identity in self._written else None)
        if other is not None:
            raise ClashError(f"{path}: cannot write: is the same file as {other}; requires another one")

    def wrote(self, path: str) -> None:
        """Say that a file was written; it may be another one under the same name now."""
        identity = _identity(path, sys.stdout)
        if identity is not None and path != "-":
            self._written.add(identity)


_LEDGER: ContextVar[Ledger | None] = ContextVar("ledger", default=None)


@contextlib.contextmanager
def ledger() -> Generator[Ledger]:
    """A new ledger, which `reading` and `write_output` use until the context ends."""
    current = Ledger()
    token = _LEDGER.set(current)
    try:
        yield current
    finally:
        _LEDGER.reset(token)


def reading(path: str | Path, what: str) -> None:
    """Say that a file which the command line does not name is an input, such as data beside a model."""
    current = _LEDGER.get()
    if current is not None:
        current.reads(what, str(path))


def _identity(path: str, stream: object) -> Hashable:
    """What two names of one file share. None for what is no file with contents to lose: devices, pipes, folders."""
    try:
        found = os.fstat(stream.fileno()) if path == "-" else Path(path).stat()  # type: ignore[attr-defined]
    except FileNotFoundError:
        return os.path.realpath(path)
    except (OSError, ValueError, AttributeError):
        return "-" if path == "-" and stream is sys.stdout else None
    if stat.S_ISREG(found.st_mode):
        return (found.st_dev, found.st_ino)
    return "-" if path == "-" and stream is sys.stdout else None


def _check_place(path: str) -> None:
    if not Path(path).parent.is_dir():
        raise UserError(f"{path}: cannot write: directory '{Path(path).parent}' does not exist")
    if Path(path).is_dir():
        raise UserError(f"{path}: cannot write: is a directory")


def unreadable(path: str) -> str:
    """Why a file cannot be read, "" if nothing speaks against it; it is not opened, for it may be a pipe."""
    try:
        mode = Path(path).stat().st_mode
    except (OSError, ValueError) as e:
        return getattr(e, "strerror", None) or str(e)
    if stat.S_ISDIR(mode):
        return os.strerror(errno.EISDIR)
    return "" if os.access(path, os.R_OK) else os.strerror(errno.EACCES)


def write_output(path: str, data: bytes | str) -> None:
    """Write a file in one step (a reader never sees half of it), or to standard output for "-". Raises UserError."""
    current = _LEDGER.get()
    if current is not None:
        current.writes(path)
    if path == "-":
        sys.stdout.flush()
        sys.stdout.buffer.write(data.encode() if isinstance(data, str) else data)
        sys.stdout.buffer.flush()
    else:
        write_atomic(path, data)
    if current is not None:
        current.wrote(path)
