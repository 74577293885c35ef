"""Draw backfill curves from results. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from compat.results import PLAIN, Result, metrics_of, ordinal, row_name

BEST = 6
NAMED = 30  # largest number of points with room for their names
GREY = "0.8"
Styles = Mapping[str, dict[str, Any]]


class Axis(NamedTuple):
    """A horizontal axis.

    Attributes:
        label: its name.
        limit: its end; it starts at 0.
        lines: the points of a row's line in a metric: x (P,), and the figures of each seed (S, P).
        plain: where a plain backfill is complete.
    """

    label: str
    limit: float
    lines: Callable[[list[Result], str], tuple[np.ndarray, np.ndarray]]
    plain: float


PROGRESS = Axis(
    "backfill progress", 1.0, lambda group, metric: (np.array(group[0].progress), curves_of(group, metric)), 1.0
)


def plot_curves(
    results: Sequence[Result],
    metrics: Sequence[str] = ("mean_ap", "cmc_1"),
    highlight: Collection[str] = (),
    axis: Axis = PROGRESS,
) -> Figure:
    """Plot figures in percent against backfill progress, or what is spent, one panel per metric.

    A line per method is the mean over its seeds, in a band from the lowest to the highest seed; dashed lines are the
    old and the new system.

    Args:
        results: of one benchmark, the seeds of a method after each other as `load_results` gives them.
        metrics: names of `compat.results.metrics_of`; results lacking one have no line.
        highlight: names to colour and label, the rest in grey; default: the best few.
        axis: the horizontal one, see `compat.plots.spent`.
    """
    figure = Figure(figsize=(5.4 * len(metrics), 4.2), layout="constrained")
    panels = figure.subplots(1, len(metrics), squeeze=False)[0]
    styles = styles_of(results, lambda r: r.name, highlight)
    for panel, key in zip(panels, metrics, strict=True):
        _draw(panel, results, key, lambda r: r.name, styles, axis)
        _label_ends(panel)
    figure.suptitle(results[0].benchmark)
    return figure


def styles_of(results: Sequence[Result], label: Callable[[Result], str], highlight: Collection[str] = ()) -> Styles:
    """Choose a style per label, no two of one colour: the named ones, or the best few, coloured, the rest grey."""
    areas: dict[str, list[float]] = {}
    for result in results:
        areas.setdefault(label(result), []).append(result.auc)
    ranked = sorted(areas, key=lambda name: -float(np.mean(areas[name])))
    plain = [name for name in ("independent",) if name in ranked[BEST:]]
    shown = [name for name in ranked if name in highlight] or [*ranked[:BEST], *plain]
    looks = {
        name: {"color": f"C{number % 10}", "linestyle": ("-", (0, (5, 1)), (0, (1, 1)))[number // 10 % 3], "zorder": 3}
        for number, name in enumerate(shown)
    }
    return {name: looks.get(name, {"color": GREY, "linestyle": "-", "zorder": 1}) for name in ranked}


def plot_multiples(
    results: Sequence[Result],
    by: str,
    metric: str = "mean_ap",
    highlight: Collection[str] = (),
    axis: Axis = PROGRESS,
) -> Figure:
    """Plot curves as `plot_curves`, one panel for each value of a label, such as each order, all on one scale.

    Args:
        results: of one benchmark.
        by: a label, such as order or merge; the others name the lines, with the method.
        metric: name of `compat.results.metrics_of`.
        highlight: as of `plot_curves`.
        axis: likewise.
    """
    values = sorted({str(r.labels[by]) for r in results}, key=lambda value: (value not in PLAIN.values(), value))

    def label(result: Result) -> str:
        return row_name({name: value for name, value in result.labels.items() if name != by})

    columns = min(len(values), 3)
    rows = -(-len(values) // columns)
    figure = Figure(figsize=(3.6 * columns, 2.9 * rows + 0.6), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flatten()
    styles = styles_of(results, label, highlight)
    for panel, value in zip(panels, values, strict=False):
        of_value = sorted((r for r in results if str(r.labels[by]) == value), key=lambda r: (label(r), r.seed))
        _draw(panel, of_value, metric, label, styles, axis)
        panel.set_title(value)
    for panel in panels[len(values) :]:
        panel.set_axis_off()
    for panel in panels:
        panel.label_outer()
    _legend(figure, panels)
    figure.suptitle(f"{results[0].benchmark}, by {by}")
    return figure


def plot_cost(results: Sequence[Result], highlight: Collection[str] = ()) -> Figure:
    """Plot the area under the mAP curve in percent against the training cost, a point per row of the table.

    Dashed lines are the old and the new system. Circles need one encoder pass per query, squares more. Of many rows
    only the coloured ones are named.

    Args:
        results: of one benchmark.
        highlight: as of `plot_curves`.
    """
    figure = Figure(figsize=(8.5, 6), layout="constrained")
    panel = figure.subplots()
    styles = styles_of(results, lambda r: r.name, highlight)
    points = []
    for name, of_name in groupby(results, key=lambda r: r.name):
        group = list(of_name)
        x, y = np.mean([r.training_seconds for r in group]), 100 * np.mean([r.auc for r in group])
        grey = styles[name]["color"] == GREY
        color = "0.5" if grey else styles[name]["color"]
        panel.plot(x, y, "o" if group[0].encoder_passes_per_query == 1 else "s", markersize=5, color=color)
        points.append((name, (float(x), float(y)), color, grey))
    _levels(panel, results, "mean_ap")
    panel.set(xlabel="training of the new model and of the method (s)", ylabel="area under the mAP curve (%)")
    panel.set_xscale("log")
    panel.xaxis.set_major_formatter("{x:,.0f}")
    panel.xaxis.set_minor_formatter("{x:,.0f}")
    panel.tick_params(axis="x", which="minor", labelsize=7)
    panel.margins(x=0.2)
    panel.grid(alpha=0.3)
    figure.suptitle(results[0].benchmark)
    named = [point[:3] for point in points if len(points) <= NAMED or not point[3]]
    if len(named) < len(points):
        panel.set_title(f"grey: {len(points) - len(named)} others", fontsize=8, color="0.4", loc="right")
    _label_points(figure, panel, named)
    return figure


def plot_sequence(
    upgrades: Sequence[Sequence[Result]], metric: str = "mean_ap", highlight: Collection[str] = ()
) -> Figure:
    """Plot upgrades of one gallery, one row of panels for each from the second on, one panel per start.

    A panel shows the previous upgrade up to the start, then this one, over the share of the gallery re-extracted; lines
    and bands as in `plot_curves`, dashed lines for the models on their own.

    Args:
        upgrades: results of each upgrade and start, as the values of `compat.results.load_upgrades`.
        metric: name of `compat.results.metrics_of`.
        highlight: as of `plot_curves`.
    """
    rows = [list(group) for _, group in groupby((u for u in upgrades if u[0].number > 1), key=lambda u: u[0].number)]
    columns = max(len(row) for row in rows)
    figure = Figure(figsize=(5.2 * columns, 3.4 * len(rows) + 0.8), layout="constrained")
    panels = figure.subplots(len(rows), columns, squeeze=False, sharey="row")
    styles, levels = styles_of(upgrades[0], lambda r: r.name, highlight), _generations(upgrades, metric)
    for line, row in zip(panels, rows, strict=True):
        for panel, upgrade in zip(line, row, strict=False):
            _draw_upgrade(panel, _before(upgrades, upgrade[0].number), upgrade, metric, styles)
            _draw_generations(panel, levels, upgrade[0].number)
        for panel in line[len(row) :]:
            panel.set_axis_off()
        line[0].set_ylabel(f"{metrics_of(r for upgrade in upgrades for r in upgrade)[metric].label} (%)")
    for panel in panels[-1]:
        panel.set_xlabel("share of the gallery re-extracted")
    _legend(figure, panels.flatten())
    figure.suptitle(upgrades[0][0].benchmark)
    return figure


def _before(upgrades: Sequence[Sequence[Result]], number: int) -> Sequence[Result]:
    """Return the upgrade preceding this number: the one run after all earlier upgrades were complete."""
    found = (u for u in upgrades if u[0].number == number - 1 and u[0].starts_at in (0, 1))
    return next(found, ())


def _draw_upgrade(panel: Any, before: Sequence[Result], upgrade: Sequence[Result], metric: str, styles: Styles) -> None:
    """Draw a line per row: the previous upgrade up to the start of this one, and this one from there on."""
    start = upgrade[0].starts_at
    for name, look in styles.items():
        label: str | None = name
        for results, begin, end in ((before, 0.0, start), (upgrade, start, 1.0)):
            group = [result for result in results if result.name == name and metric in result.curves]
            if group:
                progress = np.array(group[0].progress)
                shown = progress <= end + 1e-9
                _line(panel, begin + progress[shown], curves_of(group, metric)[:, shown], look, label)
                label = None
    panel.axvline(start, color="0.8", linewidth=1, zorder=0)
    this, that = (ordinal(upgrade[0].number - back) for back in (0, 1))
    when = f"after the {that}" if start == 1 else f"when the {that} is at {start:.0%}"
    panel.set(xlim=(0, 1 + start), title=f"{this} upgrade {when}")
    panel.grid(alpha=0.3)


def _generations(upgrades: Sequence[Sequence[Result]], metric: str) -> dict[int, float]:
    """Return each generation's own figure, by its number from 1 on."""
    found = {}
    for first, *_ in upgrades:
        overlaps = 0 < first.starts_at < 1  # then the old system is the previous upgrade's
        for number, system in ((first.number - overlaps, first.old), (first.number + 1, first.new)):
            if metric in system:
                found[number] = system[metric]
    return found


