"""Draw backfill curves from results. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

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
        _draw(panel, results, key, lambda r: r.name)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 6), frameon=False)
    figure.suptitle(results[0].benchmark)
    return figure


def plot_multiples(results: Sequence[Result], by: str, metric: str = "mean_ap") -> Figure:
    """Curves as in `plot_curves`, one panel for each order or merge rule, all on one scale.

    Args:
        results: of one benchmark.
        by: "order" or "merge"; the other names the lines, with the method.
        metric: key of `compat.results.METRICS`.
    """
    values = sorted({getattr(r, by) for r in results}, key=lambda value: (value not in ("random", "raw"), value))
    other, plain = ("merge", "raw") if by == "order" else ("order", "random")

    def label(result: Result) -> str:
        name = getattr(result, other)
        return result.method if name == plain else f"{result.method} + {name}"

    columns = min(len(values), 4)
    rows = -(-len(values) // columns)
    figure = Figure(figsize=(3.6 * columns, 3.3 * rows + 0.6), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flatten()
    styles = {name: number for number, name in enumerate(sorted({label(r) for r in results}))}
    for panel, value in zip(panels, values, strict=False):
        of_value = sorted((r for r in results if getattr(r, by) == value), key=lambda r: (label(r), r.seed))
        _draw(panel, of_value, metric, label, styles)
        panel.set_title(value)
    for panel in panels[len(values) :]:
        panel.set_axis_off()
    for panel in panels:
        panel.label_outer()
    handles = {text: handle for p in panels for handle, text in zip(*p.get_legend_handles_labels(), strict=True)}
    figure.legend(
        handles.values(), handles.keys(), loc="outside lower center", ncols=min(len(handles), 6), frameon=False
    )
    figure.suptitle(f"{results[0].benchmark}, by {by}")
    return figure


def plot_cost(results: Sequence[Result]) -> Figure:
    """The area under the mAP curve against what was trained, a point for each row of the table; dashed lines for the
    old and the new system. Circles need one encoder pass for each query, squares two.

    Args:
        results: of one benchmark.
    """
    figure = Figure(figsize=(8, 5.5), layout="constrained")
    panel = figure.subplots()
    for name, of_name in groupby(results, key=lambda r: r.name):
        group = list(of_name)
        x, y = np.mean([r.training_seconds for r in group]), np.mean([r.auc for r in group])
        marker = "o" if group[0].encoder_passes_per_query == 1 else "s"
        (point,) = panel.plot(x, y, marker, markersize=5)
        panel.annotate(name, (x, y), (4, 3), textcoords="offset points", fontsize=7, color=point.get_color())
    _levels(panel, results, "mean_ap")
    panel.set(xlabel="training of the new model and of the method (s)", ylabel="area under the mAP curve")
    panel.set_xscale("log")
    panel.grid(alpha=0.3)
    figure.suptitle(results[0].benchmark)
    return figure


def _draw(
    panel: Any,
    results: Sequence[Result],
    metric: str,
    label: Callable[[Result], str],
    styles: Mapping[str, int] | None = None,
) -> None:
    """A line for each label, the mean over its seeds, in a band from the lowest to the highest, and the two levels."""
    for number, (name, of_name) in enumerate(groupby(results, key=label)):
        group = list(of_name)
        number = styles[name] if styles else number
        look = {"color": f"C{number % 10}", "linestyle": ("-", "--", ":", "-.")[number // 10 % 4]}
        progress, curves = group[0].progress, np.array([getattr(result, metric) for result in group])
        panel.plot(progress, curves.mean(0), marker="o", markersize=3, label=name, **look)
        panel.fill_between(progress, curves.min(0), curves.max(0), color=look["color"], alpha=0.2, linewidth=0)
    _levels(panel, results, metric)
    better = "higher" if METRICS[metric].higher_is_better else "lower"
    panel.set(xlabel="backfill progress", ylabel=f"{METRICS[metric].label} ({better} is better)", xlim=(0, 1))
    panel.grid(alpha=0.3)


def _levels(panel: Any, results: Sequence[Result], metric: str) -> None:
    for name, color in (("old", "0.55"), ("new", "0.1")):
        if metric in getattr(results[0], name):
            level = getattr(results[0], name)[metric]
            panel.axhline(level, linestyle="--", color=color, linewidth=1, label=f"{name} system")


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
