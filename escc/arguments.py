"""What the arguments of `escc.compile` may be, judged before anything is read."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from typing import Any, cast

from isa.errors import UserError
from isa.scalars import plain_number
from isa.target import Target
from isa.text import shown
from passes.math.percentiles import LEAST_PERCENTILE

_LEAST: Mapping[str, float] = {
    "samples": 1,
    "seed": 0,
    "basis": 1,
    "planes": 1,
    "max_bytes": 1,
    "max_cycles": 1,
    "tune": 1,
}
"""Least values of what is an integer; all other numbers are at least 0."""
LIMITS = ("max_drop", "max_bytes", "max_cycles", "max_energy")
"""Arguments of which one at most is given, in the order of `escc.compilation.budget_of`."""
_LARGEST = (1 << 31) - 1
"""What every library that is handed an integer takes."""
_MOST_BYTES = 1 << 50
_RANGES = ("mse", "minmax", "percentile")


def check_numbers(given: Mapping[str, object]) -> dict[str, Any]:
    """The numbers as Python's own int and float, by name.

    Raises UserError on numbers that the command line would refuse, and on more than one limit.
    """
    numbers = {name: plain_number(value) for name, value in given.items()}
    causes: list[str] = []
    for name, value in numbers.items():
        if value is None:
            continue
        whole = name in _LEAST
        least = _LEAST.get(name, 0)
        fits = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
        if not fits or not least <= cast(float, value) < math.inf:
            what = "an integer" if whole else "a number"
            causes.append(f"{name} is {shown(value)}; requires {what} of at least {least:g}")
        elif whole and cast(int, value) > (most := _MOST_BYTES if name == "max_bytes" else _LARGEST):
            causes.append(f"{name} is {shown(value)}; requires an integer of at most {most}")
    percentile = numbers["percentile"]
    # What is no number at all is among the causes already.
    if isinstance(percentile, int | float) and (0 <= percentile <= LEAST_PERCENTILE or 100 < percentile < math.inf):
        causes.append(f"percentile is {shown(percentile)}; requires a number above {LEAST_PERCENTILE} and up to 100")
    limits = [name for name in LIMITS if numbers[name] is not None]
    if len(limits) > 1:
        causes.append(f"{' and '.join(limits)} exclude each other; requires one limit")
    if causes:
        raise UserError(causes)
    return numbers


def check_kinds(
    scheme: object,
    target: object,
    scheme_options: object,
    input_shape: object,
    host_fallback: object,
    progress: object,
    how: object,
) -> None:
    """Raise UserError on arguments of another kind than their type says; all of them at once.

    `how` is the argument `range`.
    """
    by_input = isinstance(input_shape, Mapping)
    shapes = list(cast("Mapping[str, object]", input_shape).values()) if by_input else [input_shape]
    wanted = [
        ("scheme", scheme, isinstance(scheme, str), "the name of a scheme"),
        ("target", target, isinstance(target, str | os.PathLike | Target), "a name, a file or an escc.Target"),
        ("scheme_options", scheme_options, _are_options(scheme_options), "texts or numbers by the names of options"),
        ("input_shape", input_shape, all(s is None or _is_list(s) for s in shapes), "extents, or these by input"),
        ("host_fallback", host_fallback, isinstance(host_fallback, bool), "True or False"),
        ("range", how, how is None or (isinstance(how, str) and how in _RANGES), f"one of {', '.join(_RANGES)}"),
        ("progress", progress, progress is None or callable(progress), "a function of one text"),
    ]
    causes = [f"{name} is {shown(value)}; requires {what}" for name, value, fits, what in wanted if not fits]
    if causes:
        raise UserError(causes)


def check_images(mean: object, std: object, order: object) -> None:
    """Raise UserError on what does not say how an image becomes an input."""
    for name, values in (("image_mean", mean), ("image_std", std)):
        numbers = list(cast("Iterable[object]", values)) if _is_list(values) else None
        if numbers is None or not all(_is_number(x) and (x != 0 or name == "image_mean") for x in numbers):
            what = "finite numbers" if name == "image_mean" else "finite numbers, no divisor 0"
            raise UserError(f"{name} is {shown(values)}; requires {what}")
    if order not in ("rgb", "bgr", ""):
        raise UserError(f"channel_order is {shown(order)}; requires 'rgb' or 'bgr'")


def _are_options(value: object) -> bool:
    if not isinstance(value, Mapping):
        return value is None
    options = cast("Mapping[object, object]", value)
    texts = [plain_number(option) for option in options.values()]
    return all(isinstance(name, str) for name in options) and all(isinstance(x, str | int | float) for x in texts)


def _is_list(value: object) -> bool:
    return hasattr(value, "__iter__") and hasattr(value, "__len__") and not isinstance(value, str | bytes | Mapping)


def _is_number(value: object) -> bool:
    try:
        return not isinstance(value, str | bytes | bool) and math.isfinite(cast(float, value))
    except TypeError:
        return False
