"""Plot mean ranks over data sets: a critical difference diagram with intervals, a row for each method."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from compat.ranks import MethodRanking
from compat.statistics import within

ROW = 0.21  # inches
EQUAL, TOLD, BAR = "C0", "0.4", "0.1"
MARKS = "x+1234"


def plot_ranks(ranking: MethodRanking) -> Figure:
    """Plot each method's mean rank with its interval, the best on top, and small marks for its rank in each folder.

    Circles need one encoder pass per query, squares more. As in Demsar's diagram, bars join methods not separated by
    Nemenyi's test; they stand upright beside the rows, as the names of many methods have no room along an axis.

    Args:
        ranking: from `compat.ranks.rank`.
    """
    rows, folders = ranking.ranked, list(ranking.blocks)
    places = np.arange(len(rows))
    figure = Figure(figsize=(7.5, ROW * len(rows) + 2.2), layout="constrained")
    panel = figure.subplots()
    for place, row in enumerate(rows):
        color = EQUAL if row.equal else TOLD
        panel.plot([row.rank.low, row.rank.high], [place, place], color=color, linewidth=1.4, zorder=2)
        shape = "o" if row.encoder_passes_per_query == 1 else "s"
        panel.plot(row.rank.mean, place, shape, color=color, markersize=5, zorder=3)
    for number, folder in enumerate(folders):
        aside = 0.6 * ((number + 0.5) / len(folders) - 0.5)  # or equal ranks would hide each other
        look: dict[str, Any] = {"marker": MARKS[number % len(MARKS)], "color": f"C{number % 9 + 1}", "linestyle": ""}
        panel.plot([row.ranks[number] for row in rows], places + aside, label=folder, zorder=4, markersize=5, **look)
    panel.set_yticks(places, [row.name for row in rows], fontsize=8)
    panel.set(xlim=(0.5, len(rows) + 0.5), ylim=(len(rows) - 0.4, -0.6), xlabel="mean rank (1 is best)")
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.tick_params(axis="x", top=True, labeltop=True)
    panel.grid(alpha=0.3)
    _join(panel, within([row.rank.mean for row in rows], ranking.critical_difference))
    p = "" if isnan(ranking.friedman) else f", Friedman's p {ranking.friedman:.2g}"
    difference = f"critical difference {ranking.critical_difference:.1f}"
    figure.suptitle(f"{ranking.metric.label} in {len(folders)} folders: {difference}{p}", fontsize=10)
    _legend(figure, panel)
    return figure


def _join(panel: Any, runs: Sequence[tuple[int, int]]) -> None:
    """Draw a bar beside the rows for each run, overlapping ones side by side."""
    ends: list[int] = []  # the last row of the last bar in each column
    for first, last in runs:
        column = next((number for number, end in enumerate(ends) if end < first), len(ends))
        ends[column : column + 1] = [last]
        x, y = [1.02 + 0.018 * column] * 2, [first - 0.25, last + 0.25]
        look = {"color": BAR, "linewidth": 2.5, "solid_capstyle": "butt", "clip_on": False}
        panel.plot(x, y, transform=panel.get_yaxis_transform(), **look)


def _legend(figure: Figure, panel: Any) -> None:
    """Draw the legend of colours, bars and marks."""
    folders, _ = panel.get_legend_handles_labels()
    others = [
        Line2D([], [], color=EQUAL, marker="o", markersize=5, label="paired, not told from the best"),
        Line2D([], [], color=TOLD, marker="o", markersize=5, label="told from it"),
        Line2D([], [], color=BAR, linewidth=2.5, label="not told apart by Nemenyi's test"),
    ]
    figure.legend(handles=[*others, *folders], loc="outside lower center", ncols=3, frameon=False, fontsize=8)
