"""Stacked bars, one a layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from escc.reports.vega import PALETTE, Chart, colours, finished, names
from isa.text import clipped

_STEP = 17
"""Pixels of a bar and the gap below it."""
_NAME = 28
"""Characters of a name beside its bar; the tooltip has all of it."""
_TICK = "format(datum.value, abs(datum.value) < 1000 ? '~g' : '~s')"


def bars(
    title: str, text: str, layers: Sequence[str], parts: Mapping[str, Sequence[float]], unit: str, form: str = ",.0f"
) -> Chart:
    """A bar for each layer, of `parts` [layers] in this order; `form` is the d3 format of numbers in the tooltip.

    What colours do not suffice for is added up.
    """
    import altair as alt

    shown = names([clipped(layer, _NAME) for layer in layers])
    parts = _as_many_as_colours(parts)
    totals = [sum(values) for values in zip(*parts.values(), strict=True)]
    rows = [
        {"bar": bar, "layer": layer, "part": part, "rank": rank, "value": value, "total": total}
        for rank, (part, values) in enumerate(parts.items())
        for bar, layer, value, total in zip(shown, names(layers), values, totals, strict=True)
        if value
    ]
    chart = (
        alt.Chart(alt.Data(values=rows))
        .mark_bar()
        .encode(
            y=alt.Y("bar:N", title=None, axis=alt.Axis(labelLimit=180), scale=alt.Scale(domain=shown)),
            x=alt.X("value:Q", title=unit, axis=alt.Axis(labelExpr=_TICK, tickCount=5)),
            color=alt.Color("part:N", scale=colours(list(parts)), legend=None),
            order=alt.Order("rank:Q"),
            tooltip=[
                alt.Tooltip("layer:N"),
                alt.Tooltip("part:N"),
                alt.Tooltip("value:Q", title=unit, format=form),
                alt.Tooltip("total:Q", title="of", format=form),
            ],
        )
    )
    return Chart(title, text, finished(chart, _STEP * max(1, len(shown))), tuple(parts))


def _as_many_as_colours(parts: Mapping[str, Sequence[float]]) -> Mapping[str, Sequence[float]]:
    if len(parts) <= len(PALETTE):
        return parts
    kept = dict(list(parts.items())[: len(PALETTE) - 1])
    others = list(parts.values())[len(kept) :]
    return {**kept, f"{len(others)} others": [sum(values) for values in zip(*others, strict=True)]}
