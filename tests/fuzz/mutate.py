"""Seeded mutations of bytes, text and plain JSON values."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from typing import Any

NUMBERS = (
    *("0", "1", "2", "-1", "3", "7", "16", "63", "64", "65", "127", "128", "255", "256", "32767", "65535", "65536"),
    *("2147483647", "2147483648", "-2147483648", "4294967295", "4294967296", "99999999999", "9223372036854775807"),
    *("9223372036854775808", "18446744073709551615", "1" + "0" * 30, "9" * 5000, "1e400", "1e-45", "1e308", "-0.0"),
    *("0.5", "1.5", "nan", "inf", "-inf", "0x7fffffff", "0xffffffffff", "true", "1_000"),
)
STRINGS = (
    "",
    " ",
    "\x1b[31m",
    "\u202e",
    "é" * 300,
    "file",
    "../../x",
    "/etc/passwd",
    "a\nb",
    "%s{0}$(x)",
    "\\",
    '"',
    "\0",
)
_TOKEN = re.compile(r"[A-Za-z_][\w.]*|-?\d[\w.+]*|\s+|.", re.DOTALL)
_NUMBER = re.compile(r"(?<![\w.])-?\d[\w.]*(?:[eE][-+]?\d+)?")
_BOUNDARIES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_LARGEST = 1 << 20
"""Inputs do not grow beyond this many bytes."""


def times(rng: random.Random) -> int:
    """How many mutations to stack: mostly one, for most files bear no more before they are refused at the door."""
    return 1 if rng.random() < 0.6 else rng.randint(2, 5)


# Bytes ----------------------------------------------------------------------------------------------------------------


def mutate_bytes(rng: random.Random, data: bytes, other: bytes = b"", *, resize: bool = True) -> bytes:
    """Flip, overwrite, insert, delete, repeat, truncate or splice with `other`; keeps the length without `resize`."""
    result = bytearray(data)
    for _ in range(times(rng)):
        if not result:
            return bytes(rng.randbytes(rng.randint(0, 16)))
        at = rng.randrange(len(result))
        choice = rng.randrange(9 if resize else 4)
        if choice == 0:
            result[at] ^= 1 << rng.randrange(8)
        elif choice == 1:
            result[at] = rng.choice((0, 1, 0x20, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif choice == 2:
            size = min(rng.choice((2, 4, 8)), len(result) - at)
            value = rng.choice((*_BOUNDARIES, (1 << 64) - 1, rng.getrandbits(64))) & ((1 << 8 * size) - 1)
            result[at : at + size] = value.to_bytes(size, rng.choice(("little", "big")))
        elif choice == 3:
            size = min(rng.randint(1, 32), len(result) - at)
            start = rng.randrange(len(result) - size + 1)
            result[at : at + size] = result[start : start + size]
        elif choice == 4:
            result[at:at] = rng.randbytes(rng.randint(1, 16))
        elif choice == 5:
            del result[at : at + rng.choice((1, 2, 8, 64, len(result) // 4 + 1))]
        elif choice == 6:
            result[at:at] = result[at : at + rng.randint(1, 256)] * rng.choice((1, 2, 50))
        elif choice == 7:
            del result[at:]
        else:
            result[at:] = other[rng.randrange(len(other) + 1) :]
    return bytes(result[:_LARGEST])


# Text -----------------------------------------------------------------------------------------------------------------


def _replace_number(rng: random.Random, text: str) -> str:
    found = list(_NUMBER.finditer(text))
    if not found:
        return text
    match = rng.choice(found)
    return text[: match.start()] + _another_number(rng, match[0]) + text[match.end() :]


def _another_number(rng: random.Random, old: str) -> str:
    if rng.random() < 0.5 and re.fullmatch(r"-?\d{1,18}", old):
        value = int(old)
        return str(rng.choice((value + 1, value - 1, value * 2, value // 2, -value, value + 64, value * 1000)))
    return rng.choice(NUMBERS)


def _edit_line(rng: random.Random, text: str) -> str:
    lines = text.split("\n")
    at, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    choice = rng.randrange(4)
    if choice == 0:
        del lines[at]
    elif choice == 1:
        lines.insert(other, lines[at])
    elif choice == 2:
        lines[at], lines[other] = lines[other], lines[at]
    else:
        del lines[at : at + rng.randint(1, 6)]
    return "\n".join(lines)


def _edit_token(rng: random.Random, text: str) -> str:
    at = rng.randrange(len(text) + 1)
    start = max(0, at - 200)
    tokens = _TOKEN.findall(text[start : at + 200])
    if not tokens:
        return text
    one, two = rng.randrange(len(tokens)), rng.randrange(len(tokens))
    choice = rng.randrange(4)
    if choice == 0:
        del tokens[one]
    elif choice == 1:
        tokens.insert(two, tokens[one])
    elif choice == 2:
        tokens[one], tokens[two] = tokens[two], tokens[one]
    else:
        words = [t for t in tokens if t.strip()] or tokens
        tokens[one] = rng.choice(words)
    return text[:start] + "".join(tokens) + text[at + 200 :]


def _insert(rng: random.Random, text: str) -> str:
    at = rng.randrange(len(text) + 1)
    bracket = rng.choice("([{<")
    many = (bracket * 4000, "[1," * 3000, "a" * 70000, "-" * 3000, '"' + "\\" * 31, '"' + "a" * 60)
    return text[:at] + rng.choice((*STRINGS, *many, rng.choice("()[]{}<>\"'!#%@:=,.-?|;\\"))) + text[at:]


def _truncate(rng: random.Random, text: str) -> str:
    return text[: rng.randrange(len(text) + 1)]


def _splice(rng: random.Random, text: str, other: str) -> str:
    lines, more = text.split("\n"), other.split("\n")
    at, start = rng.randrange(len(lines) + 1), rng.randrange(len(more))
    lines[at:at] = more[start : start + rng.randint(1, 8)]
    return "\n".join(lines)


def mutate_text(rng: random.Random, text: str, other: str = "") -> str:
    """Replace numbers, edit lines and tokens, insert trouble, truncate, splice lines of `other`."""
    kinds: Sequence[Callable[[random.Random, str], str]] = (
        *(_replace_number,) * 5,
        *(_edit_line,) * 3,
        *(_edit_token,) * 3,
        _insert,
        _truncate,
        lambda rng, text: _splice(rng, text, other),
    )
    for _ in range(times(rng)):
        text = rng.choice(kinds)(rng, text)
    return text[:_LARGEST]


# JSON -----------------------------------------------------------------------------------------------------------------


def mutate_json(rng: random.Random, value: Any) -> Any:
    """A copy of a plain JSON value with one part changed, removed or repeated."""
    if isinstance(value, dict) and value and rng.random() < 0.95:
        key = rng.choice(sorted(value))
        return {**value, key: mutate_json(rng, value[key])}
    if isinstance(value, list) and value and rng.random() < 0.95:
        at = rng.randrange(len(value))
        changed = mutate_json(rng, value[at])
        return [*value[:at], *rng.choice(([changed], [changed], [changed], [], [changed, value[at]])), *value[at + 1 :]]
    return _another_value(rng, value)


def _another_value(rng: random.Random, value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        near = (value + 1, value - 1, value * 2, value // 2, -value)
        return rng.choice((*near, 0, 1, -1, 255, 65536, 1 << 31, 1 << 40, (1 << 63) - 1))
    if isinstance(value, float):
        return rng.choice((0.0, -value, value * 2, 1e-45, 1e-300, 1e300, 3.4e38, value * 1e30))
    if isinstance(value, str):
        return rng.choice((*STRINGS, value + value, value[:-1]))
    return rng.choice((None, 0, "", [], {}))
