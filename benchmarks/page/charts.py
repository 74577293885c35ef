"""Specifications of the charts that the page's script fills with rows: curves, small multiples, gain against cost."""

from __future__ import annotations

from typing import Any

from compat.errors import InputError

COSTS = {
    "passes": "encoder passes per query",
    "bytes": "bytes written per item",
    "seconds": "training of the new model and of the method (s)",
}
LABELS = 160  # pixels for the names at the ends of curves


def specifications() -> dict[str, Any]:
    """By name, of Vega-Lite; data come in as the data set `rows`.

    Raises:
        InputError: Altair is not installed.
    """
    try:
        import altair as alt
    except ImportError as error:
        raise InputError("altair: not installed, expected it: pip install altair") from error

    single = _curves(alt, legend=False).properties(height=420, padding={"right": LABELS, "left": 4, "top": 8, "bottom": 4})
    panel = alt.Facet("panel:N", title=None, sort=None, header=alt.Header(labelLimit=280))
    multiples = (
        _curves(alt, legend=True)
        .properties(width=260, height=200)
        .facet(facet=panel, columns=3)
        .configure_legend(orient="bottom", columns=3, labelLimit=300, symbolType="stroke", title=None)
    )
    return {
        "single": single.to_dict(),
        "legend": _curves(alt, legend=True).properties(height=340).to_dict(),
        "multiples": multiples.to_dict(),
        **{name: _cost(alt, name, title).to_dict() for name, title in COSTS.items()},
    }


def _curves(alt: Any, legend: bool) -> Any:
    """Lines in bands with points to hover, dashed levels of old and new system, names at the ends unless in a legend.

    Rows have kind: line (series, progress, mean, low, high, spread), level (series, mean) or end (series, place).
    """
    base = alt.Chart(alt.NamedData("rows"))
    names = alt.Legend(orient="bottom", columns=2, title=None, symbolType="stroke", labelLimit=300) if legend else None
    color = alt.Color("series:N", sort=None, legend=names)
    x = alt.X("progress:Q", title="share of the gallery that is backfilled", axis=alt.Axis(format="%", tickCount=5))
    y = alt.Y("mean:Q", title=None, scale=alt.Scale(zero=False, nice=True))
    lines, levels = base.transform_filter("datum.kind == 'line'"), base.transform_filter("datum.kind == 'level'")
    band = lines.mark_area(opacity=0.16).encode(x, alt.Y("low:Q"), alt.Y2("high:Q"), color=color)
    dash = alt.StrokeDash("series:N", sort=None, legend=None)
    line = lines.mark_line(strokeWidth=2).encode(x, y, color=color, strokeDash=dash)
    tooltip = [
        alt.Tooltip("series:N", title="method"),
        alt.Tooltip("progress:Q", title="backfilled", format=".0%"),
        alt.Tooltip("shown:N", title="mean (%)"),
        alt.Tooltip("spread:N", title="lowest to highest"),
    ]
    point = lines.mark_point(filled=True, size=36, opacity=1).encode(x, y, color=color, tooltip=tooltip)
    level = levels.mark_rule(strokeDash=[6, 4], style="soft").encode(y, tooltip=[alt.Tooltip("shown:N", title="level (%)")])
    named = levels.mark_text(align="left", baseline="bottom", dx=4, dy=-2, fontSize=11, style="soft").encode(
        x=alt.XDatum(0), y=y, text="series:N"
    )
    layers = [band, level, named, line, point]
    if not legend:
        ends = base.transform_filter("datum.kind == 'end'")
        end = ends.mark_text(align="left", baseline="middle", dx=10, fontSize=12).encode(
            alt.X("progress:Q"), alt.Y("place:Q"), text="label:N", color=color
        )
        layers.append(end)
    return alt.layer(*layers)


def _cost(alt: Any, field: str, title: str) -> Any:
    """A point for each row of the leaderboard, those that are drawn as curves in colour and named."""
    scale = alt.Scale(type="linear" if field == "passes" else "log", nice=False, padding=24)
    axis = alt.Axis(tickMinStep=1, format="d", grid=False) if field == "passes" else alt.Axis(format="~s", tickCount=6)
    base = alt.Chart(alt.NamedData("rows"))
    tooltip = [alt.Tooltip("series:N", title="method")]
    tooltip += [alt.Tooltip("gain:Q", title="relative gain (%)", format=".2f")]
    tooltip += [alt.Tooltip(f"{name}:Q", title=of_cost, format=",.0f") for name, of_cost in COSTS.items()]
    shared = {
        "x": alt.X(f"{field}:Q", title=title, scale=scale, axis=axis),
        "y": alt.Y("gain:Q", title=None, scale=alt.Scale(zero=False, padding=12)),
    }
    others = base.transform_filter("!datum.picked").mark_point(filled=True, size=60, opacity=0.45, style="soft")
    picked = base.transform_filter("datum.picked").mark_point(filled=True, size=110, opacity=1)
    color = alt.Color("series:N", sort=None, legend=None)
    shape = alt.Shape("passes:N", legend=None, scale=alt.Scale(domain=[1, 2], range=["circle", "square"]))
    names = base.transform_filter("datum.picked").mark_text(align="left", dx=9, baseline="middle").encode(
        **shared, text="series:N", color=color
    )
    return alt.layer(
        others.encode(**shared, shape=shape, tooltip=tooltip),
        picked.encode(**shared, shape=shape, color=color, tooltip=tooltip),
        names,
    ).properties(height=380)
