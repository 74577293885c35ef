"""Diagrams of methods compared over several data sets: each figure with its interval, and the mean."""

from __future__ import annotations

from typing import Any

from benchmarks.html import Chart
from benchmarks.tables.ranks import cells, headings
from compat.errors import InputError
from compat.ranks import MethodRanking
from compat.statistics import Interval, over_seeds

EQUAL, TOLD = "not told from the reference", "told from it"


def diagram(name: str, found: MethodRanking) -> Chart:
    """Draw each method's mean over the folders with its interval, the best on top, and small marks for each folder.

    Raises:
        InputError: Altair is not installed.
    """
    table = [[row.name, row.needs, *cells(row, found)] for row in (*found.ranked, *found.others)]
    columns = ["method", "needs", *headings(found)]
    return Chart(f"ranks-{name}", name.replace("_", " "), description(found), specification(found), columns, table)


def description(found: MethodRanking) -> str:
    """Describe the diagram in words."""
    return (
        f"{len(found.ranked)} methods by {found.metric.label} over {', '.join(found.blocks)}: "
        f"{found.ranked[0].name} has the best mean, {found.ranked[-1].name} the worst. Large marks are means over the "
        "data sets with intervals of a hierarchical bootstrap, small ones the data sets with intervals over trainings. "
        f"The reference is {found.reference}."
    )


def specification(found: MethodRanking) -> dict[str, Any]:
    """Return the Vega-Lite specification."""
    try:
        import altair as alt
    except ImportError as error:
        raise InputError("altair: not installed, expected it: pip install altair") from error

    names = [row.name for row in found.ranked]
    look = alt.Axis(labelLimit=220, grid=True, ticks=False, domain=False)
    y = alt.Y("method:N", sort=None, scale=alt.Scale(domain=names), title=None, axis=look)
    scale = alt.Scale(zero=False)
    x = alt.X("figure:Q", title=f"{found.metric.label} (%)", scale=scale)
    low, high = alt.X("low:Q", scale=scale, title=f"{found.metric.label} (%)"), alt.X2("high:Q")
    legend = alt.Legend(orient="bottom", title=None, columns=1)
    color = alt.Color("told:N", sort=None, scale=alt.Scale(domain=[EQUAL, TOLD]), legend=legend)
    shape = alt.Shape("folder:N", sort=None, legend=legend)
    tooltip = [alt.Tooltip("figure:Q", format=".1f"), alt.Tooltip("interval:N", title="95 %")]
    mean, each = alt.Chart(alt.Data(values=means(found))), alt.Chart(alt.Data(values=places(found)))
    layers = [
        each.mark_rule(opacity=0.5, style="ink").encode(low, high, y=y),
        each.mark_point(size=30, strokeWidth=1.2, opacity=0.8, style="ink").encode(
            x, y, shape=shape, tooltip=["method:N", "folder:N", *tooltip]
        ),
        mean.mark_rule(strokeWidth=3).encode(low, high, y=y, color=color),
        mean.mark_point(filled=True, size=90, opacity=1).encode(
            x, y, color=color, tooltip=["method:N", *tooltip, "needs:N"]
        ),
    ]
    fitted = alt.AutoSizeParams(type="fit-x", contains="padding")
    return dict(
        alt.layer(*layers).properties(width="container", height=22 * len(names) + 10, autosize=fitted).to_dict()
    )


def means(found: MethodRanking) -> list[dict[str, Any]]:
    """Return a row for each method: its mean with its interval."""
    return [
        {"method": row.name, "needs": row.needs, **shown(row.mean), "told": EQUAL if row.equal else TOLD}
        for row in found.ranked
    ]


def places(found: MethodRanking) -> list[dict[str, Any]]:
    """Return a row for each method in each folder."""
    return [
        {"method": row.name, "folder": folder, **shown(over_seeds(row.values[folder]))}
        for row in found.ranked
        for folder in found.blocks
    ]


def shown(found: Interval) -> dict[str, Any]:
    """Return a figure with its interval, in percent."""
    figure, low, high = (100 * value for value in found)
    return {"figure": figure, "low": low, "high": high, "interval": f"{low:.1f} to {high:.1f}"}
