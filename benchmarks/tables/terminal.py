"""Format the main columns of a table for a terminal, in 100 characters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.tables.table import escape, percent, rows_of, seeds, systems
from compat.results import Failure, Result

WIDTH = 100
LEAST = 24  # of the first column
NAMES = ("method", "seeds", "AUC mAP (%)", "relative gain (%)", "mAP 0 -> 1 (%)", "training (s)")


def narrow(results: Sequence[Result], folder: str | Path | None = None, failures: Sequence[Failure] = ()) -> str:
    """Format six columns, at most 100 characters wide; * is the best area. Arguments as in `table.table`."""
    rows = six_columns(results, folder, "{} *")
    return "\n".join([systems(results), "", *align(rows), *(failure.line for failure in failures)])


def short(results: Sequence[Result], folder: str | Path | None = None, failures: Sequence[Failure] = ()) -> str:
    """Format the same columns as Markdown, the best area in bold."""
    names, *rows = six_columns(results, folder, "**{}**")
    lines = [names, ["---", *["--:"] * (len(names) - 1)], *rows]
    return "\n".join([systems(results), "", *(f"| {' | '.join(line)} |" for line in lines), *map(escape, failures)])


def six_columns(results: Sequence[Result], folder: str | Path | None, best: str) -> list[Sequence[str]]:
    """Return the names of the columns and a row per method; `best` frames the best area."""
    rows: list[Sequence[str]] = [NAMES]
    for row in rows_of(results, folder):
        group = row.group
        ends = " -> ".join(f"{100 * np.mean([r.mean_ap[end] for r in group]):.2f}" for end in (0, -1))
        gain = percent([r.relative_gain for r in group])
        seconds = f"{np.mean([r.training_seconds for r in group]):,.0f}"
        rows.append((group[0].name, seeds(group), row.area(best), gain, ends, seconds))
    return rows


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
