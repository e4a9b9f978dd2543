"""What a notebook shows: tables and texts as HTML (`_repr_html_`), in styles that suit light and dark pages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import Any

from emulator.tables import TextTable
from isa.text import printable

_CELL = "padding:0.15em 0.7em;white-space:nowrap;font-variant-numeric:tabular-nums"
_RULE = "border-top:1px solid currentColor"
_LONG = re.compile(r"\b0x[0-9A-Fa-f]{64,}|^[0-9a-f]{64,}(?:\n[0-9a-f]+)*$", re.MULTILINE)
"""Digits of a large constant in IR text, and lines of them in assembly."""
_MOST_LINES = 400


class Stats(dict[str, Any]):
    """What one image costs, as `esc-emu --stats-json` writes it; a notebook shows it as `esc-emu --stats` does."""

    def _repr_html_(self) -> str:
        from emulator.report import summary, table

        return html_of_table(table(self)) + html_of_text("\n".join(summary(self)))


class SourceText(str):
    """Text of a program or of an IR level; a notebook shows it with large constants cut out, and not all of a long one.

    It is a `str` with the whole text, for all other purposes.
    """

    def _repr_html_(self) -> str:
        text = _LONG.sub(_shortened, self)
        lines = text.splitlines()
        rest = len(lines) - _MOST_LINES
        shown = lines[:_MOST_LINES] + ([f"... {rest:,} more lines"] if rest > 0 else [])
        return html_of_text("\n".join(shown))


def _shortened(match: re.Match[str]) -> str:
    digits = match[0].removeprefix("0x").replace("\n", "")
    return f"{match[0][:18]}... {len(digits) // 2:,} bytes"


def html_of_table(table: TextTable, caption: str = "") -> str:
    """The brief form of a table as markup; the units stand below the heads."""
    kept = [i for i, column in enumerate(table.columns) if column.shown(False)]
    columns = [table.columns[i] for i in kept]

    def cells(texts: Sequence[str], tag: str, style: str) -> str:
        parts = [
            f'<{tag} style="{_CELL};{style};text-align:{"left" if column.text else "right"}">{text}</{tag}>'
            for column, text in zip(columns, texts, strict=True)
        ]
        return f"<tr>{''.join(parts)}</tr>"

    heads = [safe(c.head) + (f"<br><small>{safe(c.unit)}</small>" if c.unit else "") for c in columns]
    rows = [cells([safe(row[i]) for i in kept], "td", "") for row in table.rows]
    total = [cells([safe(table.total[i]) for i in kept], "td", f"{_RULE};font-weight:bold")] if table.total else []
    title = f"<caption>{safe(caption)}</caption>" if caption else ""
    head = f"<thead>{cells(heads, 'th', '')}</thead>"
    return f'<table style="border-collapse:collapse">{title}{head}<tbody>{"".join([*rows, *total])}</tbody></table>'


def html_of_text(text: str) -> str:
    """Text in lines as markup."""
    lines = "\n".join(safe(line) for line in text.split("\n"))
    return f'<pre style="overflow-x:auto;line-height:1.35">{lines}</pre>'


def safe(text: str) -> str:
    """A text as markup that shows it, in an attribute too."""
    return escape(printable(text), quote=True)
