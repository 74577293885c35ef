"""The charts of a report, as Vega-Lite specifications made by Altair."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.html import Chart
from benchmarks.report.findings import CurveLine, Findings
from benchmarks.report.numbers import apart, percent
from compat.decision.calibration import LEVELS
from compat.errors import InputError

DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [12, 3])  # distinguish lines without colours


def altair() -> Any:
    """Import the library.

    Raises:
        InputError: it is not installed.
    """
    try:
        import altair as found
    except ImportError as error:
        raise InputError("altair: not installed, expected it: pip install altair") from error
    return found


def curve(f: Findings) -> Chart:
    """Chart mAP, or its proxy, against progress or time."""
    alt = altair()
    hours = f.gallery.hours
    scale, unit = (1.0, "share of the gallery migrated") if hours is None else time_axis(hours)
    figure = "mAP" if f.labelled else "Overlap with the new system (proxy)"
    rows = [row for line in f.lines for row in _rows(line, scale)]
    names = [line.name for line in f.lines]
    x = alt.X("at:Q", title=unit, scale=alt.Scale(nice=False), axis=alt.Axis(format="%" if hours is None else "~g"))
    look = {"orient": "bottom", "symbolType": "stroke", "symbolOpacity": 1}
    legend = alt.Legend(**look, symbolStrokeWidth=3, symbolSize=500)
    color = alt.Color("name:N", title=None, sort=names, scale=alt.Scale(domain=names), legend=legend)
    plain = alt.Color("name:N", sort=names, scale=alt.Scale(domain=names), legend=None)
    dashes = alt.Scale(domain=names, range=list(DASHES[: len(names)]))
    dash = alt.StrokeDash("name:N", title=None, sort=names, scale=dashes, legend=None)
    y = {"title": figure, "scale": alt.Scale(zero=False), "axis": alt.Axis(format="%")}
    base = alt.Chart(alt.Data(values=rows))
    banded = [row for row in rows if row["low"] is not None]
    band = alt.Chart(alt.Data(values=banded)).mark_area(opacity=0.18).encode(
        x=x, y=alt.Y("low:Q", **y), y2="high:Q", color=plain
    )  # fmt: skip
    tip = [
        alt.Tooltip("name:N", title="way"),
        alt.Tooltip("at:Q", title=unit, format=".0%" if hours is None else ".3~g"),
        alt.Tooltip("mean:Q", title=figure, format=".1%"),
    ]
    line = base.mark_line(strokeWidth=2.5).encode(x=x, y=alt.Y("mean:Q", **y), color=color, strokeDash=dash)
    dots = base.mark_circle(size=45).encode(x=x, y=alt.Y("mean:Q", **y), color=color, tooltip=tip)
    spec = (
        alt.layer(band, alt.layer(line, dots))
        .resolve_legend(color="independent")
        .properties(width="container", height=320)
        .to_dict()
    )
    first = f.lines[0]
    words = (
        f"{figure} of the results while the gallery is migrated. {first.name} goes from {percent(first.mean[0])} to "
        f"{percent(first.mean[-1])}{'; bands are 95 % intervals over queries' if banded else ''}."
    )
    columns = ["since the start" if "since" in unit else unit, *names]
    return Chart("curve", "Results on the way", words, spec, columns, _table(f, scale))


def time_axis(hours: float) -> tuple[float, str]:
    """Return the scale from progress to time, and the axis's title.

    Example:
        >>> time_axis(72)
        (3.0, 'days since the start')
    """
    if hours >= 48:
        return hours / 24, "days since the start"
    if hours >= 1.5:
        return hours, "hours since the start"
    return (hours * 60, "minutes since the start") if hours * 60 >= 2 else (hours * 3600, "seconds since the start")


def _rows(line: CurveLine, scale: float) -> list[dict[str, Any]]:
    ends = (
        [(None, None)] * len(line.mean)
        if line.low is None or line.high is None
        else zip(line.low, line.high, strict=True)
    )
    return [
        {"name": line.name, "at": float(p) * scale, "mean": float(v), "low": _number(low), "high": _number(high)}
        for p, v, (low, high) in zip(line.progress, line.mean, ends, strict=True)
    ]


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _table(f: Findings, scale: float) -> list[list[str]]:
    points = f.lines[0].progress
    hours = f.gallery.hours
    if hours is None:
        moments = [f"{share} %" for share in apart((100 * points).tolist())]
    else:
        unit = time_axis(hours)[1].split()[0]
        moments = [f"{value} {unit}" for value in apart((scale * points).tolist())]
    rows = []
    for at, point in zip(moments, points, strict=True):
        cells = [percent(float(np.interp(point, line.progress, line.mean))) for line in f.lines]
        rows.append([at, *cells])
    return rows


def distances(f: Findings) -> Chart:
    """Chart quantiles of the distances in both spaces."""
    alt = altair()
    assert f.calibration is not None
    kinds = {"relevant": "relevant to the query", "others": "not relevant"}
    rows, table = [], []
    for (space, kind), values in f.calibration.quantiles.items():
        at = dict(zip(LEVELS, values, strict=True))
        name = f"{space}: {kinds[kind] if ('old', 'relevant') in f.calibration.quantiles else 'all pairs'}"
        rows.append(
            {
                "name": name,
                "space": space,
                "low": at[0.01],
                "q1": at[0.25],
                "mid": at[0.5],
                "q3": at[0.75],
                "high": at[0.99],
            }
        )
        table.append([name, *(f"{value:.3f}" for value in values)])
    names = [row["name"] for row in rows]
    base = alt.Chart(alt.Data(values=rows)).encode(
        y=alt.Y("name:N", sort=names, title=None, axis=alt.Axis(labelLimit=220))
    )
    color = alt.Color("space:N", legend=None, sort=["old", "new"])
    tips = [alt.Tooltip(f"{key}:Q", title=title, format=".3f") for key, title in (
        ("low", "1 %"), ("q1", "25 %"), ("mid", "median"), ("q3", "75 %"), ("high", "99 %"))]  # fmt: skip
    line = base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", title="distance"), x2="high:Q", color=color)
    box = base.mark_bar(size=12, opacity=0.6).encode(x="q1:Q", x2="q3:Q", color=color, tooltip=tips)
    middle = base.mark_tick(size=18, thickness=3).encode(x="mid:Q", color=color)
    spec = (line + box + middle).properties(width="container", height=34 * len(rows)).to_dict()
    words = (
        "Distances between queries and items in each space: from the 1 % to the 99 % quantile, the middle half thick."
    )
    return Chart(
        "distances", "Distances of the two spaces", words, spec, ["pairs", *(percent(q, 0) for q in LEVELS)], table
    )
