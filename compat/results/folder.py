"""The folder of a benchmark's results: results.jsonl, failures.jsonl, experiment.yaml and queries.npz.

One line a result, sorted by labels; the config, what the models were trained on and where things were made once, beside
it. Whoever writes holds the folder's lock and renames each file into place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace as changed
from math import isclose
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import yaml
from filelock import FileLock

from compat.errors import InputError
from compat.files import replace
from compat.results import layout_1, queries
from compat.results.lines import failure_of, line_of, read_lines, result_of, rounded
from compat.results.result import Failure, Labels, Result, identity

RESULTS, FAILURES, EXPERIMENT = "results.jsonl", "failures.jsonl", "experiment.yaml"
CIRCUMSTANCES = ("only", "seed", "runs", "results", "overwrite", "enable_progress_bar")
Record = TypeVar("Record", bound="Result | Failure")


def collect(
    folder: str | Path,
    results: Sequence[Result],
    query_areas: Sequence[np.ndarray | None] = (),
    experiment: Mapping[str, Any] | None = None,
) -> None:
    """Put results into a benchmark's folder: each takes the place of the one, or of the failure, with its labels.

    Args:
        folder: results/<benchmark>.
        results: `provenance` counts in the experiment's list, without one in the folder's; it is numbered anew.
        query_areas: for each result each query's area under its curve of average precision (Q,), or None; what paired
            comparisons of methods are made from.
        experiment: config, trained_on, and the records of provenance; joined to what the folder has.

    Raises:
        InputError: a file of the folder cannot be read.
    """
    folder = Path(folder)
    with _locked(folder):
        before = load_experiment(folder)
        earlier = before.pop("provenance", [])
        joined = {**(experiment or {})}
        given = joined.pop("provenance", [])
        records, first = [*earlier, *given], len(earlier) if given else 0
        moved = [changed(r, provenance=[first + n for n in r.provenance]) for r in results]
        kept = _replaced(read_lines(folder / RESULTS, result_of, None), moved)
        kept, records = _renumbered(kept, records)
        areas = query_areas or [None] * len(results)
        queries.merge(folder, zip((r.labels for r in results), areas, strict=True))
        text = yaml.safe_dump(
            rounded(_joined(before, without_circumstances(joined)) | {"provenance": records}),
            sort_keys=False, default_flow_style=None, width=120, allow_unicode=True,
        )  # fmt: skip
        replace(folder / EXPERIMENT, lambda path: path.write_text(text))
        _write(folder / RESULTS, kept)
        _forget(folder / FAILURES, read_lines(folder / FAILURES, failure_of, None), moved)


def collect_failures(folder: str | Path, failures: Sequence[Failure]) -> None:
    """Note what failed, in place of results with the same labels."""
    folder = Path(folder)
    with _locked(folder):
        _forget(folder / RESULTS, read_lines(folder / RESULTS, result_of, None), failures)
        queries.merge(folder, ((f.labels, None) for f in failures))
        _write(folder / FAILURES, _replaced(read_lines(folder / FAILURES, failure_of, None), failures))


def forget(folder: str | Path, labels: Sequence[Labels]) -> None:
    """Take results out of a folder."""
    folder = Path(folder)
    if labels:
        with _locked(folder):
            gone = [Failure("", of_one, "") for of_one in labels]
            _forget(folder / RESULTS, read_lines(folder / RESULTS, result_of, None), gone)
            queries.merge(folder, ((of_one, None) for of_one in labels))


def without_circumstances(value: Any) -> Any:
    """A config without what says how or where it was run and is no part of what was measured."""
    if isinstance(value, Mapping):
        return {key: without_circumstances(item) for key, item in value.items() if key not in CIRCUMSTANCES}
    return [without_circumstances(item) for item in value] if isinstance(value, list | tuple) else value


def load_results(folder: str | Path, broken: list[str] | None = None) -> list[Result]:
    """All results: the upgrades in their sequence, in each the rows by their AUC, seeds ascending.

    Args:
        folder: results/<benchmark>, in this layout or the earlier one.
        broken: gets a message for each line that cannot be read, which is left out, in place of an error.

    Raises:
        InputError: no such folder, no result in it, a line that cannot be read, or results that cannot be compared.
    """
    folder = Path(folder)
    if (folder / RESULTS).exists():
        results = read_lines(folder / RESULTS, result_of, broken)
    else:
        results = layout_1.load_results(folder, broken)
    if not results:
        raise InputError(f"{folder}: no results, expected a folder with {RESULTS}")
    _check_one_benchmark(folder, results)
    aucs: dict[tuple[str, str], list[float]] = {}
    for r in results:
        aucs.setdefault((r.upgrade, r.name), []).append(r.auc)

    def place(r: Result) -> tuple[Any, ...]:
        return (
            r.upgrade not in ("", "first"), -r.starts_at,
            sum(aucs[r.upgrade, r.name]) / len(aucs[r.upgrade, r.name]), r.name, r.seed,
        )  # fmt: skip

    return sorted(results, key=place)


def load_upgrades(folder: str | Path, broken: list[str] | None = None) -> dict[str, list[Result]]:
    """The results of a benchmark by upgrade, as `load_results` gives them: one, named "", or those of a sequence.

    Raises:
        InputError: as `load_results`, or a method that one of the upgrades lacks.
    """
    upgrades: dict[str, list[Result]] = {}
    for result in load_results(folder, broken):
        upgrades.setdefault(result.upgrade, []).append(result)
    if "" in upgrades and len(upgrades) > 1:
        beside = "results beside those of a sequence"
        raise InputError(f"{folder}: {beside}, expected one or the other; delete the old ones")
    methods = {name: {result.method for result in results} for name, results in upgrades.items()}
    for name, found in methods.items():
        if missing := set.union(*methods.values()) - found:
            raise InputError(f"{folder}: no result of {min(missing)} in {name}, expected it as in the other upgrades")
    return upgrades


def load_keys(folder: str | Path) -> dict[tuple[tuple[str, str], ...], str]:
    """The key of each result by the identity of its labels; nothing where there is no folder."""
    return {identity(r.labels): r.key for r in read_lines(Path(folder, RESULTS), result_of, None)}


def load_failures(folder: str | Path, broken: list[str] | None = None) -> list[Failure]:
    """What failed in a benchmark, by labels."""
    folder = Path(folder)
    found = read_lines(folder / FAILURES, failure_of, broken)
    return found or layout_1.load_failures(folder)


def failures_of(folder: str | Path, asked: Iterable[Labels]) -> list[Failure]:
    """Of the failures in a folder those of the results asked for."""
    wanted = {identity(labels) for labels in asked}
    return [failure for failure in load_failures(folder) if identity(failure.labels) in wanted]


def load_experiment(folder: str | Path) -> dict[str, Any]:
    """The config, trained_on, and the records of provenance; nothing where there is no file.

    Raises:
        InputError: it cannot be read.
    """
    path = Path(folder, EXPERIMENT)
    if not path.exists():
        return {}
    try:
        return dict(yaml.load(path.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: {' '.join(str(error).split())}, expected what benchmarks.run writes") from error


def _locked(folder: Path) -> AbstractContextManager[Any]:
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / ".lock")


def _replaced(before: Iterable[Record], given: Iterable[Record]) -> list[Record]:
    """Sorted by labels, those given in the places of those with their labels."""
    by_labels: dict[Any, Record] = {identity(r.labels): r for r in (*before, *given)}
    return sorted(by_labels.values(), key=lambda r: _place(r.labels))


def _place(labels: Labels) -> list[str]:
    return [f"{value:09}" if isinstance(value, int) else str(value) for value in labels.values()]


def _renumbered(results: list[Result], records: list[Any]) -> tuple[list[Result], list[Any]]:
    """Each record of provenance once, and only those that a result has."""
    distinct: list[Any] = []
    numbered = []
    for result in results:
        numbers = []
        for number in result.provenance:
            if records[number] not in distinct:
                distinct.append(records[number])
            numbers.append(distinct.index(records[number]))
        numbered.append(changed(result, provenance=numbers))
    return numbered, distinct


def _joined(before: Any, given: Any) -> Any:
    """Dictionaries with the entries of both, the given ones first in rank; a class with its arguments is one value."""
    if not (isinstance(before, dict) and isinstance(given, dict)) or "class_path" in before or "class_path" in given:
        return given
    return {**before, **{key: _joined(before.get(key), value) for key, value in given.items()}}


def _write(path: Path, records: Iterable[Result | Failure]) -> None:
    text = "".join(f"{line_of(record)}\n" for record in records)
    replace(path, lambda file: file.write_text(text))


def _forget(path: Path, records: Sequence[Record], given: Iterable[Result | Failure]) -> None:
    """Write a file without the records that have the labels of those given; without any, delete it."""
    gone = {identity(r.labels) for r in given}
    left = [r for r in records if identity(r.labels) not in gone]
    if left:
        _write(path, left)
    else:
        path.unlink(missing_ok=True)


def _check_one_benchmark(folder: Path, results: Sequence[Result]) -> None:
    """Refuse results of other systems, or of other completion ratios, in one upgrade."""
    firsts: dict[str, Result] = {}
    for result in results:
        first = firsts.setdefault(result.upgrade, result)
        for name in ("progress", "old", "new"):
            one, other = getattr(first, name), getattr(result, name)
            same = one == other if name == "progress" else _same(one, other)
            if not same:
                rows = [f"{r.name} (seed {r.seed})" for r in (first, result)]
                raise InputError(f"{folder}: {name} differs between {' and '.join(rows)}, expected one benchmark")


def _same(system: dict[str, float], other: dict[str, float]) -> bool:
    """Whether figures are the same but for the last digits, which depend on how sums were divided."""
    return system.keys() == other.keys() and all(isclose(system[k], other[k], rel_tol=1e-8) for k in system)
