"""All baselines: those of the files beside this one, and those of other packages."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import cast

from escc import baselines
from escc.baselines.machine import Baseline
from isa import found
from isa.errors import UserError

Make = Callable[[], Baseline]

GROUP = "escc.baselines"
"""Entry points: the name of a baseline, and a function without arguments that makes it."""


def _own() -> dict[str, Make]:
    """What the files name in `BASELINES`: a function for the name of each baseline."""
    return {
        name: make
        for _, file in found.own(baselines, "BASELINES")
        for name, make in cast("Mapping[str, Make]", file).items()
    }


def installed() -> list[str]:
    """Names of all installed baselines, in alphabetical order."""
    return sorted({*_own(), *(point.name for point in found.points(GROUP))})


def load_baseline(name: str) -> Baseline:
    """The installed baseline of that name. Raises UserError listing those there are."""
    own, added = _own(), {point.name: point for point in found.points(GROUP)}
    if name in own:
        return own[name]()
    if name not in added:
        known = installed()
        close = difflib.get_close_matches(name, known, 1)
        hint = f"; did you mean '{close[0]}'?" if close else ""
        raise UserError(
            f"unknown baseline machine '{name}'{hint}",
            f"installed: {', '.join(known)}; a package adds one through the entry points '{GROUP}'",
        )
    return cast(Make, found.load(added[name], "baseline"))()
