"""IR text from strangers, looked over in one pass before it reaches the parser.

xDSL's parser takes time exponential in the length of a string that does not end, raises Python's own errors on numbers
of thousands of digits and on digits of other scripts, and recurses once or more for each bracket, as do the verifier,
the passes and the printer. None of that is left to them.
"""

from __future__ import annotations

import re

from isa.errors import UserError

MOST_CHARACTERS = 1 << 30
MOST_BRACKETS = 64
"""Brackets open at the same time."""
MOST_DIGITS = 250
"""Digits of a number: every integer that can be written is a finite double."""

# Possessive throughout: linear in the length of the text. The string is that of MLIR; its end may be missing.
_TOKEN = re.compile(
    r"""
      (?P<comment>//[^\n]*+)
    | (?P<string>"(?:[^"\\\n\v\f]++|\\(?:["nt\\]|[0-9A-Fa-f]{2}))*+"?+)
    | (?P<number>0x[0-9a-fA-F]++|[0-9]++)
    | (?P<sign>->|>=|<=)
    | (?P<open>[(\[{<])
    | (?P<close>[)\]}>])
    | (?P<foreign>[^\x00-\x7f])
    """,
    re.VERBOSE,
)


def check_text(text: str, name: str) -> None:
    """Raise UserError, naming file, line and column, if text is unfit for the parser."""
    if len(text) > MOST_CHARACTERS:
        raise UserError(f"{name}: {len(text)} characters of IR text; at most {MOST_CHARACTERS} are read")
    depth = 0
    for token in _TOKEN.finditer(text):
        kind = token.lastgroup
        if kind == "string":
            _check_string(token, name)
        elif kind == "number" and token.end() - token.start() > MOST_DIGITS:
            raise _fault(token, name, token.start(), f"a number has more than {MOST_DIGITS} digits")
        elif kind == "open":
            depth += 1
            if depth > MOST_BRACKETS:
                raise _fault(token, name, token.start(), f"more than {MOST_BRACKETS} brackets are open")
        elif kind == "close":
            depth = max(0, depth - 1)
        elif kind == "foreign":
            raise _fault(token, name, token.start(), f"character {token[0]!r} stands outside of a string")


def _check_string(token: re.Match[str], name: str) -> None:
    found, text = token[0], token.string
    if len(found) > 1 and found.endswith('"'):
        return
    following = text[token.end() : token.end() + 1]
    if following == "\\":
        raise _fault(token, name, token.end(), 'unknown escape in a string; known are \\\\, \\", \\n, \\t and \\XX')
    raise _fault(token, name, token.start(), "the string does not end on its line")


def _fault(token: re.Match[str], name: str, at: int, what: str) -> UserError:
    line = token.string.count("\n", 0, at) + 1
    column = at - token.string.rfind("\n", 0, at)
    return UserError(f"{name}:{line}:{column}: {what}", "the IR text does not parse")
