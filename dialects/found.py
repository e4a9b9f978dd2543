"""The operations of a dialect that stand in files of their own: `dialects/esc_*.py` for `esc`, and so on.

A dialect finds them by their names, so that a new operation is a new file and no list names it.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from xdsl.ir import Operation

import dialects


def operations(dialect: str) -> list[type[Operation]]:
    """Every operation that a file `dialects/DIALECT_*.py` defines under a name `DIALECT.*`, file by file."""
    found: list[type[Operation]] = []
    for file in iter_modules(dialects.__path__):
        if file.name.startswith(f"{dialect}_"):
            module = import_module(f"{dialects.__name__}.{file.name}")
            own = [value for value in vars(module).values() if getattr(value, "__module__", "") == module.__name__]
            operations = [value for value in own if isinstance(value, type) and issubclass(value, Operation)]
            found += [op for op in operations if getattr(op, "name", "").startswith(f"{dialect}.")]
    return found
