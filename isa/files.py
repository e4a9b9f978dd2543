"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from isa.errors import UserError


def write_atomic(path: str | Path, data: bytes | str) -> None:
    """Write `data` (text as UTF-8) to `path` through a temporary file beside it, so that no reader sees half a file.

    Devices and pipes are written directly. Raises `UserError` when the directory is missing or nothing can be written.
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


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
