"""Compare rows by paired bootstraps over queries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from compat.errors import InputError
from compat.results import Result, load_query_auc, load_upgrades
from compat.statistics import paired_bootstrap

FAR = 8.0  # standard errors of a difference beyond any bootstrap's 95 % interval


def find_not_separable(groups: Sequence[Sequence[Result]], folder: str | Path) -> set[str]:
    """Name the rows whose area is not significantly below the best row's, by a paired bootstrap over queries."""
    areas = {group[0].name: query_areas(group, folder) for group in groups}
    best = max(groups, key=lambda group: np.mean([r.auc for r in group]))[0].name
    first = areas.pop(best)
    if first is None:
        return set()
    return {name for name, of_row in areas.items() if of_row is not None and not _clearly_more(first, of_row)}


def _clearly_more(best: np.ndarray, other: np.ndarray) -> bool:
    """Whether the interval of best - other lies above 0."""
    difference = (best - other)[np.isfinite(best - other)]
    error = np.std(difference) / max(len(difference), 1) ** 0.5
    return bool(difference.mean() > FAR * error > 0) or paired_bootstrap(best, other).low > 0


def query_areas(group: Sequence[Result], folder: str | Path) -> np.ndarray | None:
    """Return each query's area, (Q,), mean over the seeds of a row; None where one was not saved."""
    areas = [load_query_auc(folder, result) for result in group]
    return None if any(area is None for area in areas) else np.mean(np.array(areas, float), axis=0)


def compare(folder: str | Path, one: str, other: str, only: Iterable[str] = (), broken: list[str] | None = None) -> str:
    """Compare two rows: the difference of their areas with its interval over queries.

    Raises:
        InputError: no such row, or no figures of each query.
    """
    areas, results = {}, one_upgrade("compare", folder, only, broken)
    for name in (one, other):
        group = [r for r in results if r.name == name]
        if not group:
            raise InputError(f"compare: {name!r}, expected some of {', '.join(sorted({r.name for r in results}))}")
        if (found := query_areas(group, folder)) is None:
            raise InputError(f"compare: no figures of each query of {name!r}, expected them in queries.npz")
        areas[name] = found
    mean, low, high = paired_bootstrap(areas[one], areas[other])
    verdict = f"{one} beats {other}" if low > 0 else f"{other} beats {one}" if high < 0 else "not separable"
    return (
        f"{one} - {other}: {100 * mean:+.2f} points of AUC mAP, 95 % [{100 * low:+.2f}, {100 * high:+.2f}]: {verdict}"
    )


def upgrades_of(
    folder: str | Path, only: Iterable[str] = (), broken: list[str] | None = None
) -> dict[str, list[Result]]:
    """Return the selected results by upgrade; upgrades without any are left out.

    Raises:
        InputError: any error of `load_upgrades` and `select`.
    """
    conditions = list(only)
    upgrades = load_upgrades(folder, broken)
    chosen = select([r for results in upgrades.values() for r in results], conditions)
    found = {name: [r for r in chosen if r.upgrade == name] for name in upgrades}
    return {name: results for name, results in found.items() if results}


def one_upgrade(
    command: str, folder: str | Path, only: Iterable[str] = (), broken: list[str] | None = None
) -> list[Result]:
    """Return the selected results of a folder with one upgrade.

    Args:
        command: begins the error.
        folder, only, broken: as of `upgrades_of`.

    Raises:
        InputError: the folder is a sequence, or any error of `upgrades_of`.
    """
    upgrades = upgrades_of(folder, only, broken)
    if len(upgrades) > 1:
        which = ", ".join(upgrades)
        raise InputError(f"{command}: {folder} is a sequence, expected --only upgrade= and one of {which}")
    (results,) = upgrades.values()
    return results


def select(results: Sequence[Result], only: Iterable[str]) -> list[Result]:
    """Select results by conditions label=value[,value ...], such as order=random or method=rqt,fct.

    Raises:
        InputError: no such label, or no matching result.
    """
    chosen = list(results)
    for condition in only:
        name, _, values = condition.partition("=")
        if chosen and name not in chosen[0].labels:
            expected = ", ".join(chosen[0].labels)
            raise InputError(f"only: {name!r}, expected a field of a result's labels: {expected}")
        chosen = [result for result in chosen if str(result.labels[name]) in values.split(",")]
    if results and not chosen:
        raise InputError(f"only: {' '.join(only)} leaves nothing, expected some results")
    return chosen
