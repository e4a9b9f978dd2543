"""Accuracy against bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from escc.reports.vega import Chart, colours, finished


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
    rows = [{"name": p.name, "group": p.group, "kilobytes": p.nbytes / 1024, "top1": p.top1} for p in points]
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("kilobytes:Q", title="KB of weights", scale=alt.Scale(type="log"), axis=alt.Axis(tickCount=4)),
        y=alt.Y("top1:Q", title="top-1, %", scale=alt.Scale(zero=False)),
    )
    dots = base.mark_circle(size=75, opacity=0.9).encode(
        color=alt.Color("group:N", scale=colours(groups), legend=None),
        tooltip=[
            alt.Tooltip("name:N"),
            alt.Tooltip("top1:Q", title="top-1, %", format=".2f"),
            alt.Tooltip("kilobytes:Q", title="KB", format=",.1f"),
        ],
    )
    labels = base.mark_text(align="left", dx=7, fill="var(--ink)").encode(text="name:N")
    return Chart(title, text, finished(alt.layer(dots, labels), 300), groups)
