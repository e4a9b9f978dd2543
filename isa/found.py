"""What grows by files: things of the tree are found by their modules, those of other packages through entry points."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pkgutil import iter_modules
from types import ModuleType

from isa.errors import UserError

_DISTRIBUTION = "escc"


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
    except Exception as e:  # whatever the module does while it is imported
        kind = "" if isinstance(e, ImportError | AttributeError | ValueError) else f"{type(e).__name__}: "
        raise does_not_load(point, what, f"{kind}{e}") from e


def does_not_load(point: EntryPoint, what: str, reason: str) -> UserError:
    """The error of an entry point, the `what` of its name, whose package is at fault."""
    about = f"the {what} '{point.name}' (entry point group '{point.group}') does not load: {reason}"
    return UserError(about, f"reinstall or uninstall {package(point)}")


def package(point: EntryPoint) -> str:
    """What to call the package that declares an entry point."""
    return f"the package of '{point.value}'" if point.dist is None else f"the package '{point.dist.name}'"


def installed(group: str, what: str) -> Iterator[tuple[str, object]]:
    """What other packages add through the entry points of a group, by name. Raises like `load`."""
    for point in points(group):
        yield point.name, load(point, what)
