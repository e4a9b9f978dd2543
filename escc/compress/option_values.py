"""Values of the options that a scheme alone knows, by name and as text: `SchemeOptions.own`."""

from __future__ import annotations

from collections.abc import Sequence

from isa.errors import UserError
from passes.decomposition.scheme import SchemeOptions


def number(options: SchemeOptions, name: str, default: int, most: int, least: int = 1) -> int:
    """An option that is a whole number. Raises UserError if it is not one between `least` and `most`."""
    text = options.own.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
        raise UserError(f"{name}={text}: requires a whole number from {least} to {most}", f"--scheme-option {name}=N")
    return int(text)


def choice(options: SchemeOptions, name: str, allowed: Sequence[str]) -> str:
    """An option that is a word, by default the first one. Raises UserError if it is not one of `allowed`."""
    text = options.own.get(name, allowed[0])
    if text not in allowed:
        raise UserError(f"{name}={text}: requires one of {', '.join(allowed)}", f"--scheme-option {name}={allowed[0]}")
    return text
