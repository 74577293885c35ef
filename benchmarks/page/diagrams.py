"""Critical-difference diagrams of methods ranked over several data sets."""

from __future__ import annotations

from math import isnan

from benchmarks.html import Chart
from benchmarks.tables.ranks import cells, headings
from compat.errors import InputError
from compat.ranks import Ranking
from compat.statistics import within


def diagram(name: str, found: Ranking) -> Chart:
    """Each method's mean rank with its interval, the best on top, small marks for its rank in each folder; upright bars
    join methods that Nemenyi's test does not tell apart, as in `compat.plot_ranks`.

    Raises:
        InputError: Altair is not installed.
    """
    try:
        import altair as alt
    except ImportError as error:
        raise InputError("altair: not installed, expected it: pip install altair") from error

    names, folders = [row.name for row in found.ranked], list(found.blocks)
    rows = [
        {
            "method": row.name, "rank": row.rank.mean, "low": row.rank.low, "high": row.rank.high,
            "interval": f"{row.rank.low:.1f} to {row.rank.high:.1f}", "needs": row.needs,
            "told": "paired, not told from the best" if row.equal else "told from it",
        }
        for row in found.ranked
    ]  # fmt: skip
    places = [
        {"method": row.name, "folder": folder, "rank": rank}
        for row in found.ranked
        for folder, rank in zip(folders, row.ranks, strict=True)
    ]
    runs = within([row.rank.mean for row in found.ranked], found.critical_difference)
    apart = 0.045 * len(names)
    bars = [
        {"first": names[first], "last": names[last], "x": len(names) + 0.8 + apart * column}
        for (first, last), column in zip(runs, _columns(runs), strict=True)
    ]
    most = len(names) + 0.5 + (0.3 + apart * (1 + max(_columns(runs))) if bars else 0)
    rank_order = alt.Scale(domain=names)
    y = alt.Y(
        "method:N",
        sort=None,
        scale=rank_order,
        title=None,
        axis=alt.Axis(labelLimit=220, grid=True, ticks=False, domain=False),
    )
    values = [number for number in range(1, len(names) + 1) if len(names) < 12 or number % 2]
    scale = alt.Scale(domain=[0.5, most], nice=False, zero=False)
    x = alt.X("rank:Q", title="mean rank (1 is best)", scale=scale, axis=alt.Axis(values=values, grid=True, format="d"))
    told = ["paired, not told from the best", "told from it"]
    color = alt.Color(
        "told:N", sort=None, scale=alt.Scale(domain=told), legend=alt.Legend(orient="bottom", title=None, columns=1)
    )
    shape = alt.Shape("folder:N", sort=None, legend=alt.Legend(orient="bottom", title=None, columns=1))
    tooltip = [
        "method:N",
        alt.Tooltip("rank:Q", title="mean rank", format=".1f"),
        alt.Tooltip("interval:N", title="95 %"),
        "needs:N",
    ]
    ranked, each = alt.Chart(alt.Data(values=rows)), alt.Chart(alt.Data(values=places))
    layers = [
        ranked.mark_rule(strokeWidth=2).encode(alt.X("low:Q", scale=scale), alt.X2("high:Q"), y=y, color=color),
        each.mark_point(size=30, strokeWidth=1.2, opacity=0.8, style="ink").encode(
            x, y, shape=shape, tooltip=["method:N", "folder:N", alt.Tooltip("rank:Q", format=".1f")]
        ),
        ranked.mark_point(filled=True, size=90, opacity=1).encode(x, y, color=color, tooltip=tooltip),
    ]
    if bars:
        joined = alt.Chart(alt.Data(values=bars))
        layers.append(
            joined.mark_rule(strokeWidth=4, style="ink").encode(
                alt.X("x:Q", scale=scale), alt.Y("first:N", sort=None, scale=rank_order), alt.Y2("last:N")
            )
        )
    fitted = alt.AutoSizeParams(type="fit-x", contains="padding")
    spec = alt.layer(*layers).properties(width="container", height=22 * len(names), autosize=fitted).to_dict()
    table = [[row.name, row.needs, *cells(row, found)] for row in (*found.ranked, *found.others)]
    return Chart(
        f"ranks-{name}", name.replace("_", " "), description(found), spec, ["method", "needs", *headings(found)], table
    )


def description(found: Ranking) -> str:
    """What the diagram says, in words."""
    p = "" if isnan(found.friedman) else f" Friedman's p {found.friedman:.2g}."
    first, last = found.ranked[0], found.ranked[-1]
    return (
        f"{len(found.ranked)} methods by {found.metric.label} over {', '.join(found.blocks)}: {first.name} has the best "
        f"mean rank ({first.rank.mean:.1f}), {last.name} the worst ({last.rank.mean:.1f}). Bars at the right join methods "
        f"within the critical difference of {found.critical_difference:.1f} (Nemenyi, 5 %).{p}"
    )


def _columns(runs: list[tuple[int, int]]) -> list[int]:
    """The column of each bar, so that those that overlap stand beside each other."""
    ends: list[int] = []  # the last row of the last bar in each column
    columns = []
    for first, last in runs:
        column = next((number for number, end in enumerate(ends) if end < first), len(ends))
        ends[column : column + 1] = [last]
        columns.append(column)
    return columns
