"""The machine description: a TOML file merged over its base, as frozen dataclasses."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar, cast, get_type_hints

from isa.errors import UserError
from isa.text import printable

ISA_VERSION = 2


class TargetError(UserError):
    """A target file that cannot be read or does not describe a machine."""


@dataclass(frozen=True)
class Clock:
    """Clock domain of the accelerator."""

    frequency_mhz: float


@dataclass(frozen=True)
class Array:
    """The PE array; see the comments of `targets/esc1.toml`."""

    blocks: int
    slices: int
    macs: int
    chunk: int
    ca_lanes: int
    ic_bits: int
    fifo_depth: int
    ic_fifo_depth: int
    broadcast_chunks: int
    issue_cycles: int


@dataclass(frozen=True)
class Post:
    """The post unit."""

    lanes: int
    issue_cycles: int


@dataclass(frozen=True)
class Scratchpads:
    """Capacities in bytes."""

    act: int
    out: int
    coef: int
    par: int
    psum: int


@dataclass(frozen=True)
class Dma:
    """One engine a direction."""

    bytes_per_cycle: int
    decode_coefficients: int
    issue_cycles: int


@dataclass(frozen=True)
class Dram:
    """DRAM channel; timing parameters in cycles of `clock_mhz`, JEDEC names."""

    clock_mhz: float
    bytes_per_clock: int
    burst_bytes: int
    banks: int
    page_bytes: int
    RL: int
    WL: int
    tRCD: int
    tRPpb: int
    tRAS: int
    tRRD: int
    tFAW: int
    tCCD: int
    tWR: int
    tRTP: int
    tWTR: int
    tREFI: int
    tRFCab: int
    capacity_mib: int


@dataclass(frozen=True)
class PerScratchpad:
    """One figure for each scratchpad."""

    act: float
    out: float
    coef: float
    par: float
    psum: float


@dataclass(frozen=True)
class Energy:
    """Picojoule an event (leakage: milliwatt)."""

    technology_nm: int
    add_int8: float
    add_int32: float
    mul_int8: float
    mul_int32: float
    dram_byte: float
    sram_read_byte: PerScratchpad
    sram_write_byte: PerScratchpad
    leakage_mw: PerScratchpad


@dataclass(frozen=True)
class Target:
    """A machine. `text` is the canonical TOML that a binary carries; equal machines have equal text."""

    name: str
    description: str
    isa_version: int
    clock: Clock
    array: Array
    post: Post
    scratchpad: Scratchpads
    dma: Dma
    dram: Dram
    energy: Energy

    @property
    def text(self) -> str:
        """Canonical TOML of every parameter, without comments."""
        return _to_toml(self)


_T = TypeVar("_T")
_INT_MAX = (1 << 31) - 1
# Parameters that may be zero; every other number must be positive.
_MAY_BE_ZERO = {
    "array.issue_cycles",
    "post.issue_cycles",
    "dma.issue_cycles",
    *(f"dram.{name}" for name in ("tRRD", "tFAW", "tWTR", "tRFCab")),
    *(f"energy.{f.name}" for f in fields(Energy) if f.name != "technology_nm"),
    *(
        f"energy.{table}.{f.name}"
        for table in ("sram_read_byte", "sram_write_byte", "leakage_mw")
        for f in fields(PerScratchpad)
    ),
}


def _build(cls: type[_T], data: Mapping[str, Any], where: str, path: str) -> _T:
    hints = get_type_hints(cls)
    unknown = sorted(set(data) - set(hints))
    missing = sorted(set(hints) - set(data))
    if unknown:
        raise TargetError(f"{where}: unknown parameter '{path}{unknown[0]}'")
    if missing:
        raise TargetError(f"{where}: missing parameter '{path}{missing[0]}'")
    values: dict[str, Any] = {}
    for name, kind in hints.items():
        value: Any = data[name]
        if is_dataclass(kind):
            if not isinstance(value, Mapping):
                raise TargetError(f"{where}: '{path}{name}' must be a table")
            values[name] = _build(kind, value, where, f"{path}{name}.")  # type: ignore[arg-type]
            continue
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise TargetError(f"{where}: '{path}{name}' must be of type {kind.__name__}, found {value!r}")
        if isinstance(value, float) and not math.isfinite(value):
            raise TargetError(f"{where}: '{path}{name}' must be finite, found {value!r}")
        if isinstance(value, int) and value > _INT_MAX:
            raise TargetError(f"{where}: '{path}{name}' must be below 2^31")
        if isinstance(value, int | float) and (value < 0 or (value == 0 and f"{path}{name}" not in _MAY_BE_ZERO)):
            raise TargetError(f"{where}: '{path}{name}' must be positive, found {value!r}")
        values[name] = value
    return cls(**values)


def _check(target: Target, where: str) -> Target:
    if target.isa_version != ISA_VERSION:
        raise TargetError(
            f"{where}: isa_version {target.isa_version} is not {ISA_VERSION}, the only one this release knows"
        )
    a = target.array
    if a.chunk % 8 or a.chunk > 64:
        raise TargetError(f"{where}: array.chunk must be a multiple of 8 up to 64, found {a.chunk}")
    if not 8 <= a.ic_bits <= 24:
        raise TargetError(f"{where}: array.ic_bits must be in 8..24, found {a.ic_bits}")
    if max(getattr(target.scratchpad, f.name) for f in fields(Scratchpads)) > 1 << 24:
        raise TargetError(f"{where}: scratchpads are at most 16 MiB (24-bit addresses)")
    d = target.dram
    if d.page_bytes % d.burst_bytes:
        raise TargetError(f"{where}: dram.page_bytes must be a multiple of dram.burst_bytes")
    return target


def _to_toml(value: Any, prefix: str = "") -> str:
    scalars: list[str] = []
    tables: list[str] = []
    for f in fields(value):
        item = getattr(value, f.name)
        if is_dataclass(item):
            tables.append(_to_toml(item, f"{prefix}{f.name}."))
        elif isinstance(item, str):
            text = printable(json.dumps(item, ensure_ascii=False))  # a string of JSON is one of TOML
            scalars.append(f"{f.name} = {text}")
        else:
            scalars.append(f"{f.name} = {item!r}")
    head = f"[{prefix[:-1]}]\n" if prefix and scalars else ""
    return head + "".join(line + "\n" for line in scalars) + "".join(tables)


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            merged[key] = _merge(cast(dict[str, Any], old), cast(dict[str, Any], value))
        else:
            merged[key] = value
    return merged


def _builtin_files() -> dict[str, Path]:
    root = Path(str(files("isa") / "targets"))
    found = {p.stem: p for p in sorted(root.glob("*.toml"))}
    for point in entry_points(group="isa.targets"):
        found.setdefault(point.name, Path(str(point.load())))
    return found


def list_targets() -> dict[str, str]:
    """Names and descriptions of the installed targets: ours and those of the entry points `isa.targets` (paths)."""
    return {name: load_target(name).description for name in sorted(_builtin_files())}


def _read(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    if path in seen:
        raise TargetError(f"{path}: 'base' goes round in a circle")
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise TargetError(f"{path}: {e.strerror or e}") from e
    except (ValueError, RecursionError) as e:
        raise TargetError(f"{path}: not a TOML file: {e}") from e
    base = data.pop("base", None)
    if base is None:
        return data
    return _merge(_read(_locate(str(base), path.parent), (*seen, path)), data)


def _locate(name_or_file: str, folder: Path = Path()) -> Path:
    builtin = _builtin_files()
    if name_or_file in builtin:
        return builtin[name_or_file]
    path = folder / name_or_file
    if path.suffix == ".toml" or path.exists():
        return path
    raise TargetError(f"unknown target '{name_or_file}'; installed: {', '.join(sorted(builtin))}; or give a .toml file")


@cache
def load_target(name_or_file: str = "esc1") -> Target:
    """Load a target by installed name or by file, merged over its `base`. Raises `TargetError` with one cause."""
    path = _locate(name_or_file)
    return _check(_build(Target, _read(path, ()), str(path), ""), str(path))


def parse_target(text: str, where: str = ".esc.target") -> Target:
    """Parse the canonical text that a binary carries. Raises `TargetError`."""
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as e:  # tomllib lets numbers of thousands of digits and deep nesting through
        raise TargetError(f"{where}: not TOML: {e}") from e
    return _check(_build(Target, data, where, ""), where)
