"""Public tools beside this project's methods, measured by `python -m benchmarks.rivals`, as Markdown tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.rivals.results import METRIC, Measured, load, ranked
from benchmarks.rivals.tools import OURS, Tool, chosen
from benchmarks.tables.terminal import markdown
from compat.curve_metrics import CURVE_METRICS
from compat.errors import InputError

LABEL = CURVE_METRICS[METRIC].label
RULES = {"raw": "raw distances", "query_z_score": "z-scores per query", "lists": "its own lists"}
SHOWN = (0.0, 0.1, 0.5, 1.0)
NOTE = (
    f"Gain: of the area under the {LABEL} curve, in % of the new system's lead over the old one. Worst: the lowest "
    "point of the curve minus the old system, in points. Two figures: by raw distances / by z-scores per query "
    "(`QueryZScore`); one: the tool's own lists, or a method that chooses its rule."
)


def percent(value: float, digits: int = 0) -> str:
    """Format a fraction in percent; "-" for NaN."""
    return "-" if math.isnan(value) else f"{round(100 * value, digits) + 0.0:.{digits}f}"


def joined(values: Sequence[float], digits: int = 0) -> str:
    """Format a figure under each rule in percent, as "65 / 72"."""
    return " / ".join(percent(value, digits) for value in values)


def pair_table(rows: Sequence[Measured]) -> str:
    """Format all rows of a pair, and what failed below."""
    about = rows[0].about
    old, new = (percent(about["systems"][which][METRIC], 1) for which in ("old", "new"))
    what = f"{about['queries']:,} queries, {about['items']:,} items, {about['training_pairs']:,} training pairs"
    drawn = " of the gallery itself" if about["own_pairs"] else ""
    heading = f"**{about['pair']}**: {LABEL} {old} -> {new} %, {what}{drawn}, {about['orders']} random orders."
    names = ("row", "at 0 %", "10 %", "50 %", "100 %", "gain (%)", "gain of mAP (%)", "worst", "flips (%)", "fit (s)")
    cells: list[Sequence[str]] = [(*names, "ms a query", "encodings a query", "MiB")]
    for row in ranked(rows):
        places = [about["progress"].index(point) for point in SHOWN]
        levels = [joined([row.curve(rule)[place] for rule in row.rules], 1) for place in places]
        gains = [joined([row.gain(rule, metric) for rule in row.rules]) for metric in (METRIC, "mean_ap")]
        harm = [joined([of(rule) for rule in row.rules], 1) for of in (row.worst, row.flips)]
        cells.append((row.name, *levels, *gains, *harm, *costs(row)))
    failed = [f"- {row.name}: {row.failure}" for row in rows if row.failure]
    return "\n".join([heading, "", *markdown(cells), *([""] if failed else []), *failed])


def costs(row: Measured) -> tuple[str, str, str, str]:
    """Format the seconds to fit, milliseconds and encodings a query, and memory; "-" without an own process."""
    fit, query, memory = (row.row[name] for name in ("fit", "query", "memory_mib"))
    if memory is None:
        return "-", "-", row.row["passes"], "-"
    return f"{fit:.1f}", f"{1000 * query:.2f}", row.row["passes"], f"{memory:,}"


def short_table(pairs: Sequence[Sequence[Measured]]) -> str:
    """Format one row for each way, with medians over the pairs, those with the largest gain first."""
    ways: dict[str, list[Measured]] = {}
    for row in (row for rows in pairs for row in rows if row.rules):
        ways.setdefault(row.name, []).append(row)
    found = []
    for name, group in ways.items():
        rules = group[0].rules
        gains = [middle([row.gain(rule) for row in group]) for rule in rules]
        starts = middle([row.curve(rules[0])[0] / row.system("new") for row in group])
        worst = [min(row.worst(rule) for row in group) for rule in rules]
        less = "" if len(group) == len(pairs) else f" ({len(group)} of {len(pairs)} pairs)"
        each = (
            "-" if group[0].row["memory_mib"] is None else f"{1000 * middle([row.row['query'] for row in group]):.2f}"
        )
        cells = (joined(gains), percent(starts), joined(worst, 1), each)
        passes = max(row.row["passes"] for row in group)
        found.append((max(gains), (f"{name}{less}", *cells, passes)))
    found.sort(key=lambda one: -one[0])
    names = ("row", "gain (%)", "at 0 %, of the new system (%)", "worst", "ms a query", "encodings a query")
    of_all = ", ".join(rows[0].about["pair"] for rows in pairs)
    heading = f"Medians over {len(pairs)} pairs of models ({of_all}), the worst over all. {NOTE}"
    return "\n".join([heading, "", *markdown([names, *(cells for _, cells in found)])])


def middle(values: Sequence[float]) -> float:
    """Return the median of those that are defined; NaN of none."""
    defined = [value for value in values if not math.isnan(value)]
    return float(np.median(defined)) if defined else math.nan


def first_rows(pairs: Sequence[Sequence[Measured]]) -> str:
    """Say for each pair what stands first, why, and what the best of the other side is."""
    causes = {tool.name: tool.cause for tool in chosen([])}
    lines = []
    for rows in pairs:
        order = ranked(rows)
        ours, theirs = ([row for row in order if (row.tool == OURS) == mine] for mine in (True, False))
        if not ours or not theirs:
            continue
        first, second = sorted((ours[0], theirs[0]), key=lambda row: -row.best)
        other = "our methods" if second.tool == OURS else "the tools"
        cause = f"{said(first)} stands first, as {causes[first.tool]}."
        lines.append(f"- **{first.about['pair']}**: {cause} The best of {other} is {said(second)}.")
    return "\n".join(lines)


def said(row: Measured) -> str:
    """Name a row with its gain."""
    gain = "no gain" if math.isinf(row.best) else f"a gain of {percent(row.best)} %"
    return f"{row.name} ({gain} by {RULES[row.best_rule]})"


def tool_table(pairs: Sequence[Sequence[Measured]]) -> str:
    """Format versions, licences, needs and writes of the tools, with what came of them."""
    cells: list[Sequence[str]] = [("tool", "version", "licence", "needs", "writes during a migration", "measured on")]
    for tool in chosen([]):
        rows = [row for of_pair in pairs for row in of_pair if row.tool == tool.name]
        versions = sorted({row.row["version"] for row in rows if row.row["version"]}) or [pinned(tool)]
        done = len({row.about["pair"] for row in rows if row.rules})
        failures = dict.fromkeys(row.failure for row in rows if row.failure)
        came = "; ".join([f"{done} of {len(pairs)} pairs", *failures])
        cells.append((tool.name, ", ".join(versions), tool.licence, tool.needs, tool.writes, came))
    return "\n".join(f"| {' | '.join(row)} |" for row in [cells[0], ["---"] * len(cells[0]), *cells[1:]])


def pinned(tool: Tool) -> str:
    """Return the version that would be installed."""
    return tool.requirements[0].rpartition("==")[2] if tool.requirements else "-"


VIEWS: dict[str, Callable[[Sequence[Sequence[Measured]]], str]] = {
    "pairs": lambda pairs: "\n\n".join(map(pair_table, pairs)),
    "short": short_table,
    "first": first_rows,
    "tools": tool_table,
}


def rivals(folder: Path, view: str = "pairs") -> str:
    """Format results of `benchmarks.rivals`.

    Args:
        folder: of the files of results.
        view: name of one of `VIEWS`.

    Raises:
        InputError: no such view, no results, or another kind of file.
    """
    if view not in VIEWS:
        raise InputError(f"view: {view!r}, expected one of {', '.join(VIEWS)}")
    return VIEWS[view](load(folder))
