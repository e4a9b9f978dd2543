"""Public names of a package that are loaded when they are first asked for."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module


def resolve(package: str, homes: Mapping[str, str], name: str) -> object:
    """The object that `package.name` stands for, which the package keeps; `homes` gives `module:name` for each name.

    For the `__getattr__` of a package. Raises AttributeError on other names.
    """
    if name not in homes:
        raise AttributeError(f"module '{package}' has no attribute '{name}'")
    module, _, attribute = homes[name].partition(":")
    value: object = getattr(import_module(module), attribute)
    setattr(sys.modules[package], name, value)
    return value