def _draw_generations(panel: Any, levels: Mapping[int, float], number: int) -> None:
    """Draw dashed lines for the models of this upgrade and the previous one."""
    for generation in range(number - 1, number + 2):
        if generation in levels:
            grey = 0.65 - 0.55 * (generation - 1) / (max(levels) - 1)
            name = f"{ordinal(generation)} model"
            panel.axhline(100 * levels[generation], linestyle="--", color=str(grey), linewidth=1, label=name)


def _draw(
    panel: Any,
    results: Sequence[Result],
    metric: str,
    label: Callable[[Result], str],
    styles: Styles,
    axis: Axis,
) -> None:
    """Draw a line per label, the mean over its seeds, in a band from the lowest to the highest, and the two levels."""
    shown = [result for result in results if metric in result.curves]
    for name, of_name in groupby(shown, key=label):
        _line(panel, *axis.lines(list(of_name), metric), styles[name], name)
    _levels(panel, shown, metric)
    one = metrics_of(results)[metric]
    better = "higher" if one.higher_is_better else "lower"
    panel.set(xlabel=axis.label, ylabel=f"{one.label} (%, {better} is better)", xlim=(0, axis.limit))
    if axis.plain < axis.limit:
        within = panel.get_xaxis_transform()
        panel.vlines(axis.plain, 0, 1, transform=within, linestyles=":", colors="0.4", linewidth=1, zorder=1)
        panel.text(axis.plain, 1.01, "plain backfill", transform=within, ha="center", fontsize=7.5, color="0.4")
    panel.grid(alpha=0.3)


