"""Tables for a terminal: as wide as asked for, and styled only where somebody reads them on a terminal."""

from __future__ import annotations

import io
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from isa.text import printable, shortened

WIDTH = 80
"""Columns of text that a table takes where nobody asks for all of it."""
_LEAST_NAME = 14
"""Characters that a name keeps, however narrow the table."""
_GAP = 2
_QUANTITY, _TIE = re.compile(r"(?<=\d) (?=[A-Za-z%]+\b|%)"), "\0"
"""The space between a number and its unit, at which no line breaks."""

Row: TypeAlias = Sequence[str]


@dataclass(frozen=True)
class TextColumn:
    """A column: its head, the unit below that, and whether it holds texts. `only` is "brief" or "wide" if the column
    stands in one of the two forms of a table alone.
    """

    head: str
    unit: str = ""
    text: bool = False
    only: str = ""

    def shown(self, wide: bool) -> bool:
        """Whether a table of this form has the column."""
        return self.only != ("brief" if wide else "wide")


@dataclass(frozen=True)
class TextTable:
    """Rows of texts, the first column names; `total`: a last row apart, if any."""

    columns: Sequence[TextColumn]
    rows: Sequence[Row]
    total: Row = field(default=())

    def lines(self, wide: bool = False) -> list[str]:
        """The table without styles: all columns and whole names if `wide`, else names as `width()` has room."""
        return _drawn(self, wide, styled=False)

    def shown(self, wide: bool = False) -> list[str]:
        """The same with bold heads and totals if standard output is a terminal that shows such."""
        return _drawn(self, wide, styled=on_terminal())


def on_terminal() -> bool:
    """Whether standard output is a terminal, and the user has not asked for plain text."""
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def width() -> int:
    """Characters of a line: those of the terminal where it has more than 80."""
    return max(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns) if sys.stdout.isatty() else WIDTH


def _drawn(table: TextTable, wide: bool, styled: bool) -> list[str]:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    kept = [i for i, column in enumerate(table.columns) if column.shown(wide)]
    rows = [[printable(row[i]) for i in kept] for row in (*table.rows, *([table.total] if table.total else ()))]
    columns = [table.columns[i] for i in kept]
    widths = [_width_of([c.head, c.unit, *(row[i] for row in rows)]) for i, c in enumerate(columns)]
    limit = 10**6 if wide else width()
    room = limit - sum(widths[1:]) - _GAP * (len(widths) - 1)
    name = max(_LEAST_NAME, min(widths[0], room))
    units = any(c.unit for c in columns)
    edges = box.Box("    \n    \n -- \n    \n -- \n -- \n    \n    \n", ascii=True)
    drawn = Table(box=edges, show_edge=False, padding=(0, _GAP - 1, 0, 0), pad_edge=False, header_style="bold")
    for column in columns:
        head = f"{column.head}\n{column.unit}" if units else column.head
        drawn.add_column(Text(head), justify="left" if column.text else "right", no_wrap=False, overflow="fold")
    last = len(rows) - 1 if table.total else len(rows)
    for number, row in enumerate(rows):
        cells = [Text(shortened(row[0], name)), *map(Text, row[1:])]
        drawn.add_row(*cells, style="bold" if number == last else None, end_section=number == last - 1)
    stream = io.StringIO()
    Console(
        file=stream,
        width=limit,
        force_terminal=styled,
        no_color=not styled,
        color_system="standard" if styled else None,
    ).print(drawn)
    return [line.rstrip() for line in stream.getvalue().rstrip("\n").split("\n")]


def _width_of(texts: Sequence[str]) -> int:
    return max(map(len, texts))


def paragraph(title: str, text: str, indent: int, wide: bool = False) -> list[str]:
    """Lines `title text`, of which all begin `indent` characters from the left; one line if `wide`."""
    head, room = title.ljust(indent), width() - indent
    whole = _QUANTITY.sub(_TIE, text)
    parts = [text] if wide else textwrap.wrap(whole, room, break_long_words=False, break_on_hyphens=False)
    return [f"{head if i == 0 else ' ' * indent}{part.replace(_TIE, ' ')}" for i, part in enumerate(parts)]
