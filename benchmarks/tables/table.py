"""Format all figures of a benchmark's rows as a Markdown table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.tables.compare import find_not_separable, upgrades_of
from benchmarks.tables.effort import UNTUNED, efforts, format_effort
from compat.errors import InputError
from compat.results import Failure, Result, load_failures, queries
from compat.results.summaries import HEADLINE, Summary, summaries
from compat.statistics import Interval, over_seeds

VERDICTS = {frozenset([True]): "yes", frozenset([False]): "no", frozenset([None]): "-"}
LEGEND = (
    "± is half the 95 % interval over seeds: of backbones, where every model is trained once for each; else of heads "
    "and of random orders; where no head is trained, of orders alone. Tuning: on held-out training images of which "
    "data set. ≈: a paired bootstrap over queries does not tell the area from the best row's, in bold (known only "
    "where figures of each query were saved)."
)


class TableRow(NamedTuple):
    """A method with its order and merge rule: its results, one per seed, and its mark: "best", "equal" or ""."""

    group: list[Result]
    mark: str

    def area(self, best: str, equal: str = "{} ≈") -> str:
        """Format the area as a cell; the best row, and rows not significantly worse, in the given frames."""
        return {"best": best, "equal": equal}.get(self.mark, "{}").format(percent([r.auc for r in self.group]))


def rows_of(results: Sequence[Result], folder: str | Path | None = None) -> list[TableRow]:
    """Group results into the rows of a table; mark the best one and rows not significantly worse.

    Args:
        results: of one upgrade, the seeds of a row after each other as `load_results` gives them.
        folder: of the results, with each query's figures; enables the comparison with the best row.
    """
    groups = [list(group) for _, group in groupby(results, key=lambda r: r.name)]
    equal = find_not_separable(groups, folder) if folder else set()
    best = max(np.mean([r.auc for r in group]) for group in groups)
    rows = []
    for group in groups:
        first = len(groups) > 1 and np.mean([r.auc for r in group]) == best
        rows.append(TableRow(group, "best" if first else "equal" if group[0].name in equal else ""))
    return rows


def table(
    results: Sequence[Result],
    folder: str | Path | None = None,
    failures: Sequence[Failure] = (),
    items: int | None = None,
) -> str:
    """Format as Markdown, in percent, a row per method with its order and merge rule; failures come last.

    Args:
        results: of one upgrade, the seeds of a row after each other as `load_results` gives them.
        folder: of the results, with each query's figures; enables the comparison with the best row.
        failures: of the upgrade.
        items: see `summaries`.
    """
    budget, effort = any(r.needs for r in results), efforts(folder) if folder else {}
    columns = list(summaries(results, items).values())
    names = ["method", *(["needs"] if budget else []), "seeds", *(f"{column.label} (%)" for column in columns)]
    names += ["backward compatible", "encoder passes per query", "bytes per item", "training (s)"]
    shown = rows_of(results, folder)
    tuned = [effort.get(format_effort(row.group[0].spec), "-") for row in shown]
    names += ["tuning"] if {*tuned} - {"-", UNTUNED} else []
    rows = [names, ["---", *["--:"] * (len(names) - 1)]]
    for row, tuning in zip(shown, tuned, strict=True):
        group, first = row.group, row.group[0]
        rows.append(
            [
                first.name,
                *([first.budget] if budget else []),
                seeds(group),
                row.area("**{}**"),
                *(cell(group, column) for column in columns[1:]),
                compatible(group),
                str(first.encoder_passes_per_query),
                str(first.bytes_per_item) if first.bytes_per_item else "-",
                f"{np.mean([r.training_seconds for r in group]):,.0f}",
                *([tuning] if names[-1] == "tuning" else []),
            ]
        )
    lines = [systems(results), "", *(f"| {' | '.join(row)} |" for row in rows)]
    lines += [f"| {escape(failure)} |" + " |" * (len(names) - 1) for failure in failures]
    return "\n".join(lines)


def cell(group: Sequence[Result], column: Summary) -> str:
    """Format a row's figure; "-" where a result lacks what it needs."""
    return percent([column.of(r) for r in group]) if all(map(column.known, group)) else "-"


