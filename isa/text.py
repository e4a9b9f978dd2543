"""Names and texts that strangers wrote, made safe to print and to store."""

from __future__ import annotations

import re

MOST_CHARACTERS = 2000
"""Longest line of a diagnostic."""

# The set is written out instead of asking `str.isprintable`, whose answer changes with the Unicode version of Python:
# the symbols of a binary must be the same bytes everywhere. Controls; invisible characters, also those that turn the
# direction of the text around; separators of lines; halves of surrogate pairs; characters that no text may hold.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\u3164\ud800-\udfff\ufdd0-\ufdef\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def printable(text: str) -> str:
    r"""The text on one line, with `\u001b` and the like in place of what a terminal obeys or does not show.

    Text that is safe stays as it is, so that applying the function again changes nothing; the result can be encoded.
    The escapes are those of TOML, and of JSON below U+10000.
    """
    return _UNSAFE.sub(_escape, text)


def clipped(text: str, most: int = MOST_CHARACTERS) -> str:
    """The printable text in at most `most` characters; what is too much is left out of the middle."""
    text = printable(text)
    if len(text) <= most:
        return text
    head = (most - 3) * 2 // 3
    return f"{text[:head]}...{text[head + 3 - most :]}"


def shortened(text: str, most: int) -> str:
    """The printable text in at most `most` characters, of which the end stays: names of nodes differ there."""
    text = printable(text)
    return text if len(text) <= most else "..." + text[len(text) - max(0, most - 3) :]


_MOST_SHOWN = 80
"""Characters of a value that does not fit."""


def shown(value: object) -> str:
    """A value that does not fit, on one line and not too long for one: of an array, its type and shape."""
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if shape is not None and dtype is not None:
        return f"{type(value).__name__} of {dtype}{list(shape)}"
    return clipped(" ".join(repr(value).split()), _MOST_SHOWN)


_PREFIXES = {-12: "p", -9: "n", -6: "u", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T"}


def quantity(value: float, unit: str, digits: int = 4) -> str:
    """A value with a unit and the prefix that leaves one to three digits before the point, such as 14.66 us."""
    magnitude = abs(value)
    power = 0
    if magnitude:
        fits = [p for p in _PREFIXES if magnitude >= 10.0**p * (1 - 0.5 * 10.0**-digits)]
        power = max(fits, default=min(_PREFIXES))
    scaled = value / 10.0**power
    before = len(str(int(abs(scaled) + 0.5 * 10.0 ** -(digits - 1)))) if magnitude else 1
    exact = float(value).is_integer() and power == 0
    text = f"{scaled:.{0 if exact else max(0, digits - before)}f}"
    return f"{text} {_PREFIXES[power]}{unit}"