def curves_of(group: Sequence[Result], metric: str) -> np.ndarray:
    """Return the curves of a row's seeds, (S, T)."""
    return np.array([result.curves[metric] for result in group])


def _line(panel: Any, x: np.ndarray, curves: np.ndarray, look: dict[str, Any], label: str | None) -> None:
    """Draw the mean of curves (S, P) at x (P,), in percent, in its band."""
    values = 100 * curves
    grey = look["color"] == GREY
    marker = {} if grey else {"marker": "o", "markersize": 3}
    panel.plot(x, values.mean(0), linewidth=1 if grey else 1.5, label=label, **marker, **look)
    if not grey:
        panel.fill_between(x, values.min(0), values.max(0), color=look["color"], alpha=0.2, linewidth=0)


def _levels(panel: Any, results: Sequence[Result], metric: str) -> None:
    for name, color in (("old", "0.55"), ("new", "0.1")):
        having = [result for result in results if metric in getattr(result, name)]
        if having:
            trainings = {tuple(result.backbones): getattr(result, name)[metric] for result in having}
            level = 100 * float(np.mean(list(trainings.values())))
            panel.axhline(level, linestyle="--", color=color, linewidth=1, label=f"{name} system", zorder=2)


def _label_ends(panel: Any) -> None:
    """Label coloured lines and systems at their right ends, moved apart to avoid overlaps."""
    ends = [(line.get_label(), float(line.get_ydata()[-1]), line.get_color()) for line in panel.lines]
    ends = sorted((end for end in ends if end[2] != GREY), key=lambda end: end[1])
    low, high = panel.get_ylim()
    step = (high - low) / 26
    places: list[float] = []
    for _, value, _ in ends:
        places.append(max(value, places[-1] + step) if places else value)
    over = max(places[-1] - high, 0.0)
    for number in range(len(places) - 1, -1, -1):
        limit = high if number == len(places) - 1 else places[number + 1] - step
        places[number] = min(places[number], limit) if over else places[number]
    for (name, value, color), place in zip(ends, places, strict=True):
        arrow = {"arrowstyle": "-", "color": color, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 0, "relpos": (0, 0.5)}
        target = {"xy": (1, value), "xytext": (1.04, place), "color": color, "fontsize": 7.5, "va": "center"}
        panel.annotate(name, xycoords=("axes fraction", "data"), arrowprops=arrow, annotation_clip=False, **target)
    others = sum(line.get_color() == GREY for line in panel.lines)
    if others:
        panel.set_title(f"grey: {others} others", fontsize=8, color="0.4", loc="right")


