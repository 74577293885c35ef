"""Format ranks of methods over several folders, as a table and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from math import isclose, isnan
from pathlib import Path
from typing import Any

from benchmarks.tables.compare import one_upgrade
from benchmarks.tables.table import percent
from benchmarks.tables.terminal import align, markdown
from compat.errors import InputError
from compat.ranks import MethodRanking, Ranked, RankedRow, rank
from compat.results import Result
from compat.results.lines import rounded

LEGEND = (
    "A rank is the mean over the folders, which weigh alike, of the mean over the trainings of the backbones in each; "
    "[ ] is its 95 % interval over the folders, ± half that of a figure over trainings, where there are several. The "
    "best row is bold, or marked *; ≈: paired over the folders, ranks are not told from its. Methods that a folder "
    "lacks have no rank. The critical difference (Nemenyi, 5 %) holds for all pairs together. Both are over folders: "
    "seeds of one data set are no independent data sets, and settings of one data set are not quite either."
)


def ranking(
    folders: Sequence[str | Path],
    only: Iterable[str] = (),
    metric: str = "relative_gain",
    broken: list[str] | None = None,
) -> MethodRanking:
    """Rank the methods of several folders.

    Args:
        folders: results/<benchmark> each.
        only: conditions on results, see `benchmarks.tables.compare.select`.
        metric: key of `compat.results.summaries.summaries`.
        broken: receives a message for each unreadable line, in place of an error.

    Raises:
        InputError: two folders of one name, or any error of `one_upgrade` and `compat.ranks.rank`.
    """
    conditions = list(only)
    results: dict[str, Sequence[Result]] = {}
    for folder in folders:
        name = Path(folder).resolve().name
        if name in results:
            raise InputError(f"rank: two folders named {name}, expected a name for each")
        results[name] = one_upgrade("rank", folder, conditions, broken)
    return rank(results, metric)


def table(found: MethodRanking) -> str:
    """Format as Markdown: best first, in bold; rows not significantly worse are marked ≈; unranked rows come last."""
    lines = [["method", "encoder passes", "needs", *headings(found)]]
    for row in (*found.ranked, *found.others):
        name = f"**{row.name}**" if is_best(row, found) else row.name
        lines.append([name, str(row.encoder_passes_per_query), row.needs, *cells(row, found)])
    return "\n".join([heading(found), "", *markdown(lines)])


def narrow(found: MethodRanking) -> str:
    """Format for a terminal, without the column of needed inputs."""
    rows = [["method", *headings(found)]]
    for row in (*found.ranked, *found.others):
        rows.append([f"{row.name} *" if is_best(row, found) else row.name, *cells(row, found)])
    return "\n".join([heading(found), "", *align(rows)])


def heading(found: MethodRanking) -> str:
    """Return the line above a table."""
    folders = ", ".join(f"{folder} ({count})" for folder, count in found.blocks.items())
    p = "" if isnan(found.friedman) else f"; Friedman's p {found.friedman:.2g}"
    return (
        f"{len(found.ranked)} methods ranked by {found.metric.label} in {len(found.blocks)} folders (and trainings in "
        f"each): {folders}. Critical difference of mean ranks {found.critical_difference:.1f}{p}."
    )


def headings(found: MethodRanking) -> list[str]:
    """Return the headings of the figure in each folder, and of the rank."""
    return [*(f"{folder} (%)" for folder in found.blocks), "mean rank"]


def cells(row: RankedRow, found: MethodRanking) -> list[str]:
    """Return a row's figure in each folder, and its rank."""
    figures = [percent(row.values[folder]) if folder in row.values else "-" for folder in found.blocks]
    if not isinstance(row, Ranked):
        return [*figures, "-"]
    mean, low, high = row.rank
    mark = " ≈" if row.equal and not is_best(row, found) else ""
    return [*figures, f"{mean:.1f} [{low:.1f}, {high:.1f}]{mark}"]


def is_best(row: RankedRow, found: MethodRanking) -> bool:
    """Whether no mean rank is better."""
    return isinstance(row, Ranked) and isclose(row.rank.mean, found.ranked[0].rank.mean)


def plain(found: MethodRanking) -> dict[str, Any]:
    """Return everything as JSON values, in fractions."""
    ranked = [{**asdict(row), "rank": row.rank._asdict()} for row in found.ranked]
    p = None if isnan(found.friedman) else found.friedman
    return rounded({**asdict(found), "ranked": ranked, "friedman": p})
