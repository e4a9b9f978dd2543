"""Dataclasses as plain JSON values and back, strictly: every key present, none unknown, every type exact."""

from __future__ import annotations

import json
import types
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import IntEnum
from functools import cache
from math import isfinite
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from isa.errors import UserError
from isa.text import printable

_T = TypeVar("_T")
_hints = cache(get_type_hints)
_INT_MAX = (1 << 63) - 1


class FormError(UserError):
    """A JSON value that does not describe the wanted object."""


def to_plain(value: Any) -> Any:
    """Dataclasses to dicts, tuples to lists, enums to lower-case names."""
    if is_dataclass(value):
        return {f.name: to_plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, IntEnum):
        return value.name.lower()
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in cast("tuple[Any, ...]", value)]
    return value


def canonical(value: Any) -> str:
    """The one JSON text of a value: ASCII, keys sorted, no spaces. NaN and infinity raise ValueError."""
    return json.dumps(to_plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def published(value: Any, indent: int | None = None) -> str:
    """JSON text for other programs, ending in a newline: ASCII, strings and keys printable.

    JSON knows no infinity and no NaN: such numbers become null.
    """
    separators = (",", ":") if indent is None else None
    return json.dumps(_public(to_plain(value)), indent=indent, separators=separators, allow_nan=False) + "\n"


def _public(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {printable(str(key)): _public(item) for key, item in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_public(item) for item in cast("Sequence[Any]", value)]
    return None if isinstance(value, float) and not isfinite(value) else value


def from_plain(kind: type[_T], value: object, where: str) -> _T:
    """Build `kind`, a dataclass or the type of a field, from plain JSON values. Raises `FormError` naming the place."""
    return cast(_T, _build(kind, value, where))


def loads(text: str, where: str) -> Any:
    """Parse JSON. Raises `FormError`."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as e:
        raise FormError(f"{where}: not JSON: {e}") from e


def _build(kind: Any, value: object, where: str) -> object:
    if is_dataclass(kind):
        return _dataclass(cast(type[object], kind), value, where)
    origin = get_origin(kind)
    if origin is tuple:
        return _tuple(get_args(kind), value, where)
    if origin in (Union, types.UnionType):  # only `X | None` occurs
        (inner,) = (a for a in get_args(kind) if a is not types.NoneType)
        return None if value is None else _build(inner, value, where)
    if issubclass(kind, IntEnum):
        members = {name.lower(): member for name, member in kind.__members__.items()}
        if isinstance(value, str) and value in members:
            return members[value]
        raise FormError(f"{where}: must be one of {', '.join(members)}; found {value!r}")
    if kind is float and type(value) is int and -(1 << 53) < value < 1 << 53:
        return float(value)
    if isinstance(value, int) and abs(value) > _INT_MAX:
        raise FormError(f"{where}: exceeds 64 bits")
    if type(value) is not kind or (isinstance(value, float) and not isfinite(value)):
        raise FormError(f"{where}: must be of type {kind.__name__}, found {value!r}"[:300])
    return value


def _dataclass(kind: type[object], value: object, where: str) -> object:
    if not isinstance(value, Mapping):
        raise FormError(f"{where}: must be an object")
    data = cast(Mapping[str, object], value)
    hints = _hints(kind)
    wrong = sorted(set(data) ^ set(hints))
    if wrong:
        raise FormError(f"{where}: '{wrong[0]}' is {'unknown' if wrong[0] in data else 'missing'}"[:300])
    return kind(**{name: _build(hint, data[name], f"{where}.{name}") for name, hint in hints.items()})


def _tuple(kinds: tuple[Any, ...], value: object, where: str) -> tuple[object, ...]:
    if not isinstance(value, list):
        raise FormError(f"{where}: must be a list")
    items = cast(list[object], value)
    if kinds[-1] is Ellipsis:
        kinds = kinds[:1] * len(items)
    if len(kinds) != len(items):
        raise FormError(f"{where}: must have {len(kinds)} items, found {len(items)}")
    return tuple(_build(kind, item, f"{where}[{i}]") for i, (kind, item) in enumerate(zip(kinds, items, strict=True)))