def _legend(figure: Figure, panels: Iterable[Any]) -> None:
    """Draw one legend for all panels, of the coloured lines; the grey ones share an entry."""
    handles: dict[str, Any] = {}
    for panel in panels:
        for handle, text in zip(*panel.get_legend_handles_labels(), strict=True):
            handles["others" if handle.get_color() == GREY else text] = handle
    handles = dict(sorted(handles.items(), key=lambda item: item[0] == "others"))
    columns = min(len(handles), 4)
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=columns, frameon=False)


def _label_points(figure: Figure, panel: Any, points: list[tuple[str, tuple[float, float], str]]) -> None:
    """Label points at the nearest of several places without an overlap."""
    figure.draw_without_rendering()
    taken = [_box(panel.transData.transform(xy), 8.0, 8.0) for _, xy, _ in points]
    scale = figure.dpi / 72
    for name, xy, color in sorted(points, key=lambda point: -point[1][1]):
        width, height = 4.3 * len(name) * scale, 8.5 * scale
        x, y = panel.transData.transform(xy)
        for distance in range(0, 200, 4):
            offsets = [(s * (width / 2 + 6), t * distance) for t in (1, -1) for s in (1, -1)]
            boxes = [(dx, dy, _box((x + dx, y + dy), width, height)) for dx, dy in offsets]
            within = [found for found in boxes if panel.bbox.x0 < found[2][0] and found[2][2] < panel.bbox.x1]
            free = [found for found in within if not any(_overlap(found[2], other) for other in taken)]
            if free:
                dx, dy, box = free[0]
                taken.append(box)
                arrow = {"arrowstyle": "-", "color": color, "linewidth": 0.5} if distance > 8 else None
                style = {"fontsize": 7, "color": color, "ha": "center", "va": "center", "arrowprops": arrow}
                panel.annotate(name, xy, (dx / scale, dy / scale), textcoords="offset points", **style)
                break


def _box(center: Any, width: float, height: float) -> tuple[float, float, float, float]:
    x, y = center
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
