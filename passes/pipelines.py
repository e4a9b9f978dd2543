"""The default pipeline as data: which passes lead from one level to the next, built from options, to and from text."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xdsl.passes import ModulePass
from xdsl.utils.arg_spec import ArgSpec, parse_pipeline
from xdsl.utils.exceptions import ArgSpecParseError

from isa.errors import UserError

if TYPE_CHECKING:
    from isa.arrays import Arrays

LEVELS = ("onnx", "esc", "bfs", "eisa")
"""IR levels in the order of lowering."""

STAGES: Mapping[str, tuple[str, ...]] = {
    "onnx": ("onnx-canonicalize", "onnx-legalize"),
    "esc": ("quantize", "fuse-epilogues", "decompose-conv", "round-parameters", "drop-dead-channels", "esc-legalize"),
    "bfs": ("tile-basis-first", "plan-memory", "double-buffer", "pack-coefficients"),
    "eisa": ("lower-to-eisa", "stage-weights", "insert-sync", "eisa-legalize"),
}
"""Passes that finish a module at a level; the first of each stage but `onnx` lowers into the level."""

CHECKS = ("onnx-legalize", "esc-legalize", "eisa-legalize")
"""Those that change nothing: what has passed them may be compiled for another target, and passes them again."""

Registry = Mapping[str, Callable[[], type[ModulePass]]]
"""Pass names and what loads the pass."""


@dataclass(frozen=True)
class PipelineOptions:
    """What the default pipeline depends on; a pass takes those that it has a field of the same name for."""

    calibration: str | Arrays | None = None
    samples: int | None = None
    seed: int | None = None
    method: str | None = None
    percentile: float | None = None
    scheme: str | None = None
    basis: int | None = None
    planes: int | None = None
    rate: float | None = None
    cycle_rate: float | None = None
    joint: int | None = None
    options: tuple[str, ...] | None = None
    target: str | None = None


def build(
    registry: Registry, options: PipelineOptions, level: str = "eisa", done: Sequence[str] = ()
) -> tuple[ModulePass, ...]:
    """Passes that finish `level`, without those named in `done` (already run) and those of levels that are behind.

    An option that is None leaves the default of the pass.
    """
    given = {name: value for name, value in vars(options).items() if value is not None}
    passes: list[ModulePass] = []
    for stage in LEVELS[: LEVELS.index(level) + 1]:
        for name in STAGES[stage]:
            if name not in done:
                cls = registry[name]()
                known = {f.name for f in dataclasses.fields(cls)}
                passes.append(cls(**{key: value for key, value in given.items() if key in known}))
    return tuple(passes)


def before(level: str) -> tuple[str, ...]:
    """Passes that a module at `level` has behind it in any case: those up to the one that lowers into the level."""
    index = LEVELS.index(level)
    passed = [name for stage in LEVELS[:index] for name in STAGES[stage]]
    return (*passed, STAGES[level][0]) if index else ()


def behind(level: str, provenance: Sequence[str]) -> tuple[str, ...]:
    """Passes that need not run on a module at `level` that says by its `provenance` which ones have."""
    return (*before(level), *(name for name in provenance if name not in CHECKS))


def to_text(passes: Sequence[ModulePass]) -> str:
    """Text of a pipeline that `parse` (and `-p` of our commands) reads back to equal passes.

    Arrays in memory stand there by their title, which no text can give back.
    """
    return ",".join(_spec_text(p.spec()) for p in passes)


def _spec_text(spec: ArgSpec) -> str:
    # Written here because xDSL's own text leaves quotes in strings and exponents of floats unreadable for its parser.
    options = " ".join(
        f"{name.replace('_', '-')}={_values_text(values)}" if values else name.replace("_", "-")
        for name, values in spec.parameters.items()
    )
    return f"{spec.name}{{{options}}}" if options else spec.name


def _values_text(values: Any) -> str:
    from isa.arrays import Arrays  # NumPy is too heavy for a list of passes

    return _value_text(values) if isinstance(values, Arrays) else ",".join(_value_text(v) for v in values)


def _value_text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        text = repr(value)
        return text if "." in text else text.replace("e", ".0e")
    if isinstance(value, int):
        return str(value)
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def parse(registry: Registry, text: str) -> tuple[ModulePass, ...]:
    """Passes of a pipeline text. Raises UserError naming every unknown pass, or what is wrong with the text."""
    try:
        specs = tuple(parse_pipeline(text.strip()))
    except ArgSpecParseError as e:
        lines = [line.strip() for line in str(e).splitlines() if line.strip(" ^")]
        column = int(lines[-3].rpartition(":")[2])
        near = text.strip()[max(0, column - 1) :][:20] or "the end"
        raise UserError(
            f"pass pipeline: column {column}, at '{near}': {lines[-1]} (strings go in double quotes)"
        ) from e
    unknown = [spec.name for spec in specs if spec.name not in registry]
    if unknown:
        raise UserError(
            [_unknown(name, registry) for name in unknown], "escc --help and esc-opt --help list the passes"
        )
    passes: list[ModulePass] = []
    for spec in specs:
        try:
            passes.append(registry[spec.name]().from_spec(spec))
        except (ValueError, TypeError) as e:
            raise UserError(f"pass pipeline: '{spec.name}': {e}") from e
    return tuple(passes)


def _unknown(name: str, registry: Registry) -> str:
    close = difflib.get_close_matches(name, registry, 1)
    return f"pass pipeline: no pass '{name}'" + (f"; did you mean '{close[0]}'?" if close else "")


def summary(cls: type[ModulePass]) -> str:
    """First paragraph of a pass's docstring, on one line."""
    return " ".join((cls.__doc__ or "").strip().split("\n\n")[0].split())
