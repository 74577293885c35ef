"""Format the main columns of a table for a terminal, in 100 characters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.tables.table import escape, percent, rows_of, systems
from compat.curve_metrics import CURVE_METRICS
from compat.results import Failure, Result
from compat.results.summaries import HEADLINE

WIDTH = 100
LEAST = 14  # of the first column
NAMES = ("method", "AUC mAP (%)", "relative gain", *(f"{label} 0 -> 1" for label in HEADLINE.values()))
JUDGED = "judged_10"  # a further column in the terminal, where judgements replace labels


def narrow(results: Sequence[Result], folder: str | Path | None = None, failures: Sequence[Failure] = ()) -> str:
    """Format six columns, and judged@10 beside judgements, at most 100 characters wide; * is the best area.

    Arguments as in `table.table`.
    """
    rows = six_columns(results, folder, "{} *")
    if any(JUDGED in r.curves for r in results):
        shares = [ends(row.group, JUDGED, 0) for row in rows_of(results, folder)]
        rows = [(*row, cell) for row, cell in zip(rows, [CURVE_METRICS[JUDGED].label, *shares], strict=True)]
    return "\n".join([systems(results), "", *align(rows), *(failure.line for failure in failures)])


def short(results: Sequence[Result], folder: str | Path | None = None, failures: Sequence[Failure] = ()) -> str:
    """Format the six columns as Markdown, the best area in bold."""
    rows = six_columns(results, folder, "**{}**")
    return "\n".join([systems(results), "", *markdown(rows), *map(escape, failures)])


def six_columns(results: Sequence[Result], folder: str | Path | None, best: str) -> list[Sequence[str]]:
    """Return the names of the columns and a row per method; `best` frames the best area."""
    rows: list[Sequence[str]] = [NAMES]
    for row in rows_of(results, folder):
        gain = percent([r.relative_gain for r in row.group])
        rows.append((row.group[0].name, row.area(best), gain, *(ends(row.group, metric) for metric in HEADLINE)))
    return rows


def ends(group: Sequence[Result], metric: str, digits: int = 1) -> str:
    """Format the means of a metric in percent at progress 0 and 1; "-" where a result lacks the curve."""
    if any(metric not in r.curves for r in group):
        return "-"
    return " -> ".join(f"{100 * np.mean([r.curves[metric][end] for r in group]):.{digits}f}" for end in (0, -1))


def markdown(rows: Sequence[Sequence[str]]) -> list[str]:
    """Format a heading and rows as the lines of a Markdown table, all columns but the first aligned right."""
    names, *others = rows
    lines = [names, ["---", *["--:"] * (len(names) - 1)], *others]
    return [f"| {' | '.join(line)} |" for line in lines]


def align(rows: Sequence[Sequence[str]]) -> list[str]:
    """Align a heading and rows in columns; the first one is cut at the width of the terminal."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    widths[0] = min(widths[0], max(WIDTH - sum(widths[1:]) - 2 * (len(widths) - 1), LEAST))
    return [
        _line(rows[0], widths),
        "  ".join("-" * width for width in widths),
        *(_line(row, widths) for row in rows[1:]),
    ]


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    method, *others = row
    name = method if len(method) <= widths[0] else f"{method[: widths[0] - 1]}…"
    cells = [name.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
    return "  ".join(cells).rstrip()
