"""Files and standard streams as users name them: "-" is standard input or output."""

from __future__ import annotations

import sys
from pathlib import Path

from isa.errors import UserError
from isa.files import write_atomic


def read_input(path: str) -> bytes:
    """Bytes of a file, or of standard input for "-". Raises UserError."""
    if path == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(path).read_bytes()
    except OSError as e:
        raise UserError(f"{path}: {e.strerror or e}") from e


def check_output(path: str) -> None:
    """Raise UserError if a file can surely not be written: better known before the work than after it."""
    if path == "-":
        return
    if not Path(path).parent.is_dir():
        raise UserError(f"{path}: cannot write: directory '{Path(path).parent}' does not exist")
    if Path(path).is_dir():
        raise UserError(f"{path}: cannot write: is a directory")


def write_output(path: str, data: bytes | str) -> None:
    """Write a file in one step (a reader never sees half of it), or to standard output for "-". Raises UserError."""
    if path == "-":
        sys.stdout.flush()
        sys.stdout.buffer.write(data.encode() if isinstance(data, str) else data)
        sys.stdout.buffer.flush()
        return
    write_atomic(path, data)
