"""All baselines: those of the files beside this one, and those of other packages."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import cast

from escc import baselines
from escc.baselines.machine import Baseline, BaselineMachine
from isa import found
from isa.amounts import is_amount
from isa.errors import UserError
from isa.found import AnswerError

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
    """The installed baseline of that name.

    Raises UserError listing those there are, or if it is there twice, or if that of another package is none.
    """
    own, added = _own(), {point.name: point for point in found.points(GROUP)}
    if name in own and name in added:
        raise UserError(
            f"two baselines have the name '{name}', that of escc and '{added[name].value}'", found.mend(GROUP, name)
        )
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
    make = found.load(added[name], "baseline")
    machine = cast(Make, make)() if callable(make) else make
    if not isinstance(machine, Baseline):
        raise UserError(
            f"the baseline '{name}' (entry point group '{GROUP}') is of type {type(machine).__name__}; "
            "requires a function that makes a BaselineMachine or BaselineCosts",
            f"mend or uninstall {found.package(added[name])}",
        )
    if isinstance(machine, BaselineMachine) and not is_amount(machine.multipliers):
        raise AnswerError(
            machine, f"multipliers of the baseline '{name}' are {machine.multipliers!r}; requires a number"
        )
    return machine
