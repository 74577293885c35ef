"""Compare methods over several data sets by the sizes of their effects. Imports no torch.

A block is one folder of results and one training of its backbones; seeds of heads and orders are averaged within it.
In each folder a method's figure, and its difference to a reference method in the same blocks, have Student's interval
over the blocks. Over the folders, which weigh alike, both means have an interval by
`compat.statistics.hierarchical_bootstrap`: folders, blocks, and queries where the figures of each were saved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from compat.errors import InputError
from compat.results import Metric, Result
from compat.results.summaries import Summary, summaries
from compat.statistics import Interval, hierarchical_bootstrap, over_seeds, percentiles

QueryAreas: TypeAlias = Callable[[str, Result], "np.ndarray | None"]
Block: TypeAlias = dict[str, list[Result]]  # of one training: name of a row -> its seeds


@dataclass(frozen=True)
class RankedRow:
    """A method, with its order and merge rule.

    Attributes:
        name: of the row, as in other tables.
        encoder_passes_per_query: during the backfill.
        needs: its required inputs.
        values: for each folder with it, the figure of each block.
    """

    name: str
    encoder_passes_per_query: int
    needs: str
    values: dict[str, list[float]]


@dataclass(frozen=True)
class Ranked(RankedRow):
    """A method present in all folders.

    Attributes:
        effects: for each folder, the difference of its figure to the reference's, paired by block.
        mean: of its figure over the folders, with the hierarchical interval.
        effect: of its difference to the reference over the folders, likewise.
        equal: whether that interval includes 0.
    """

    effects: dict[str, Interval]
    mean: Interval
    effect: Interval
    equal: bool


@dataclass(frozen=True)
class MethodRanking:
    """Methods over several folders.

    Attributes:
        metric: the compared figure.
        blocks: for each folder, the number of compared blocks, which have all the ranked methods.
        reference: name of the row to which the differences are.
        fixed: whether the intervals over the folders take these as given.
        ranked: the methods present in all folders, the best mean first.
        others: the rest, by name.
    """

    metric: Metric
    blocks: dict[str, int]
    reference: str
    fixed: bool
    ranked: list[Ranked]
    others: list[RankedRow]


def _unsaved(folder: str, result: Result) -> None:
    """Return no query's area."""


def rank(
    folders: Mapping[str, Sequence[Result]],
    metric: str = "relative_gain",
    against: str | None = None,
    fixed: bool = False,
    query_areas: QueryAreas = _unsaved,
) -> MethodRanking:
    """Compare the methods present in all folders with one of them.

    Args:
        folders: the results of each, of one upgrade.
        metric: key of `compat.results.summaries.summaries`.
        against: name of the reference row; the one with the best mean unless given.
        fixed: whether to take the folders as given, instead of drawing them.
        query_areas: returns each query's area of a result (Q,), or None where it was not saved; read for auc and
            relative_gain, whose old and new system stay as they are when queries are drawn.

    Raises:
        InputError: no such metric or reference; fewer than two folders, or common methods; no block with all of these;
            an undefined figure.
    """
    if len(folders) < 2:
        raise InputError(f"rank: {len(folders)} folder, expected two or more, each of a data set in a setting")
    known = summaries(result for results in folders.values() for result in results)
    if metric not in known:
        raise InputError(f"metric: {metric!r}, expected some of {', '.join(known)}")
    summary = known[metric]
    blocks = {folder: _blocks(results) for folder, results in folders.items()}
    found = {folder: set().union(*of_folder) for folder, of_folder in blocks.items()}
    common = sorted(set.intersection(*found.values()))
    if len(common) < 2:
        which = ", ".join(common) or "none"
        raise InputError(f"rank: methods in all of {', '.join(folders)}: {which}, expected two or more")
    if against is not None and against not in common:
        raise InputError(f"against: {against!r}, expected a method in all folders: {', '.join(common)}")
    complete = {folder: _complete(folder, of_folder, common) for folder, of_folder in blocks.items()}
    values = {folder: _figures(folder, of_folder, common, summary) for folder, of_folder in complete.items()}
    means = np.mean([of_folder.mean(0) for of_folder in values.values()], axis=0)
    best_first = np.argsort(-means if summary.higher_is_better else means, kind="stable")
    reference = int(best_first[0]) if against is None else common.index(against)
    areas_of = query_areas if metric in ("auc", "relative_gain") else _unsaved
    nested = []
    for (folder, of_folder), figures in zip(complete.items(), values.values(), strict=True):
        rows_of = [[block[name] for name in common] for block in of_folder]
        nested.append([v + _deviations(folder, r, metric, areas_of) for v, r in zip(figures, rows_of, strict=True)])
    resampled = hierarchical_bootstrap(nested, fixed=fixed)
    rows = {name: _described(name, folders, blocks, summary) for name in sorted(set().union(*found.values()))}
    ranked = []
    for place in best_first:
        effects = {f: over_seeds((v[:, place] - v[:, reference]).tolist()) for f, v in values.items()}
        effect = percentiles(float(means[place] - means[reference]), resampled[:, place] - resampled[:, reference])
        mean, equal = percentiles(float(means[place]), resampled[:, place]), effect.low <= 0 <= effect.high
        ranked.append(Ranked(**vars(rows.pop(common[place])), effects=effects, mean=mean, effect=effect, equal=equal))
    counted = {folder: len(of_folder) for folder, of_folder in values.items()}
    shown = Metric(summary.label, summary.higher_is_better)
    return MethodRanking(shown, counted, common[reference], fixed, ranked, list(rows.values()))


