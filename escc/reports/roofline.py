"""Roofline: how much every layer computes in a cycle, against what the DRAM lets it compute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from escc.reports.vega import Chart, colours, finished, names

if TYPE_CHECKING:
    import altair as alt


@dataclass(frozen=True)
class Point:
    """A layer: multiply-accumulates of the undecomposed layer, DRAM bytes, cycles, its lower bound and what binds."""

    layer: str
    macs: float
    nbytes: float
    cycles: float
    bound: float
    binding: str


TEXT = (
    "Each dot is a layer with multiply-accumulates (MAC): to the right, more of them for each byte of DRAM; upwards, "
    "more in each cycle. The line above a dot ends at the layer's own lower bound, and the colour names what binds it. "
    "The dashed roof is that of a dense machine with the same multipliers: a decomposed layer may rise "
    "above its flat part."
)


def roofline(
    points: Sequence[Point], multipliers: float, bytes_per_cycle: float, bindings: Sequence[str]
) -> Chart | None:
    """The chart on logarithmic axes, None if no layer multiplies; `bindings`: every name of a bound, for its colour."""
    import altair as alt

    usable = [p for p in points if min(p.macs, p.nbytes, p.cycles, p.bound) > 0]
    if not usable:
        return None
    rows: list[dict[str, Any]] = [
        {
            "layer": name,
            "intensity": p.macs / p.nbytes,
            "rate": p.macs / p.cycles,
            "limit": p.macs / p.bound,
            "share": p.bound / p.cycles,
            "binding": p.binding,
        }
        for name, p in zip(names([p.layer for p in usable]), usable, strict=True)
    ]
    knee = multipliers / bytes_per_cycle
    ends = [*(row["intensity"] for row in rows), knee]
    low, high = min(ends) / 2, max(ends) * 2
    roof = [{"intensity": x, "rate": min(multipliers, x * bytes_per_cycle)} for x in (low, knee, high)]
    axis, scale = alt.Axis(tickCount=4), alt.Scale(type="log", nice=False, domain=[low, high])
    x = alt.X("intensity:Q", title="MAC per DRAM byte", scale=scale, axis=axis)
    y = alt.Y("rate:Q", title="MAC per cycle", scale=alt.Scale(type="log"), axis=axis)
    line = alt.Chart(alt.Data(values=roof)).mark_line(color="var(--soft)", strokeDash=[5, 4]).encode(x=x, y=y)
    chart = alt.layer(line, *_layers(rows, x, y, bindings))
    return Chart("Roofline", TEXT, finished(chart, 360), tuple(bindings), wide=True)


def _layers(rows: Sequence[dict[str, Any]], x: alt.X, y: alt.Y, bindings: Sequence[str]) -> list[alt.Chart]:
    import altair as alt

    base = alt.Chart(alt.Data(values=list(rows)))
    colour = alt.Color("binding:N", scale=colours(bindings), legend=None)
    dots = base.mark_circle(size=75, opacity=0.9).encode(
        x=x,
        y=y,
        color=colour,
        tooltip=[
            alt.Tooltip("layer:N"),
            alt.Tooltip("binding:N", title="bound by"),
            alt.Tooltip("share:Q", title="bound / active cycles", format=".1%"),
            alt.Tooltip("rate:Q", title="MAC per cycle", format=",.4~g"),
            alt.Tooltip("limit:Q", title="at its bound", format=",.4~g"),
            alt.Tooltip("intensity:Q", title="MAC per DRAM byte", format=",.4~g"),
        ],
    )
    return [base.mark_rule(opacity=0.7).encode(x=x, y=y, y2=alt.Y2("limit:Q"), color=colour), dots]
