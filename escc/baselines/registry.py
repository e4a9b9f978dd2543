"""The installed baselines, found through entry points."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import cast

from escc.baselines.machine import Baseline
from isa.errors import UserError

GROUP = "escc.baselines"
"""Entry points: the name of a baseline, and a function without arguments that makes it."""


def installed() -> list[str]:
    """Names of all installed baselines, in alphabetical order."""
    return sorted(set(entry_points(group=GROUP).names))


def load_baseline(name: str) -> Baseline:
    """The installed baseline of that name. Raises UserError listing those there are."""
    found = {point.name: point for point in entry_points(group=GROUP)}
    if name not in found:
        close = difflib.get_close_matches(name, found, 1)
        hint = f"; did you mean '{close[0]}'?" if close else ""
        raise UserError(
            f"unknown baseline machine '{name}'{hint}",
            f"installed: {', '.join(sorted(found))}; a package adds one through the entry points '{GROUP}'",
        )
    make = cast("Callable[[], Baseline]", found[name].load())
    return make()
