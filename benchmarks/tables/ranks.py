"""Format a comparison of methods over several folders, as a table and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.tables.compare import one_upgrade
from benchmarks.tables.table import percent
from benchmarks.tables.terminal import align, markdown
from compat.errors import InputError
from compat.ranks import MethodRanking, Ranked, RankedRow, rank
from compat.results import Result, load_query_auc
from compat.results.lines import rounded
from compat.statistics import Interval

LEGEND = (
    "In a folder: the mean over the trainings of the backbones ± half its 95 % interval, where there are several, and "
    "in brackets the difference to the reference, paired by training. Over the folders, which weigh alike: the mean "
    "and its difference to the reference with intervals by a hierarchical bootstrap of folders (unless fixed), "
    "trainings, and queries where they were saved. ≈: this interval includes 0. Few folders, and settings of one data "
    "set, say little of other data sets: read the difference in each folder before the mean. Methods that a folder "
    "lacks have no mean."
)


def ranking(
    folders: Sequence[str | Path],
    only: Iterable[str] = (),
    metric: str = "relative_gain",
    broken: list[str] | None = None,
    against: str | None = None,
    fixed: bool = False,
) -> MethodRanking:
    """Compare the methods of several folders.

    Args:
        folders: results/<benchmark> each.
        only: conditions on results, see `benchmarks.tables.compare.select`.
        metric: key of `compat.results.summaries.summaries`.
        broken: receives a message for each unreadable line, in place of an error.
        against: name of the reference row; the best one unless given.
        fixed: whether to take the folders as given.

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
    places = {Path(folder).resolve().name: folder for folder in folders}
    return rank(results, metric, against, fixed, lambda name, result: load_query_auc(places[name], result))


def table(found: MethodRanking) -> str:
    """Format as Markdown: best first, in bold; ≈ marks rows not told from the reference; unranked rows come last."""
    lines = [["method", "encoder passes", "needs", *headings(found)]]
    for row in (*found.ranked, *found.others):
        name = f"**{row.name}**" if row is found.ranked[0] else row.name
        lines.append([name, str(row.encoder_passes_per_query), row.needs, *cells(row, found)])
    return "\n".join([heading(found), "", *markdown(lines)])


def narrow(found: MethodRanking) -> str:
    """Format for a terminal, without the column of needed inputs."""
    rows = [["method", *headings(found)]]
    for row in (*found.ranked, *found.others):
        rows.append([f"{row.name} *" if row is found.ranked[0] else row.name, *cells(row, found)])
    return "\n".join([heading(found), "", *align(rows)])


def heading(found: MethodRanking) -> str:
    """Return the line above a table."""
    folders = ", ".join(f"{folder} ({count})" for folder, count in found.blocks.items())
    return (
        f"{len(found.ranked)} methods by {found.metric.label} in {len(found.blocks)} folders (and trainings in each): "
        f"{folders}. In brackets: difference to {found.reference}, paired by training. Intervals over the folders: "
        f"hierarchical bootstrap, folders {'fixed' if found.fixed else 'drawn'}."
    )


def headings(found: MethodRanking) -> list[str]:
    """Return the headings of the figure in each folder, of its mean, and of the mean's difference to the reference."""
    return [*(f"{folder} (%)" for folder in found.blocks), "mean (%)", f"difference to {found.reference}"]


def cells(row: RankedRow, found: MethodRanking) -> list[str]:
    """Return a row's figure in each folder, its mean, and the mean's difference to the reference."""
    figures = {folder: percent(row.values[folder]) for folder in row.values}
    if not isinstance(row, Ranked):
        return [*(figures.get(folder, "-") for folder in found.blocks), "-", "-"]
    if row.name == found.reference:
        return [*figures.values(), over_folders(row.mean), "-"]
    shown = [f"{figures[folder]} ({difference(row.effects[folder])})" for folder in found.blocks]
    return [*shown, over_folders(row.mean), over_folders(row.effect, "+") + " ≈" * row.equal]


def difference(effect: Interval) -> str:
    """Format a difference with half its interval over trainings, unless it has none."""
    half = 50 * (effect.high - effect.low)
    return f"{100 * effect.mean:+.1f}" + (f" ± {half:.1f}" if half else "")


def over_folders(found: Interval, sign: str = "") -> str:
    """Format a figure with the ends of its interval."""
    mean, low, high = (f"{100 * value:{sign}.1f}" for value in found)
    return f"{mean} [{low}, {high}]"


def plain(found: MethodRanking) -> dict[str, Any]:
    """Return everything as JSON values, in fractions."""
    ranked = [
        {
            **asdict(row),
            "effects": {folder: effect._asdict() for folder, effect in row.effects.items()},
            "mean": row.mean._asdict(),
            "effect": row.effect._asdict(),
        }
        for row in found.ranked
    ]
    return rounded({**asdict(found), "ranked": ranked})
