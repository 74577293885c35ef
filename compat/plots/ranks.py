"""Plot a comparison of methods over data sets: a panel per folder, a row per method."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from compat.ranks import MethodRanking
from compat.statistics import Interval, over_seeds

ROW = 0.21  # inches
EQUAL, TOLD = "C0", "0.4"


def plot_ranks(ranking: MethodRanking) -> Figure:
    """Plot each method's figure in each folder and its mean over the folders, with their intervals, the best on top.

    Circles need one encoder pass per query, squares more; a line marks the reference.

    Args:
        ranking: from `compat.ranks.rank`.
    """
    rows = ranking.ranked
    columns: dict[str, list[Interval]] = {
        folder: [over_seeds(row.values[folder]) for row in rows] for folder in ranking.blocks
    }
    columns["mean"] = [row.mean for row in rows]
    size = (2.1 * len(columns) + 2, ROW * len(rows) + 1.5)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(1, len(columns), sharey=True)
    reference = [row.name for row in rows].index(ranking.reference)
    for panel, (title, figures) in zip(panels, columns.items(), strict=True):
        panel.axvline(100 * figures[reference].mean, color="0.7", linewidth=1, zorder=1)
        for place, (row, (mean, low, high)) in enumerate(zip(rows, figures, strict=True)):
            color = EQUAL if row.equal else TOLD
            panel.plot([100 * low, 100 * high], [place, place], color=color, linewidth=1.4, zorder=2)
            panel.plot(100 * mean, place, "o" if row.encoder_passes_per_query == 1 else "s", color=color, markersize=4)
        panel.set_title(title, fontsize=8)
        panel.tick_params(axis="x", labelsize=8)
        panel.grid(alpha=0.3)
    panels[0].set_yticks(np.arange(len(rows)), [row.name for row in rows], fontsize=8)
    panels[0].set_ylim(len(rows) - 0.4, -0.6)
    told = f"blue: over the folders not told from {ranking.reference}"
    figure.suptitle(f"{ranking.metric.label} (%); {told}", fontsize=10)
    return figure
