"""Stacked bars, one a layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from escc.reports.vega import Chart, colours, finished, names

_STEP = 17
"""Pixels of a bar and the gap below it."""


def bars(
    title: str, text: str, layers: Sequence[str], parts: Mapping[str, Sequence[float]], unit: str, form: str = ",.0f"
) -> Chart:
    """A bar for each layer, of `parts` [layers] in this order; `form` is the d3 format of numbers in the tooltip."""
    import altair as alt

    shown = names(layers)
    totals = [sum(values) for values in zip(*parts.values(), strict=True)]
    rows = [
        {"layer": layer, "part": part, "rank": rank, "value": value, "total": total}
        for rank, (part, values) in enumerate(parts.items())
        for layer, value, total in zip(shown, values, totals, strict=True)
        if value
    ]
    chart = (
        alt.Chart(alt.Data(values=rows))
        .mark_bar()
        .encode(
            y=alt.Y("layer:N", title=None, axis=alt.Axis(labelLimit=150), scale=alt.Scale(domain=shown)),
            x=alt.X("value:Q", title=unit, axis=alt.Axis(format="~s", tickCount=5)),
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
