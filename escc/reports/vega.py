"""The plotting library, loaded when a page is made: Vega-Altair builds charts, Vega in the page draws them.

Vega-Lite draws offline, and its SVG takes colours from the style sheet: dark and light need no second drawing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from emulator.display import safe
from isa.errors import UserError

if TYPE_CHECKING:
    import altair as alt

PALETTE = tuple(f"var(--c{i})" for i in range(20))
"""Colours of the style sheet: ten, and paler ones of the same hues."""


@dataclass(frozen=True)
class Chart:
    """A section that Vega draws; `legend`: what the first colours of `PALETTE` stand for."""

    title: str
    text: str
    spec: dict[str, Any]
    legend: tuple[str, ...]
    wide: bool = False

    def markup(self) -> str:
        """The legend, which wraps on a phone; Vega's own does not."""
        pairs = zip(PALETTE, self.legend, strict=False)
        items = "".join(f'<span><i style="background:{colour}"></i>{safe(name)}</span>' for colour, name in pairs)
        return f'<div class="legend">{items}</div>'


def require() -> None:
    """Raises UserError if the libraries of the extra `report` are not installed."""
    missing = [name for name in ("altair", "vl_convert") if find_spec(name) is None]
    if missing:
        raise UserError(
            f"an HTML report needs the library {missing[0]}", "in the clone of escc, run: pip install '.[report]'"
        )


def library() -> str:
    """JavaScript that draws charts, about 0.9 MB."""
    require()
    import vl_convert

    return re.sub(
        "</(?=script)", r"<\\/", vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"), flags=re.IGNORECASE
    )


def names(layers: Sequence[str]) -> list[str]:
    """Names made distinct: bars of the same name would be added up."""
    seen: dict[str, int] = {}
    found: list[str] = []
    for name in layers:
        seen[name] = seen.get(name, 0) + 1
        found.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return found


def colours(parts: Sequence[str]) -> alt.Scale:
    """A colour for each part, the same whichever of them occur; at most as many as `PALETTE` has."""
    import altair as alt

    return alt.Scale(domain=list(parts), range=list(PALETTE[: len(parts)]))


def finished(chart: alt.Chart | alt.LayerChart | alt.FacetChart, height: int) -> dict[str, Any]:
    """The specification, as wide as its place in the page; `height` in pixels."""
    config: dict[str, Any] = {
        "background": "transparent",
        "font": "inherit",
        "view": {"stroke": "transparent"},
        "axis": {
            "labelColor": "var(--ink)",
            "titleColor": "var(--soft)",
            "titleFontWeight": "normal",
            "gridColor": "var(--line)",
            "domainColor": "var(--line)",
            "tickColor": "var(--line)",
        },
    }
    found = chart.properties(width="container", height=height).to_dict()
    del found["$schema"]  # an address, in a page that needs no network
    return {**found, "config": config}
