"""Put folders of one data set beside each other: heads that see all classes of the gallery, and heads that do not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from benchmarks.tables.compare import one_upgrade
from benchmarks.tables.table import percent
from benchmarks.tables.terminal import markdown
from compat.errors import InputError
from compat.results import PLAIN, Result
from compat.results.harm import harm
from compat.results.summaries import HEADLINE, SUMMARIES, Summary, between_heads

NOTE = (
    "Gain of mAP, in percent of three ranges: from the old to the new model / from the old model to the method's own "
    "end / from rho(old) to rho(new), labelled heads trained alone. By query z: the first of the three with distances "
    "standardised by each query's own sample (`QueryZScore`). Gains of nDCG@10 and R@1: in percent of the range from "
    "the old to the new model; undefined where the new model is no better. Worst fall: below the old system in any "
    "run, in points, by mAP / nDCG@10 / R@1. ± is half the 95 % interval over seeds. -: not measured, or no such row."
)
QUERY_Z = "query_z_score"
Format: TypeAlias = Callable[[Sequence[Result], Sequence[Result]], str]  # of a row, and all results of its folder
GAINS = ("relative_gain", "gain_ndcg_10", "gain_r_1")


def seen_table(folders: Sequence[str | Path], only: Iterable[str] = (), broken: list[str] | None = None) -> str:
    """Format as two Markdown tables, of mAP and of what users see first; each figure's folders side by side.

    A row for each method, best in the first folder first.

    Args:
        folders: results/<benchmark> each, the first with heads that see all classes of the gallery.
        only: conditions on results, see `benchmarks.tables.compare.select`.
        broken: receives a message for each unreadable line, in place of an error.

    Raises:
        InputError: fewer than two folders, or any error of `one_upgrade`.
    """
    conditions = list(only)
    if len(folders) < 2:
        raise InputError(f"seen: {len(folders)} folder, expected two or more of one data set")
    results = [one_upgrade("seen", folder, conditions, broken) for folder in folders]
    named = settings(folders)
    both = (markdown(seen_rows(named, results, figures)) for figures in (MEAN_AP, FIRST))
    return "\n".join([NOTE, "", *next(both), "", *next(both)])


def gains_table(folders: Sequence[str | Path], only: Iterable[str] = (), broken: list[str] | None = None) -> str:
    """Format the gains of mAP, nDCG@10 and R@1 as Markdown, a column for each folder; arguments as of `seen_table`."""
    conditions = list(only)
    results = [one_upgrade("gains", folder, conditions, broken) for folder in folders]
    note = "Relative gain (%), mean over trainings."
    return "\n".join([note, "", *markdown(seen_rows(settings(folders), results, SHORT))])


def seen_rows(
    settings: Sequence[str], results: Sequence[Sequence[Result]], figures: Mapping[str, Format] | None = None
) -> list[list[str]]:
    """Return the columns' names and a row for each method; figures by `QUERY_Z` stand in the row of raw distances.

    Args:
        settings: their names.
        results: of each, of one upgrade, as `load_results` gives them.
        figures: of each row by heading; default: `MEAN_AP` and `FIRST`.
    """
    shown = [[r for r in of_folder if not standardised(r, of_folder)] for of_folder in results]
    names = list(dict.fromkeys(r.name for of_folder in shown for r in reversed(of_folder)))
    chosen = MEAN_AP | FIRST if figures is None else figures
    rows = [["method", *(f"{heading}: {setting}" for heading in chosen for setting in settings)]]
    for name in names:
        groups = [[r for r in of_folder if r.name == name] for of_folder in shown]
        of_settings = list(zip(groups, results, strict=True))
        rows.append([name, *(of(*one) if one[0] else "-" for of in chosen.values() for one in of_settings)])
    return rows


def standardised(result: Result, results: Sequence[Result]) -> bool:
    """Whether a result is the figure by `QUERY_Z` of another row, that of raw distances."""
    return result.merge == QUERY_Z and any(r.merge == PLAIN["merge"] and r.method == result.method for r in results)


def by_query_z(row: Sequence[Result], results: Sequence[Result]) -> str:
    """Format the relative gain of mAP of the same method by `QUERY_Z`."""
    method, order = row[0].method, row[0].order
    found = [r for r in results if (r.method, r.order, r.merge) == (method, order, QUERY_Z)]
    return figure(found, SUMMARIES["relative_gain"]) if found else "-"


def settings(folders: Sequence[str | Path]) -> list[str]:
    """Name the settings: the first is seen, each other by what its folder's name adds to that of the first.

    Example:
        >>> settings(["results/digits_controls", "results/digits_controls_open_class"])
        ['seen', 'open class']
    """
    first, *others = (Path(folder).resolve().name for folder in folders)
    return ["seen", *(name.removeprefix(first).strip("_").replace("_", " ") for name in others)]


def gains(row: Sequence[Result], results: Sequence[Result]) -> str:
    """Format the relative gain of mAP in three ranges."""
    ranges = [SUMMARIES["relative_gain"], SUMMARIES["gain_on_final"], *between_heads(results).values()]
    first, *others = [*(figure(row, column) for column in ranges), "-"][:3]
    return " / ".join([first, *map(bare, others)])


def figure(row: Sequence[Result], column: Summary) -> str:
    """Format one figure; "-" where a result lacks what it needs."""
    return percent([column.of(r) for r in row], 1) if all(map(column.known, row)) else "-"


def bare(text: str) -> str:
    """Leave out the interval of a figure."""
    return text.partition(" ± ")[0]


def falls(row: Sequence[Result]) -> str:
    """Format the worst falls of the runs."""
    found = [harm(row, metric) for metric in HEADLINE]
    return " / ".join("-" if not one.runs else f"{100 * one.worst:.2f}" if one.below else "0" for one in found)


MEAN_AP: dict[str, Format] = {"gain of mAP": gains, "by query z": by_query_z}
FIRST: dict[str, Format] = {  # what users see first
    "gain of nDCG@10": lambda row, _: figure(row, SUMMARIES["gain_ndcg_10"]),
    "gain of R@1": lambda row, _: figure(row, SUMMARIES["gain_r_1"]),
    "worst fall": lambda row, _: falls(row),
}
SHORT: dict[str, Format] = {
    "mAP / nDCG@10 / R@1": lambda row, _: " / ".join(bare(figure(row, SUMMARIES[gain])) for gain in GAINS)
}
