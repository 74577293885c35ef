"""Format the harm of methods: the share of their runs below the old system, and how far."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.tables.compare import upgrades_of
from benchmarks.tables.terminal import align, markdown
from compat.results import PLAIN, Result, row_name
from compat.results.harm import Harm, harm
from compat.results.summaries import HEADLINE

NOTE = (
    "Cells: how many of the runs are below the old system at any completion ratio; in brackets the median and the "
    "worst of their deepest falls, in points. A run is one training with one order and merge rule, its curve the mean "
    "over its random orders; a single order can fall deeper. -: the metric was not measured."
)


def runs_of(
    folders: Sequence[str | Path], only: Iterable[str] = (), broken: list[str] | None = None
) -> list[list[Result]]:
    """Return the runs of each folder, with the merge rule raw unless the conditions choose others.

    Args:
        folders: results/<benchmark> each.
        only: conditions on results, see `benchmarks.tables.compare.select`.
        broken: receives a message for each unreadable line, in place of an error.

    Raises:
        InputError: any error of `upgrades_of`.
    """
    conditions = list(only)
    chosen = any(condition.startswith("merge=") for condition in conditions)
    found = []
    for folder in folders:
        runs = [run for of_upgrade in upgrades_of(folder, conditions, broken).values() for run in of_upgrade]
        found.append([run for run in runs if chosen or run.merge == PLAIN["merge"]])
    return found


def harm_rows(runs: Iterable[Result]) -> list[list[str]]:
    """Return the columns' names and a row for each method, those with the fewest runs below first."""
    methods: dict[str, list[Result]] = {}
    for run in runs:
        labels = {name: value for name, value in run.labels.items() if name != "order"}
        methods.setdefault(row_name(labels), []).append(run)
    found = {name: [harm(group, metric) for metric in HEADLINE] for name, group in methods.items()}
    names = sorted(found, key=lambda name: [share(one) for one in found[name]])
    return [["method", *HEADLINE.values()], *([name, *map(cell, found[name])] for name in names)]


def share(one: Harm) -> float:
    """Return the share of runs below the old system; 0 without runs."""
    return one.below / one.runs if one.runs else 0.0


def cell(one: Harm) -> str:
    """Format as "3 of 12 (1.20, 4.50)"."""
    if not one.runs:
        return "-"
    depths = f" ({100 * one.median:.2f}, {100 * one.worst:.2f})" if one.below else ""
    return f"{one.below} of {one.runs}{depths}"


def heading(folders: Sequence[str | Path], runs: Sequence[Sequence[Result]]) -> str:
    """Return the line above a table."""
    counted = ", ".join(
        f"{Path(folder).resolve().name} ({len(own)})" for folder, own in zip(folders, runs, strict=True)
    )
    return f"Runs below the old system in {counted}. {NOTE}"


def harm_table(
    folders: Sequence[str | Path], only: Iterable[str] = (), broken: list[str] | None = None, terminal: bool = False
) -> str:
    """Format as Markdown, or for a terminal, with one row for each method; arguments as of `runs_of`."""
    runs = runs_of(folders, only, broken)
    rows = harm_rows(run for own in runs for run in own)
    return "\n".join([heading(folders, runs), "", *(align(rows) if terminal else markdown(rows))])
