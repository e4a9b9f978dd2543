"""A page: a title, cards with the most important numbers, and sections, in one file that needs no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from emulator.display import safe
from escc.reports.style import SCRIPT, STYLE
from escc.reports.vega import library
from isa.jsonform import published

# Nothing of the page may reach out, whatever a name in it says; Vega compiles its expressions to functions.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline' 'unsafe-eval'; img-src data:"


@dataclass(frozen=True)
class Card:
    """A number, ready to show, and what it is."""

    value: str
    label: str


class Section(Protocol):
    """A part of a page with a title, a caption and markup; `wide`: it takes the whole width.

    `spec` is the Vega-Lite specification of a chart that is drawn under the markup, None for the other parts.
    """

    @property
    def title(self) -> str: ...

    @property
    def text(self) -> str: ...

    @property
    def wide(self) -> bool: ...

    @property
    def spec(self) -> dict[str, Any] | None: ...

    def markup(self) -> str:
        """Safe HTML."""
        ...


@dataclass(frozen=True)
class Page:
    """A report; all texts are plain, those of strangers included."""

    title: str
    subtitle: str
    cards: Sequence[Card]
    sections: Sequence[Section]

    def html(self) -> str:
        """The page with all that it needs. Raises UserError if the plotting library is not installed."""
        specs = [section.spec for section in self.sections if section.spec is not None]
        charts = published(specs).replace("<", "\\u003c")
        cards = "".join(
            f'<div class="card"><b>{safe(c.value)}</b><span>{safe(c.label)}</span></div>' for c in self.cards
        )
        return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{safe(self.title)} - escc</title><style>{STYLE}</style></head>
<body><header><h1>{safe(self.title)}</h1><p>{safe(self.subtitle)}</p></header>
<div class="cards">{cards}</div>
<main>
{self._sections()}
</main>
<script type="application/json" id="charts">{charts}</script>
<script id="library">{library()}</script>
<script>{SCRIPT}</script></body></html>
"""

    def _sections(self) -> str:
        parts: list[str] = []
        number = 0
        for section, wide in zip(self.sections, self._widths(), strict=True):
            body = section.markup()
            if section.spec is not None:
                body += f'<div class="chart" id="chart-{number}"></div>'
                number += 1
            text = f"<p>{safe(section.text)}</p>" if section.text else ""
            kind = ' class="wide"' if wide else ""
            parts.append(f"<section{kind}><h2>{safe(section.title)}</h2>{text}{body}</section>")
        return "\n".join(parts)

    def _widths(self) -> list[bool]:
        """Whether each section takes the whole width: one that would stand alone in its row does."""
        wide: list[bool] = []
        beside = False  # the section before this one waits for a neighbour
        for section in self.sections:
            if section.wide and beside:
                wide[-1] = True
            beside = not section.wide and not beside
            wide.append(section.wide)
        if beside:
            wide[-1] = True
        return wide
