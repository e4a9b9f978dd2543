"""Values of options: the text of an argument to what it means, or one line of what was expected."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable

from passes.math.percentiles import LEAST_PERCENTILE

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20}


_LARGEST = (1 << 31) - 1
"""What every library that is handed an integer takes."""
_MOST_BYTES = 1 << 50
_MOST_THREADS = 1024
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)


def positive(text: str) -> int:
    """An integer of at least 1."""
    return _integer(text, 1, _LARGEST)


def natural(text: str) -> int:
    """An integer of at least 0."""
    return _integer(text, 0, _LARGEST)


def threads(text: str) -> int:
    """A number of threads."""
    return _integer(text, 1, _MOST_THREADS)


def _integer(text: str, least: int, most: int) -> int:
    wanted = "a positive integer" if least else "an integer not below 0"
    digits = text.lstrip("0") or "0" if text.isascii() and text.isdecimal() else ""
    if len(digits) > len(str(most)) or (digits and int(digits) > most):
        raise argparse.ArgumentTypeError(f"expected {wanted} of at most {most}, found '{text}'")
    if not digits or int(digits) < least:
        raise argparse.ArgumentTypeError(f"expected {wanted}, found '{text}'")
    return int(digits)


def above_zero(text: str) -> float:
    """A finite number above 0."""
    return _number(text, lambda x: 0 < x < math.inf, "a positive number")


def not_negative(text: str) -> float:
    """A finite number of at least 0."""
    return _number(text, lambda x: 0 <= x < math.inf, "a number not below 0")


def share(text: str) -> float:
    """A number between 0 and 1, without its ends."""
    return _number(text, lambda x: 0 < x < 1, "a number between 0 and 1")


def portion(text: str) -> float:
    """A number between 0 and 1, or one of them."""
    return _number(text, lambda x: 0 <= x <= 1, "a number from 0 to 1")


def percentile(text: str) -> float:
    """A number above `LEAST_PERCENTILE` and up to 100."""
    return _number(text, lambda x: LEAST_PERCENTILE < x <= 100, f"a number above {LEAST_PERCENTILE} and up to 100")


def byte_count(text: str) -> int:
    """Bytes, at least 1; K and M are 1024 and its square."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([KM]?)", text.upper())
    value = 0.0 if match is None else float(match[1]) * _UNITS[match[2]]
    if not 1 <= value <= _MOST_BYTES:
        raise argparse.ArgumentTypeError(f"expected a number of bytes such as 65536, 64K or 1.5M, found '{text}'")
    return int(value)


def numbers(text: str) -> tuple[float, ...]:
    """Finite numbers separated by commas."""
    parts = text.split(",")
    if not all(map(_DECIMAL.fullmatch, parts)):
        raise argparse.ArgumentTypeError(f"expected finite numbers separated by commas, found '{text}'")
    values = tuple(map(float, parts))
    if not all(map(math.isfinite, values)):
        raise argparse.ArgumentTypeError(f"expected finite numbers separated by commas, found '{text}'")
    return values


def divisors(text: str) -> tuple[float, ...]:
    """Finite numbers other than 0, separated by commas."""
    values = numbers(text)
    if 0 in values:
        raise argparse.ArgumentTypeError(f"expected divisors other than 0, found '{text}'")
    return values


def _number(text: str, accepted: Callable[[float], bool], wanted: str) -> float:
    value = float(text) if _DECIMAL.fullmatch(text) else math.nan
    if not accepted(value):
        raise argparse.ArgumentTypeError(f"expected {wanted}, found '{text}'")
    return value


def scheme(text: str) -> str:
    """Name of an installed compression scheme."""
    from passes.decomposition.scheme import scheme_names

    schemes = scheme_names()
    if text not in schemes:
        raise argparse.ArgumentTypeError(f"no scheme '{text}'; installed: {', '.join(schemes)}")
    return text


_SCHEME_OPTIONS: dict[str, tuple[str, Callable[[str], float]]] = {
    "basis": ("basis", positive),
    "planes": ("planes", positive),
    "rate": ("rate", not_negative),
    "cycle-rate": ("cycle_rate", not_negative),
}
"""Options of a scheme in a list of schemes: what the pipeline calls it, and what its value may be."""


def schemes(text: str) -> tuple[tuple[str, str, tuple[tuple[str, float], ...]], ...]:
    """Schemes separated by commas, each with options NAME=VALUE after colons: text, name and options of each.

    The word none stands for an empty list.
    """
    if text == "none":
        return ()
    found = [_scheme_with_options(part) for part in text.split(",")]
    if len({one[0] for one in found}) < len(found):
        raise argparse.ArgumentTypeError(f"expected different schemes, found '{text}'")
    return tuple(found)


def _scheme_with_options(text: str) -> tuple[str, str, tuple[tuple[str, float], ...]]:
    name, *options = text.split(":")
    scheme(name)
    found: list[tuple[str, float]] = []
    for option in options:
        key, _, value = option.partition("=")
        if key not in _SCHEME_OPTIONS:
            known = ", ".join(_SCHEME_OPTIONS)
            raise argparse.ArgumentTypeError(f"scheme '{name}' has no option '{key}'; requires one of {known}")
        field, parse = _SCHEME_OPTIONS[key]
        if key not in (read := _read_by(name)):
            raise argparse.ArgumentTypeError(
                f"scheme '{name}' does not read the option '{key}'; it reads {', '.join(read) or 'no option'}"
            )
        try:
            found.append((field, parse(value)))
        except argparse.ArgumentTypeError as error:
            raise argparse.ArgumentTypeError(f"option '{key}' of scheme '{name}': {error}") from None
    return text, name, tuple(found)


def _read_by(name: str) -> list[str]:
    """The options in a list of schemes that a scheme reads."""
    from passes.decomposition.scheme import general_options, load_scheme

    known = general_options(load_scheme(name))
    return [key for key, (field, _) in _SCHEME_OPTIONS.items() if field in known]


def folder(text: str) -> str:
    """The name of a folder, which may be made only later."""
    if not text:
        raise argparse.ArgumentTypeError("expected the name of a folder, found ''")
    return text


def input_shape(text: str) -> tuple[str, tuple[int, ...]]:
    """The name of an input, and its extents, each of at least 1."""
    name, equals, extents = text.rpartition("=")
    values = tuple(int(n) if n.isascii() and n.isdecimal() else 0 for n in extents.split(","))
    if not name or not equals or min(values) < 1 or max(values) >= 1 << 31:
        raise argparse.ArgumentTypeError(f"expected NAME=1,C,H,W with positive integers, found '{text}'")
    return name, values


def add_input_shape(parser: argparse.ArgumentParser) -> None:
    """Add `--input-shape`: pairs of names and shapes."""
    parser.add_argument(
        "--input-shape",
        type=input_shape,
        action="append",
        default=[],
        metavar="NAME=SHAPE",
        help="extents of an input that has dynamic ones, batch first; may be repeated (default: those that the model "
        "declares; example: --input-shape x=1,3,320,320)",
    )


def machines(text: str) -> tuple[str, ...]:
    """Names of installed baselines, separated by commas. The word none stands for an empty list."""
    from escc.baselines.registry import installed

    if text == "none":
        return ()
    known = installed()
    names = text.split(",")
    for name in names:
        if name not in known:
            raise argparse.ArgumentTypeError(f"no baseline '{name}'; installed: {', '.join(known)}")
    return tuple(dict.fromkeys(names))
