"""Draw backfill curves from results. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np
from matplotlib.figure import Figure

from compat.results import METRICS, Result


def plot_curves(results: Sequence[Result], metrics: Sequence[str] = ("mean_ap", "cmc_1")) -> Figure:
    """Figures against backfill progress, one panel a metric: a line for each method, the mean over its seeds,
    in a band from the lowest to the highest seed; dashed lines for the old and the new system.

    Args:
        results: of one benchmark, the seeds of a method after each other as `load_results` gives them.
        metrics: keys of `compat.results.METRICS`.
    """
    figure = Figure(figsize=(5.2 * len(metrics), 4.2), layout="constrained")
    panels = figure.subplots(1, len(metrics), squeeze=False)[0]
    for panel, key in zip(panels, metrics, strict=True):
        for method, of_method in groupby(results, key=lambda r: r.method):
            group = list(of_method)
            progress, curves = group[0].progress, np.array([getattr(result, key) for result in group])
            (line,) = panel.plot(progress, curves.mean(0), marker="o", markersize=3, label=method)
            panel.fill_between(progress, curves.min(0), curves.max(0), color=line.get_color(), alpha=0.2, linewidth=0)
        for name, color in (("old", "0.55"), ("new", "0.1")):
            if key in getattr(results[0], name):
                level = getattr(results[0], name)[key]
                panel.axhline(level, linestyle="--", color=color, linewidth=1, label=f"{name} system")
        better = "higher" if METRICS[key].higher_is_better else "lower"
        panel.set(xlabel="backfill progress", ylabel=f"{METRICS[key].label} ({better} is better)", xlim=(0, 1))
        panel.grid(alpha=0.3)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.suptitle(results[0].benchmark)
    return figure