def compatible(group: Sequence[Result]) -> str:
    """Tell whether the seeds of a row beat the old system at progress 0: yes, no, for some seeds, or "-".

    "-" means both models encode a query; "forward" instead of yes, that the method rewrites the old gallery first.
    """
    verdict = VERDICTS.get(frozenset(r.backward_compatible for r in group), "for some seeds")
    return "forward" if group[0].transforms_gallery and verdict == "yes" else verdict


def seeds(group: Sequence[Result]) -> str:
    """Count the seeds of a row by kind; one training is never several seeds."""
    count = len(group)
    if count == 1:
        return "1"
    trainings = list(zip(*(r.backbones for r in group), strict=False))
    if trainings and all(len({*of_model}) == count for of_model in trainings):
        return f"{count} backbones"
    return f"{count} heads" if "head training" in group[0].needs.get("method", []) else f"{count} orders"


def systems(results: Sequence[Result]) -> str:
    """Return the line above a table: both systems by mAP, and by nDCG@10 and R@1 where they were measured."""
    by_training = {tuple(r.backbones): r for r in results}.values()
    parts: list[str] = []
    for metric, label in HEADLINE.items():
        if all(metric in figures for r in by_training for figures in (r.old, r.new)):
            old, new = (percent([getattr(r, name)[metric] for r in by_training]) for name in ("old", "new"))
            parts.append(
                f"{label} {old} and {new} %" if parts else f"{label} of the old system {old} %, of the new one {new} %"
            )
    return f"{'; '.join(parts)}."


def escape(failure: Failure) -> str:
    """Escape a failure's line for a Markdown table."""
    return failure.line.replace("|", "\\|")


def tables(
    folder: str | Path,
    only: Iterable[str] = (),
    draw: Callable[[Sequence[Result], str | Path | None, Sequence[Failure]], str] = table,
    broken: list[str] | None = None,
) -> str:
    """Format the table of a benchmark, or those of a sequence's upgrades under their names.

    Args:
        folder: results/<benchmark>.
        only: conditions on results, see `benchmarks.tables.compare.select`; with some, failures are left out.
        draw: formats one table.
        broken: receives a message for each unreadable line.

    Raises:
        InputError: no results, none matching the conditions, or no such label.
    """
    conditions = list(only)
    compared: str | Path | None = folder
    try:
        queries.read(Path(folder))
    except InputError as error:
        if broken is None:
            raise
        broken.append(str(error))
        compared = None
    failures = [] if conditions else load_failures(folder, broken)
    try:
        found = upgrades_of(folder, conditions, broken)
    except InputError:
        if not failures or any(Path(folder).glob("results.jsonl*")):
            raise
        return "\n".join(escape(failure) for failure in failures)
    if len(found) == 1:
        (results,) = found.values()
        return draw(results, compared, failures)
    texts = []
    for name, of_upgrade in found.items():
        own = [failure for failure in failures if failure.labels.get("upgrade") == name]
        texts.append(f"{Path(folder).name}/{name}\n\n{draw(of_upgrade, compared, own)}")
    return "\n\n".join(texts)


def percent(values: list[float], digits: int = 2) -> str:
    """Format the mean over seeds with half its interval, unless it rounds to zero; to some digits after the point."""
    if np.isnan(values).any():  # the relative gain of a new system no better than the old one, a missing curve
        return "undefined"
    mean, low, high = Interval(*(100 * value for value in over_seeds(values)))
    half = (high - low) / 2
    return f"{mean:.{digits}f} ± {half:.{digits}f}" if half >= 10**-digits / 2 else f"{mean:.{digits}f}"
