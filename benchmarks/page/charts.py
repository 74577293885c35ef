"""Specify the charts filled by the page's script: curves, small multiples, gain against cost."""

from __future__ import annotations

from typing import Any

from compat.errors import InputError

COSTS = {
    "passes": "encoder passes per query",
    "bytes": "bytes written per item",
    "seconds": "training of the new model and of the method (s)",
}
AGAINST = {  # the titles of the horizontal axis of curves
    "": "share of the gallery that is backfilled",
    "seconds": "seconds spent, in plain backfills",
    "million": "seconds spent, in plain backfills of 1 million items",
    "bytes": "bytes written, in plain backfills",
}
LABELS = 160  # pixels for the names at the ends of curves


def specifications() -> dict[str, Any]:
    """Return Vega-Lite specifications by name; data come in as the data set `rows`.

    Raises:
        InputError: Altair is not installed.
    """
    try:
        import altair as alt
    except ImportError as error:
        raise InputError("altair: not installed, expected it: pip install altair") from error

    fitted = alt.AutoSizeParams(type="fit", contains="padding")
    room = {"right": LABELS, "left": 4, "top": 8, "bottom": 4}
    single = _curves(alt, legend=False).properties(height=420, padding=room, autosize=fitted)
    panel = alt.Facet("panel:N", title=None, sort=None, header=alt.Header(labelLimit=280))
    multiples = (
        _curves(alt, legend=True)
        .properties(width=260, height=200)
        .facet(facet=panel, columns=3)
        .configure_legend(orient="bottom", columns=3, labelLimit=300, symbolType="circle", symbolOpacity=1, title=None)
    )
    return {
        "single": single.to_dict(),
        "legend": _curves(alt, legend=True).properties(height=420, autosize=fitted).to_dict(),
        "multiples": multiples.to_dict(),
        **{
            name: _cost(alt, name, title).properties(height=400, autosize=fitted).to_dict()
            for name, title in COSTS.items()
        },
    }


def _curves(alt: Any, legend: bool) -> Any:
    """Draw lines in bands with points to hover, dashed levels of both systems, names at the ends unless in a legend.

    Rows have kind: line (series, at, progress, mean, low, high, spread), level (series, mean) or end (series, at,
    place). They stand at the completion ratio, or at what is spent; the script then sets the title.
    """
    base = alt.Chart(alt.NamedData("rows"))
    names = (
        alt.Legend(orient="bottom", columns=2, title=None, symbolType="circle", symbolOpacity=1, labelLimit=300)
        if legend
        else None
    )
    color = alt.Color("series:N", sort=None, legend=names)  # its domain is set by the script, with the rows
    plain = alt.Color("series:N", sort=None, legend=None)
    x = alt.X("at:Q", title=AGAINST[""], axis=alt.Axis(format="%", tickCount=5))
    y = alt.Y("mean:Q", title=None, scale=alt.Scale(zero=False, nice=True))
    lines, levels = base.transform_filter("datum.kind == 'line'"), base.transform_filter("datum.kind == 'level'")
    band = lines.mark_area(opacity=0.16).encode(x, alt.Y("low:Q"), alt.Y2("high:Q"), color=color)
    dashes = alt.Scale(domain=[0, 1, 2], range=[[1, 0], [7, 3], [2, 2]])
    dash = alt.StrokeDash("dash:O", legend=None, scale=dashes)
    line = lines.mark_line(strokeWidth=2).encode(x, y, color=color, strokeDash=dash)
    tooltip = [
        alt.Tooltip("series:N", title="method"),
        alt.Tooltip("progress:Q", title="backfilled", format=".0%"),
        alt.Tooltip("shown:N", title="mean (%)"),
        alt.Tooltip("spread:N", title="lowest to highest"),
    ]
    point = lines.mark_point(filled=True, size=36, opacity=1).encode(x, y, color=color, tooltip=tooltip)
    level = levels.mark_rule(strokeDash=[6, 4], style="soft").encode(
        y, tooltip=[alt.Tooltip("shown:N", title="level (%)")]
    )
    named = levels.mark_text(align="left", baseline="bottom", dx=4, dy=-2, fontSize=11, style="soft").encode(
        x=alt.XDatum(0), y=y, text="series:N"
    )
    layers = [band, level, named, line, point]
    if not legend:
        ends = base.transform_filter("datum.kind == 'end'")
        end = ends.mark_text(align="left", baseline="middle", dx=10, fontSize=12).encode(
            alt.X("at:Q"), alt.Y("place:Q"), text="label:N", color=plain
        )
        layers.append(end)
    return alt.layer(*layers)


def _cost(alt: Any, field: str, title: str) -> Any:
    """Draw a point for each row of the leaderboard, the rows with curves in colour and named.

    Rows have series, gain, each cost, place (the cost, passes drawn apart), picked, label, label_place and flip.
    """
    passes = field == "passes"
    scale = alt.Scale(domain=[0.5, 2.75]) if passes else alt.Scale(type="log", nice=False, padding=24)
    axis = alt.Axis(values=[1, 2], format="d", grid=False) if passes else alt.Axis(format="~s", tickCount=6)
    base = alt.Chart(alt.NamedData("rows"))
    tooltip = [alt.Tooltip("series:N", title="method")]
    tooltip += [alt.Tooltip("gain:Q", title="relative gain (%)", format=".2f")]
    tooltip += [alt.Tooltip(f"{name}:Q", title=of_cost, format=",.0f") for name, of_cost in COSTS.items()]
    x = alt.X("place:Q", title=title, scale=scale, axis=axis)
    y = alt.Y("gain:Q", title=None, scale=alt.Scale(zero=False, padding=12))
    others = base.transform_filter("!datum.picked").mark_point(filled=True, size=50, opacity=0.45, style="soft")
    picked = base.transform_filter("datum.picked").mark_point(filled=True, size=110, opacity=1)
    color = alt.Color("series:N", sort=None, legend=None)
    shape = alt.Shape("passes:N", legend=None, scale=alt.Scale(domain=[1, 2], range=["circle", "square"]))
    beside = {"align": alt.expr("datum.flip ? 'right' : 'left'"), "dx": alt.expr("datum.flip ? -10 : 10")}
    name = base.transform_filter("datum.picked").mark_text(baseline="middle", fontSize=12, **beside)
    return alt.layer(
        others.encode(x, y, shape=shape, tooltip=tooltip),
        picked.encode(x, y, shape=shape, color=color, tooltip=tooltip),
        name.encode(x, alt.Y("label_place:Q"), text="label:N", color=color),
    )
