"""Critical-difference diagrams of methods ranked over several data sets."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan
from typing import Any

from benchmarks.html import Chart
from benchmarks.tables.ranks import cells, headings
from compat.errors import InputError
from compat.ranks import MethodRanking
from compat.statistics import within

EQUAL, TOLD = "paired, not told from the best", "told from it"


def diagram(name: str, found: MethodRanking) -> Chart:
    """Draw each method's mean rank with its interval, the best on top, small marks for its rank in each folder.

    Upright bars join methods not separated by Nemenyi's test, as in `compat.plots.ranks`.

    Raises:
        InputError: Altair is not installed.
    """
    table = [[row.name, row.needs, *cells(row, found)] for row in (*found.ranked, *found.others)]
    columns = ["method", "needs", *headings(found)]
    return Chart(f"ranks-{name}", name.replace("_", " "), description(found), specification(found), columns, table)


def description(found: MethodRanking) -> str:
    """Describe the diagram in words."""
    p = "" if isnan(found.friedman) else f" Friedman's p {found.friedman:.2g}."
    first, last = found.ranked[0], found.ranked[-1]
    return (
        f"{len(found.ranked)} methods by {found.metric.label} over {', '.join(found.blocks)}: {first.name} has the "
        f"best mean rank ({first.rank.mean:.1f}), {last.name} the worst ({last.rank.mean:.1f}). Bars at the right join "
        f"methods within the critical difference of {found.critical_difference:.1f} (Nemenyi, 5 %).{p}"
    )


def specification(found: MethodRanking) -> dict[str, Any]:
    """Return the Vega-Lite specification."""
    try:
        import altair as alt
    except ImportError as error:
        raise InputError("altair: not installed, expected it: pip install altair") from error

    names, joins = [row.name for row in found.ranked], bars(found)
    rows_down = alt.Scale(domain=names)
    look = alt.Axis(labelLimit=220, grid=True, ticks=False, domain=False)
    y = alt.Y("method:N", sort=None, scale=rows_down, title=None, axis=look)
    most = max([len(names) + 0.5, *(bar["x"] + 0.5 for bar in joins)])
    scale = alt.Scale(domain=[0.5, most], nice=False, zero=False)
    ticks = alt.Axis(values=list(range(1, len(names) + 1, 1 if len(names) < 12 else 2)), grid=True, format="d")
    x = alt.X("rank:Q", title="mean rank (1 is best)", scale=scale, axis=ticks)
    legend = alt.Legend(orient="bottom", title=None, columns=1)
    color = alt.Color("told:N", sort=None, scale=alt.Scale(domain=[EQUAL, TOLD]), legend=legend)
    shape = alt.Shape("folder:N", sort=None, legend=legend)
    rank = alt.Tooltip("rank:Q", format=".1f")
    ranked, each = alt.Chart(alt.Data(values=means(found))), alt.Chart(alt.Data(values=places(found)))
    layers = [
        ranked.mark_rule(strokeWidth=2).encode(alt.X("low:Q", scale=scale), alt.X2("high:Q"), y=y, color=color),
        each.mark_point(size=30, strokeWidth=1.2, opacity=0.8, style="ink").encode(
            x, y, shape=shape, tooltip=["method:N", "folder:N", rank]
        ),
        ranked.mark_point(filled=True, size=90, opacity=1).encode(
            x, y, color=color, tooltip=["method:N", rank, alt.Tooltip("interval:N", title="95 %"), "needs:N"]
        ),
        alt.Chart(alt.Data(values=joins))
        .mark_rule(strokeWidth=4, style="ink")
        .encode(alt.X("x:Q", scale=scale), alt.Y("first:N", sort=None, scale=rows_down), alt.Y2("last:N")),
    ]
    fitted = alt.AutoSizeParams(type="fit-x", contains="padding")
    drawn = layers if joins else layers[:-1]
    return dict(alt.layer(*drawn).properties(width="container", height=22 * len(names) + 10, autosize=fitted).to_dict())


def means(found: MethodRanking) -> list[dict[str, Any]]:
    """Return a row for each method: its mean rank with its interval."""
    return [
        {
            "method": row.name,
            "needs": row.needs,
            "rank": row.rank.mean,
            "low": row.rank.low,
            "high": row.rank.high,
            "interval": f"{row.rank.low:.1f} to {row.rank.high:.1f}",
            "told": EQUAL if row.equal else TOLD,
        }
        for row in found.ranked
    ]


def places(found: MethodRanking) -> list[dict[str, Any]]:
    """Return a row for each method in each folder: its rank there."""
    return [
        {"method": row.name, "folder": folder, "rank": rank}
        for row in found.ranked
        for folder, rank in zip(found.blocks, row.ranks, strict=True)
    ]


def bars(found: MethodRanking) -> list[dict[str, Any]]:
    """Return a row for each run of methods not separated, overlapping ones side by side at the right."""
    names = [row.name for row in found.ranked]
    runs = within([row.rank.mean for row in found.ranked], found.critical_difference)
    start, apart = len(names) + 0.8, 0.045 * len(names)
    return [
        {"first": names[first], "last": names[last], "x": start + apart * column}
        for (first, last), column in zip(runs, _columns(runs), strict=True)
    ]


def _columns(runs: Sequence[tuple[int, int]]) -> list[int]:
    """Assign each bar a column, so overlapping ones stand side by side."""
    ends: list[int] = []  # the last row of the last bar in each column
    columns = []
    for first, last in runs:
        column = next((number for number, end in enumerate(ends) if end < first), len(ends))
        ends[column : column + 1] = [last]
        columns.append(column)
    return columns
