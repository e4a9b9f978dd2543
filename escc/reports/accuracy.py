"""Accuracy against bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

from escc.reports.vega import Chart, colours, finished
from isa.elementary import log
from isa.text import clipped

_NAME = 24
"""Characters of a name beside its dot; the tooltip has all names."""
_LINE = 12
"""Pixels from a label to that below it."""
_DOTS = 265
"""Pixels from the highest dot to the lowest one, about."""
_NEAR = 0.35
"""Share of the axis of bytes within which labels on one side of their dots would lie on each other. Labels of dots in
different halves point towards each other, and on a phone they meet.
"""
_MARGIN = 1.25
"""Factor by which the axis of bytes goes beyond the dots, beside a quarter of their own span."""


@dataclass(frozen=True)
class Measured:
    """Top-1 in percent of a network that takes so many bytes; `group` colours it."""

    name: str
    group: str
    nbytes: float
    top1: float


def accuracy(title: str, text: str, points: Sequence[Measured]) -> Chart | None:
    """A dot for each measurement, None if there is none."""
    import altair as alt

    if not points:
        return None
    groups = tuple(dict.fromkeys(p.group for p in points))
    rows = _rows(points)
    sizes = [row["kilobytes"] for row in rows]
    beyond = _MARGIN * sqrt(sqrt(max(sizes) / min(sizes)))
    scale = alt.Scale(type="log", nice=False, domain=[min(sizes) / beyond, max(sizes) * beyond])
    x = alt.X("kilobytes:Q", title="kB of weights", scale=scale, axis=alt.Axis(tickCount=4, format="~s"))
    y = alt.Y("top1:Q", title="top-1, %", scale=alt.Scale(zero=False))
    dots = (
        alt.Chart(alt.Data(values=rows))
        .encode(x=x, y=y)
        .mark_circle(size=75, opacity=0.9)
        .encode(
            color=alt.Color("group:N", scale=colours(groups), legend=None),
            tooltip=[
                alt.Tooltip("name:N"),
                alt.Tooltip("top1:Q", title="top-1, %", format=".2f"),
                alt.Tooltip("kilobytes:Q", title="kB", format=",.1f"),
            ],
        )
    )
    labels = [
        alt.Chart(alt.Data(values=side))
        .mark_text(align="right" if high else "left", dx=-8 if high else 8, dy=_LINE * line, fill="var(--ink)")
        .encode(x=x, y=y, text="label:N")
        for high, line in sorted({(row["high"], row["line"]) for row in rows})
        for side in [[row for row in rows if (row["high"], row["line"]) == (high, line)]]
    ]
    return Chart(title, text, finished(alt.layer(dots, *labels), 300), groups)


def _rows(points: Sequence[Measured]) -> list[dict[str, Any]]:
    """A row for each dot: systems that measure the same share one.

    `high`: the dot lies in the upper half of the axis of bytes; `line`: how many lines below it its label stands, above
    it if negative.
    """
    same: dict[tuple[str, float, float], list[str]] = {}
    for p in points:
        same.setdefault((p.group, p.nbytes, p.top1), []).append(p.name)
    sizes = [p.nbytes for p in points]
    middle = sqrt(min(sizes) * max(sizes))
    rows: list[dict[str, Any]] = [
        {
            "name": ", ".join(names),
            "label": clipped(names[0], _NAME) + (f" and {len(names) - 1} more" if len(names) > 1 else ""),
            "group": group,
            "kilobytes": nbytes / 1e3,
            "top1": top1,
            "high": nbytes > middle,
        }
        for (group, nbytes, top1), names in same.items()
    ]
    wide = float(log(max(sizes) / min(sizes))) or 1.0
    tall = max(p.top1 for p in points) - min(p.top1 for p in points) or 1.0
    for number, row in enumerate(rows):
        beside = [
            other["line"] * _LINE - other["top1"] / tall * _DOTS
            for other in rows[:number]
            if other["high"] != row["high"] or abs(log(other["kilobytes"] / row["kilobytes"])) < _NEAR * wide
        ]
        at = -row["top1"] / tall * _DOTS
        lines = sorted(range(-len(rows), len(rows) + 1), key=lambda line: (abs(line), -line))
        row["line"] = next(n for n in lines if all(abs(at + n * _LINE - y) >= _LINE - 1 for y in beside))
    return rows
