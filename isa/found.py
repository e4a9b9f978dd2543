"""What grows by files: things of the tree are found by their modules, those of other packages through entry points.

Whose fault an exception is can be told afterwards: see `at_fault`.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from functools import wraps
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from pkgutil import iter_modules
from types import FrameType, FunctionType, ModuleType
from typing import Any, TypeVar

from isa.errors import UserError

T = TypeVar("T")

_DISTRIBUTION = "escc"
GROUPS = (
    "xdsl.universe",
    "isa.targets",
    "isa.instructions",
    "emulator.units",
    "escc.schemes",
    "escc.layers",
    "escc.operators",
    "escc.baselines",
)
"""The groups of entry points through which packages extend escc."""


def own(package: ModuleType, attribute: str) -> Iterator[tuple[str, object]]:
    """The attribute of every module of a package that has it, each with the name of its module, by name."""
    for module in iter_modules(package.__path__):
        contents = vars(import_module(f"{package.__name__}.{module.name}"))
        if attribute in contents:
            yield module.name, contents[attribute]


def points(group: str) -> list[EntryPoint]:
    """The entry points of a group that other packages declare, by name.

    Those of the tree itself do not count, because what the tree has is found by its files.
    """
    found = (p for p in entry_points(group=group) if p.dist is None or p.dist.name != _DISTRIBUTION)
    return sorted(found, key=lambda point: point.name)


def load(point: EntryPoint, what: str) -> object:
    """What an entry point names. Raises `UserError` naming it, as the `what` of its name, if it does not load."""
    try:
        return point.load()
    except MemoryError:
        raise
    except (Exception, SystemExit) as e:  # whatever the module does while it is imported
        kind = "" if isinstance(e, ImportError | AttributeError | ValueError) else f"{type(e).__name__}: "
        raise does_not_load(point, what, f"{kind}{e}") from e


def does_not_load(point: EntryPoint, what: str, reason: str) -> UserError:
    """The error of an entry point, the `what` of its name, whose package is at fault."""
    about = f"the {what} '{point.name}' (entry point group '{point.group}') does not load: {reason}"
    return UserError(about, f"reinstall or uninstall {package(point)}")


def package(point: EntryPoint) -> str:
    """What to call the package that declares an entry point."""
    return f"the package of '{point.value}'" if point.dist is None else f"the package '{point.dist.name}'"


def installed(group: str, what: str, kind: type[T]) -> Iterator[tuple[str, T]]:
    """What other packages add through the entry points of a group, by name.

    Raises like `load`, and `UserError` for what is no instance of `kind`.
    """
    for point in points(group):
        found = load(point, what)
        if not isinstance(found, kind):
            raise UserError(
                f"the {what} '{point.name}' (entry point group '{group}') is of type {type(found).__name__}; "
                f"requires {kind.__name__}",
                f"mend or uninstall {package(point)}",
            )
        yield point.name, found


def mend(group: str, *names: str) -> str:
    """A note of what to mend where things of these names, as far as other packages add them, cannot stay."""
    at_fault = dict.fromkeys(package(point) for point in points(group) if point.name in names)
    return f"mend or uninstall {' or '.join(at_fault)}" if at_fault else ""


class AnswerError(Exception):
    """What an object answers is not what its class promises: a fault of the package that `giver` is of."""

    def __init__(self, giver: object, reason: str):
        super().__init__(reason)
        self.giver = giver


def checked(function: Callable[..., T], what: str, wanted: str, fits: Callable[[object], bool]) -> Callable[..., T]:
    """The function, whose answers must fit: raises `AnswerError` of the function for one that does not."""

    @wraps(function)
    def guarded(*given: Any) -> T:
        answer = function(*given)
        if not fits(answer):
            raise AnswerError(function, f"{what} answers {answer!r}; requires {wanted}")
        return answer

    return guarded


def extensions() -> list[str]:
    """What to call the packages that extend escc here, in alphabetical order."""
    return sorted(set(_extensions().values()))


def at_fault(error: BaseException) -> str:
    """Which package of others an exception comes from, and where: "file.py:7 of the package 'x'"; "" if from none.

    It does if code of that package is on the way from where it was caught to where it was raised, or if an exception
    names an object of that package as its `giver`, or if such an object is at hand where it was raised, or an argument
    of a function on the way there. An object is of a package that has its class, or a function that it holds. The
    causes of an exception count as it does itself, and the innermost sign is the one that is told.
    """
    if not (packages := _extensions()):
        return ""
    chain = [error]
    while (cause := chain[-1].__cause__) is not None and cause not in chain:
        chain.append(cause)
    chain.reverse()
    steps = [step for one in chain for step in reversed([*traceback.walk_tb(one.__traceback__)])]
    for frame, line in steps:
        if name := packages.get(_top(frame.f_globals.get("__name__"))):
            return f"{Path(frame.f_code.co_filename).name}:{line} of {name}"
    givers = [giver for one in chain if (giver := getattr(one, "giver", None)) is not None]
    innermost = list(steps[0][0].f_locals.values()) if steps else []
    for value in (*givers, *innermost, *(value for frame, _ in steps for value in _arguments(frame))):
        for kind in (value if isinstance(value, type) else type(value), *_functions(value)):
            if name := packages.get(_top(kind.__module__)):
                return f"{kind.__qualname__} of {name}"
    return ""


def _arguments(frame: FrameType) -> list[object]:
    """What a function was called with, as far as it still holds that."""
    code = frame.f_code
    return [frame.f_locals.get(name) for name in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]]


def _functions(value: object) -> list[FunctionType]:
    """The functions that an object consists of, itself if it is one."""
    held = () if isinstance(value, type | ModuleType) else getattr(value, "__dict__", {}).values()
    return [function for function in (value, *held) if isinstance(function, FunctionType)]


def _extensions() -> dict[str, str]:
    """What to call each package that extends escc, by the names of its modules before the first dot."""
    added = [point for group in GROUPS for point in points(group) if point.dist is None or point.dist.name != "xdsl"]
    return {_top(point.module): package(point) for point in added}


def _top(module: object) -> str:
    return module.partition(".")[0] if isinstance(module, str) else ""