def _blocks(results: Sequence[Result]) -> list[Block]:
    """Group the results of a folder by the training of the backbones and by row."""
    blocks: dict[tuple[str, ...], Block] = {}
    for result in results:
        blocks.setdefault(tuple(result.backbones), {}).setdefault(result.name, []).append(result)
    return list(blocks.values())


def _complete(folder: str, blocks: Sequence[Block], names: Sequence[str]) -> list[Block]:
    """Return the blocks with all of these rows.

    Raises:
        InputError: no such block.
    """
    found = [block for block in blocks if block.keys() >= set(names)]
    if not found:
        missing = min(set(names) - blocks[0].keys())
        raise InputError(f"rank: no training in {folder} has all methods, one lacks {missing}; expected one with all")
    return found


def _figures(folder: str, blocks: Sequence[Block], names: Sequence[str], summary: Summary) -> np.ndarray:
    """Return the figure of each block and row, (B, M), means over seeds.

    Raises:
        InputError: an undefined figure.
    """
    values = np.array([[np.mean([summary.of(r) for r in block[name]]) for name in names] for block in blocks])
    if not np.isfinite(values).all():
        name = names[int(np.argmin(np.isfinite(values).all(0)))]
        raise InputError(f"rank: the figure of {name} in {folder} is undefined, expected another metric, such as auc")
    return values


def _deviations(folder: str, rows: Sequence[Sequence[Result]], metric: str, areas_of: QueryAreas) -> np.ndarray:
    """Return how far each query's figure is from the mean of its row, (Q, M); (1, M) of 0 where one was not saved.

    Args:
        folder: its name.
        rows: the seeds of each of M rows.
        metric: auc, or relative_gain.
        areas_of: as `query_areas` of `rank`.
    """
    found = [[areas_of(folder, result) for result in row] for row in rows]
    if any(areas is None for row in found for areas in row):
        return np.zeros((1, len(rows)))
    of_rows = []
    for results, row in zip(rows, found, strict=True):
        scales = [r.new["mean_ap"] - r.old["mean_ap"] if metric == "relative_gain" else 1.0 for r in results]
        areas = [of_one / scale for of_one, scale in zip(row, scales, strict=True) if of_one is not None]
        of_rows.append(np.mean(areas, axis=0))
    figures = np.array(of_rows).T
    figures = figures[np.isfinite(figures).all(1)]  # a query without a positive is NaN in all rows
    return figures - figures.mean(0)


def _described(
    name: str, folders: Mapping[str, Sequence[Result]], blocks: Mapping[str, Sequence[Block]], summary: Summary
) -> RankedRow:
    """Describe a row by itself."""
    first = next(r for results in folders.values() for r in results if r.name == name)
    values = {
        folder: [float(np.mean([summary.of(r) for r in block[name]])) for block in of_folder if name in block]
        for folder, of_folder in blocks.items()
    }
    values = {folder: of_row for folder, of_row in values.items() if of_row}
    return RankedRow(name, first.encoder_passes_per_query, first.budget, values)
