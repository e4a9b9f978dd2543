"""Tables that a reader sorts by a click on a column's head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from emulator.display import safe


@dataclass(frozen=True)
class Column:
    """Head of a column; `form` is the format of its numbers, None for texts. `tip` explains it."""

    name: str
    form: str | None = None
    tip: str = ""


Value = float | int | str | None


@dataclass(frozen=True)
class Table:
    """Rows of values, a line of totals below; None is shown as a dash and sorts last. `tips`: of the first cells."""

    title: str
    text: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Value]]
    totals: Sequence[Value] = ()
    tips: Sequence[str] = ()
    wide: bool = True
    spec: dict[str, Any] | None = field(default=None, init=False)

    def markup(self) -> str:
        """The table in a box that scrolls."""
        head = "".join(self._head(column) for column in self.columns)
        tips = self.tips or [""] * len(self.rows)
        body = "\n".join(f"<tr>{self._cells(row, tip)}</tr>" for row, tip in zip(self.rows, tips, strict=True))
        foot = f"<tfoot><tr>{self._cells(self.totals)}</tr></tfoot>" if self.totals else ""
        return f'<div class="scroll"><table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody>{foot}</table></div>'

    @staticmethod
    def _head(column: Column) -> str:
        kind = "" if column.form else ' class="text"'
        tip = f' title="{safe(column.tip)}"' if column.tip else ""
        return f'<th scope="col"{kind}><button type="button"{tip}>{safe(column.name)}</button></th>'

    def _cells(self, row: Sequence[Value], tip: str = "") -> str:
        cells: list[str] = []
        for column, value in zip(self.columns, row, strict=True):
            shown = "–" if value is None else value if isinstance(value, str) else format(value, column.form or "")
            kind = "" if column.form else ' class="text"'
            title = f' title="{safe(tip)}"' if tip and not cells else ""
            cells.append(f'<td{kind} data-key="{safe(str("" if value is None else value))}"{title}>{safe(shown)}</td>')
        return "".join(cells)
