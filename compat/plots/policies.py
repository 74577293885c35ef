"""Plot policies' gains over a heuristic: a panel per environment, a row per policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from compat.errors import InputError
from compat.statistics import Interval

COLUMNS = 4
ROW = 0.2  # inches
SHAPES = "os^D"


class PolicyPoint(NamedTuple):
    """A policy in an environment.

    Attributes:
        row: name of the policy.
        where: its training environment; gives the colour.
        family: of its network, or ""; gives the shape.
        above: points above the heuristic.
    """

    row: str
    where: str
    family: str
    above: Interval


def plot_policies(panels: Mapping[str, Sequence[PolicyPoint]], label: str) -> Figure:
    """Plot each policy's mean with its interval; rows in order of first appearance.

    Args:
        panels: title -> its points.
        label: of the axis.

    Raises:
        InputError: no points.
    """
    points = [point for some in panels.values() for point in some]
    if not points:
        raise InputError("plot: no points, expected some")
    rows, wheres, families = (list(dict.fromkeys(column)) for column in list(zip(*points, strict=True))[:3])
    columns = min(COLUMNS, len(panels))
    lines = -(-len(panels) // columns)
    figure = Figure(figsize=(2.7 * columns + 1.2, lines * (ROW * len(rows) + 0.9) + 0.8), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False, sharey=True).flatten()
    asides = {key: n for n, key in enumerate(dict.fromkeys((point.where, point.family) for point in points))}
    for panel, (title, some) in zip(grid, panels.items(), strict=False):
        panel.axvline(0, color="0.4", linewidth=1, zorder=1)
        for point in some:
            aside = 0.7 * ((asides[point.where, point.family] + 0.5) / len(asides) - 0.5)
            y, color = rows.index(point.row) + aside, f"C{wheres.index(point.where)}"
            shape, mean = SHAPES[families.index(point.family) % len(SHAPES)], point.above.mean
            panel.plot([point.above.low, point.above.high], [y, y], color=color, linewidth=1.2, zorder=2)
            name = ", ".join(filter(None, (point.where, point.family)))
            panel.plot(mean, y, shape, color=color, markersize=4, linestyle="", label=name, zorder=3)
        panel.set_yticks(np.arange(len(rows)), rows, fontsize=8)
        panel.set_ylim(len(rows) - 0.5, -0.5)
        panel.set_title(title, fontsize=9)
        panel.xaxis.set_major_locator(MaxNLocator(5))
        panel.tick_params(axis="x", labelsize=8)
        panel.grid(alpha=0.3)
    for panel in grid[len(panels) :]:
        panel.set_axis_off()
    handles = {name: handle for panel in grid for handle, name in zip(*panel.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    figure.suptitle(label, fontsize=10)
    return figure
