"""Draw backfill curves from results. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

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


def plot_sequence(first: Sequence[Result], seconds: Sequence[Sequence[Result]], metric: str = "mean_ap") -> Figure:
    """Two upgrades of one gallery, one panel for each start of the second: the first upgrade's curve up to that
    moment, then the second's, over the share of the gallery that was re-extracted; lines and bands as in `plot_curves`.

    Args:
        first: results of the first upgrade.
        seconds: results of the second upgrade, for each of its starts.
        metric: key of `compat.results.METRICS`.
    """
    figure = Figure(figsize=(5.2 * len(seconds), 4.2), layout="constrained")
    panels = figure.subplots(1, len(seconds), squeeze=False, sharey=True)[0]
    for panel, second in zip(panels, seconds, strict=True):
        start = second[0].starts_at
        for number, method in enumerate(dict.fromkeys(result.method for result in first)):
            for results, begin, end in ((first, 0.0, start), (second, start, 1.0)):
                group = [result for result in results if result.method == method]
                shown = np.array(group[0].progress) <= end + 1e-9
                x = begin + np.array(group[0].progress)[shown]
                curves = np.array([getattr(result, metric) for result in group])[:, shown]
                style = {"color": f"C{number}", "label": method if begin == 0 else None}
                panel.plot(x, curves.mean(0), marker="o", markersize=3, **style)
                panel.fill_between(x, curves.min(0), curves.max(0), color=f"C{number}", alpha=0.2, linewidth=0)
        levels = {"oldest system": first[0].old, "middle system": first[0].new, "newest system": second[0].new}
        for (name, figures), color in zip(levels.items(), ("0.65", "0.4", "0.1"), strict=True):
            if metric in figures:
                panel.axhline(figures[metric], linestyle="--", color=color, linewidth=1, label=name)
        panel.axvline(start, color="0.8", linewidth=1, zorder=0)
        when = "after the first" if start == 1 else f"when the first is at {start:.0%}"
        panel.set(xlabel="share of the gallery re-extracted", xlim=(0, 1 + start), title=f"second upgrade {when}")
        panel.grid(alpha=0.3)
    panels[0].set_ylabel(METRICS[metric].label)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    figure.suptitle(Path(first[0].benchmark).parent.name)
    return figure
