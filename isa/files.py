"""Files that are read whole, and files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import sys
import tempfile
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from types import FrameType
from typing import BinaryIO

from isa.errors import UserError

MOST_BYTES = 2**31 - 1
"""Bytes of the largest file that is read: an ONNX model has no more, and no text or binary of a network needs them."""
_HEAD_BYTES = 4096
_PIECE_BYTES = 1 << 22
_ENDING = tuple(signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals by which users and systems end a process, Ctrl-C first."""


def read_file(path: str | os.PathLike[str], name: str = "") -> bytes:
    """Bytes of a file, or of standard input for "-"; `name` is how errors call it (default: the path).

    Devices and pipes may never end. No model, text or binary begins with a zero byte: of what does, the beginning is
    all that is read, which whoever asked refuses. Raises `UserError` when nothing can be read, and when there are more
    than `MOST_BYTES`, of a file on a disk before it is read.
    """
    if os.fspath(path) == "-":
        return _whole(sys.stdin.buffer, name or "stdin")
    try:
        with Path(path).open("rb") as stream:
            return _whole(stream, name or os.fspath(path))
    except OSError as e:
        raise UserError(f"{name or os.fspath(path)}: {e.strerror or e}") from e


def _whole(stream: BinaryIO, name: str) -> bytes:
    size = _size(stream)
    if size is not None and size > MOST_BYTES:
        raise UserError(f"{name}: has {size:,} bytes; requires at most {MOST_BYTES:,}")
    head = stream.read(_HEAD_BYTES)
    if head.startswith(b"\0"):
        return head
    if size is not None:
        return head + stream.read()
    pieces = [head]
    count = len(head)
    while piece := stream.read(_PIECE_BYTES):
        pieces.append(piece)
        count += len(piece)
        if count > MOST_BYTES:
            raise UserError(f"{name}: has more than {MOST_BYTES:,} bytes; requires at most as many")
    return b"".join(pieces)


def _size(stream: BinaryIO) -> int | None:
    """Bytes of a file on a disk; None for anything else, such as a pipe or a stream in memory."""
    try:
        found = os.fstat(stream.fileno())
    except OSError:  # a stream in memory has no number
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def write_atomic(path: str | Path, data: bytes | str) -> None:
    """Write `data` (text as UTF-8) to `path` through a temporary file beside it, so that no reader sees half a file.

    Devices and pipes are written directly. A signal that ends the process waits until no temporary file is left.
    Raises `UserError` when the directory is missing or nothing can be written.
    """
    raw = data.encode() if isinstance(data, str) else data
    target = Path(path)
    try:
        if target.exists() and not target.is_file() and not target.is_dir():
            target.write_bytes(raw)
            return
        target = target.resolve()
        if target.is_dir():
            raise UserError(f"{path}: cannot write: is a directory")
        with _signals_held():
            _replace(target, raw)
    except FileNotFoundError as e:
        raise UserError(f"{path}: cannot write: directory '{target.parent}' does not exist") from e
    except OSError as e:
        raise UserError(f"{path}: cannot write: {e.strerror or e}") from e


def _replace(target: Path, raw: bytes) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{target.name[:64]}.", dir=target.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(raw)
        temporary.chmod(target.stat().st_mode & 0o7777 if target.exists() else 0o666 & ~_umask())
        temporary.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


@contextlib.contextmanager
def _signals_held() -> Generator[None]:
    """Keep signals of `_ENDING` back until the end of the context: they would leave a temporary file behind.

    Handlers are those of the process, which the main thread alone may change; what is ignored stays ignored.
    """
    came: list[int] = []
    handlers: dict[signal.Signals, Callable[[int, FrameType | None], object] | int | None] = {}
    try:
        if threading.current_thread() is threading.main_thread():
            for number in _ENDING:
                if signal.getsignal(number) not in (None, signal.SIG_IGN):
                    handlers[number] = signal.signal(number, lambda number, _: came.append(number))
        yield
    finally:
        for number, handler in reversed(handlers.items()):
            signal.signal(number, handler)
        for number in came:
            signal.raise_signal(number)


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
