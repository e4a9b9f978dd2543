"""Where targets are described: files, the installed ones among them, each merged over its `base`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

from isa import found as installed
from isa.errors import UserError
from isa.text import printable, shown

MAX_TEXT = 1 << 20
"""Bytes of the largest target file that is read."""


class TargetError(UserError):
    """A target file that cannot be read or does not describe a machine."""


class UnknownTargetError(TargetError):
    """A name that is neither that of an installed target nor that of a file."""


def merge(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Tables of `base` with what `over` says in its place, table by table."""
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            result[key] = merge(cast(dict[str, Any], old), cast(dict[str, Any], value))
        else:
            result[key] = value
    return result


@cache
def installed_places() -> Mapping[str, Path | EntryPoint]:
    """Where every installed target is described; what an entry point names is loaded only when it is asked for.

    Raises `TargetError` if two have one name.
    """
    root = Path(str(files("isa") / "targets"))
    found: dict[str, Path | EntryPoint] = {p.stem: p for p in sorted(root.glob("*.toml"))}
    for point in installed.points("isa.targets"):
        if found.setdefault(point.name, point) is not point:
            raise TargetError(
                f"two targets have the name '{point.name}'; the second is '{point.value}'",
                installed.mend(point.group, point.name),
            )
    return found


def _installed_file(name: str) -> Path:
    """The file of an installed target. Raises `TargetError` naming the entry point if there is none."""
    place = installed_places()[name]
    if isinstance(place, Path):
        return place
    try:
        path = Path(str(installed.load(place, "target")))
        if not path.is_file():
            raise installed.does_not_load(place, "target", f"{path}: no such file")
    except UserError as error:
        raise TargetError(error.causes, error.note) from error
    return path


def _text_of(path: Path) -> Mapping[str, Any]:
    """What a target file itself says."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_TEXT + 1)
        if len(raw) > MAX_TEXT:
            raise TargetError(f"{path}: a target file has at most {MAX_TEXT} bytes")
        return tomllib.loads(raw.decode())
    except OSError as e:
        raise TargetError(f"{path}: {e.strerror or e}") from e
    except (ValueError, RecursionError) as e:
        if isinstance(e, TargetError):
            raise
        raise TargetError(f"{path}: not a TOML file: {e}") from e


def merged(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """What a target file and those that it builds upon say together; `seen` are the files that lead to it.

    One without a name is called like its file. Raises `TargetError`.
    """
    if path in seen:
        raise TargetError(f"{path}: 'base' goes round in a circle")
    data = {"name": printable(path.stem), **_text_of(path)}
    base = data.pop("base", None)
    if base is None:
        return data
    if not isinstance(base, str):
        raise TargetError(f"{path}: 'base' must be the name of a target or of a .toml file")
    return merge(merged(_base(base, path), (*seen, path)), data)


def _base(base: str, path: Path) -> Path:
    """The file that the target file `path` builds upon: an installed target, or a .toml file beside it."""
    if base in installed_places():
        return _installed_file(base)
    file = path.parent / base
    if file.suffix != ".toml" or (file.exists() and not file.is_file()):  # a pipe or a device may never end
        raise TargetError(f"{path}: base '{base}' is neither an installed target nor a .toml file")
    return file


def locate(name_or_file: str) -> Path:
    """The file of an installed target or of a path. Raises `TargetError`, `UnknownTargetError` if it is neither."""
    if name_or_file in installed_places():
        return _installed_file(name_or_file)
    path = Path(name_or_file)
    try:
        path.exists()
    except OSError as e:  # such as a name that is too long
        raise UnknownTargetError(f"unknown target {shown(name_or_file)}: {e.strerror or e}") from e
    if path.exists() and not path.is_file() and not path.is_dir():  # every pass reads it: a pipe ends with the first
        raise TargetError(f"{path}: no regular file; a target must be one")
    if path.suffix == ".toml" or path.exists():
        return path
    raise UnknownTargetError(
        f"unknown target '{name_or_file}'; installed: {', '.join(sorted(installed_places()))}; or give a .toml file"
    )


def target_files(name_or_file: str) -> tuple[Path, ...]:
    """The files that describe a target: its own and those that it builds upon. Raises `TargetError`."""
    found = (locate(name_or_file),)
    while (base := _text_of(found[-1]).get("base")) is not None and isinstance(base, str):
        path = _base(base, found[-1])
        if path in found:
            break
        found = (*found, path)
    return found
