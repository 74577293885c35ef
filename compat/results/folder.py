"""The folder of a benchmark's results: results.jsonl, failures.jsonl, experiment.yaml and queries.npz.

One line per result, sorted by labels. The config, the training data of the models and the provenance are stored once,
beside it. results.jsonl may have been packed by gzip; a writer unpacks it. A writer holds the folder's lock and renames
each file into place. Referenced records are written before the lines and removed after them, so a process may be
killed between any two files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import isclose
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from filelock import FileLock

from compat.errors import InputError
from compat.files import replace, sweep
from compat.results import queries
from compat.results.experiment import EXPERIMENT, join_experiments, load_experiment, save_experiment
from compat.results.lines import failure_of, line_of, packed, read_lines, result_of
from compat.results.result import Failure, Labels, Result, identity

RESULTS, FAILURES = "results.jsonl", "failures.jsonl"
Record = TypeVar("Record", bound="Result | Failure")


class CollectError(InputError):
    """A folder of results cannot be written, or has a result not to be replaced; its content stays."""


def collect(
    folder: str | Path,
    results: Sequence[Result],
    query_areas: Sequence[np.ndarray | None] = (),
    experiment: Mapping[str, Any] | None = None,
    overwrite: bool = True,
) -> None:
    """Put results into a benchmark's folder: each replaces the result, or the failure, with its labels.

    Args:
        folder: results/<benchmark>.
        results: `provenance` has names of records of the experiment or of the folder, see `record_name`.
        query_areas: for each result each query's area under its curve of average precision (Q,), or None; used by
            paired comparisons of methods.
        experiment: config, commands, trained_on, and the records of provenance by name; joined to the folder's.
        overwrite: whether a result may replace one with another key.

    Raises:
        CollectError: the folder cannot be written, or a result with another key may not be replaced.
        InputError: a file of the folder cannot be read.
    """
    folder = Path(folder)
    with _writing(folder):
        shared = load_experiment(folder)
        before = read_lines(folder / RESULTS, result_of, None)
        failures = read_lines(folder / FAILURES, failure_of, None)
        if not overwrite:
            _check_keys(folder, before, results)
        keys = {identity(r.labels): r.key for r in results}
        outdated = [r for r in before if keys.get(identity(r.labels), r.key) != r.key]
        both = join_experiments(shared, experiment or {})
        if both != shared:
            save_experiment(folder, both)
        kept = _replaced(before, results)
        if outdated:  # no line ever stands beside the areas of another
            queries.merge(folder, ((r.labels, None) for r in outdated))
        areas = query_areas or [None] * len(results)
        _write(folder / RESULTS, kept)
        queries.merge(folder, zip((r.labels for r in results), areas, strict=True))
        _forget(folder / FAILURES, failures, results)
        used = {name for result in kept for name in result.provenance}
        if both["provenance"].keys() - used:
            records = {name: record for name, record in both["provenance"].items() if name in used}
            save_experiment(folder, both | {"provenance": records})


def collect_failures(folder: str | Path, failures: Sequence[Failure]) -> None:
    """Record failures beside any results with the same labels: computed results stay.

    Raises:
        CollectError: the folder cannot be written.
    """
    folder = Path(folder)
    with _writing(folder):
        _write(folder / FAILURES, _replaced(read_lines(folder / FAILURES, failure_of, None), failures))


def forget(folder: str | Path, labels: Sequence[Labels]) -> None:
    """Take results out of a folder."""
    folder = Path(folder)
    if labels:
        with _writing(folder):
            gone = [Failure("", of_one, "") for of_one in labels]
            _forget(folder / RESULTS, read_lines(folder / RESULTS, result_of, None), gone)
            queries.merge(folder, ((of_one, None) for of_one in labels))


def load_results(folder: str | Path, broken: list[str] | None = None) -> list[Result]:
    """Load all results: the upgrades in their sequence, in each the rows by their AUC, seeds ascending.

    Args:
        folder: results/<benchmark>.
        broken: receives a message for each unreadable line, which is left out instead of raising.

    Raises:
        InputError: no such folder, no result in it, an unreadable line, or results that cannot be compared.
    """
    folder = Path(folder)
    results = read_lines(folder / RESULTS, result_of, broken)
    if not results:
        found = "no results" if not broken else f"no result that can be read of {len(broken)}"
        wanted = f"expected a folder with {RESULTS}"
        if older := older_files(folder):
            found, wanted = f"{older[0].name} of an older version and {found}", f"{wanted}; run the benchmark again"
        raise InputError(f"{folder}: {found}, {wanted}")
    _check_one_benchmark(folder, results)
    aucs: dict[tuple[str, str], list[float]] = {}
    for r in results:
        aucs.setdefault((r.upgrade, r.name), []).append(r.auc)

    def place(r: Result) -> tuple[Any, ...]:
        return (
            r.number, -r.starts_at,
            sum(aucs[r.upgrade, r.name]) / len(aucs[r.upgrade, r.name]), r.name, r.seed,
        )  # fmt: skip

    return sorted(results, key=place)


def older_files(folder: Path) -> list[Path]:
    """List results written by versions before 0.1, one JSON file each; this version does not read them."""
    return sorted(path for depth in ("", "*/") for path in folder.glob(f"{depth}*-s[0-9]*.json"))


def load_upgrades(folder: str | Path, broken: list[str] | None = None) -> dict[str, list[Result]]:
    """Load a benchmark's results by upgrade, as `load_results` does: one, named "", or those of a sequence.

    Raises:
        InputError: as `load_results`, or a method missing from one of the upgrades.
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
    """Load the key of each result by the identity of its labels; empty without a folder."""
    return {identity(r.labels): r.key for r in read_lines(Path(folder, RESULTS), result_of, None)}


def load_failures(folder: str | Path, broken: list[str] | None = None) -> list[Failure]:
    """Load the failures of a benchmark, by labels."""
    return read_lines(Path(folder, FAILURES), failure_of, broken)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Hold a folder's lock; any error on writing is one line."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            for name in (RESULTS, FAILURES, EXPERIMENT, queries.QUERIES):
                sweep(folder / name)
            yield
    except OSError as error:
        reason = f"{error.filename or folder}: {error.strerror or error}"
        raise CollectError(f"results: cannot write {reason}, expected a folder with room to write in") from error


def _check_keys(folder: Path, before: Iterable[Result], given: Iterable[Result]) -> None:
    """Refuse to replace a result made from different inputs."""
    keys = {identity(r.labels): r.key for r in before}
    for r in given:
        if keys.get(identity(r.labels), r.key) != r.key:
            raise CollectError(
                f"overwrite: {folder} has another result of {r.name} (seed {r.seed}), written meanwhile; expected the "
                "same, or to be told to overwrite it"
            )


def _replaced(before: Iterable[Record], given: Iterable[Record]) -> list[Record]:
    """Replace records by those with the same labels, sorted by labels."""
    by_labels: dict[Any, Record] = {identity(r.labels): r for r in (*before, *given)}
    return sorted(by_labels.values(), key=lambda r: _place(r.labels))


def _place(labels: Labels) -> list[str]:
    return [f"{value:09}" if isinstance(value, int) else str(value) for value in labels.values()]


def _write(path: Path, records: Iterable[Result | Failure]) -> None:
    text = "".join(f"{line_of(record)}\n" for record in records)
    replace(path, lambda file: file.write_text(text))
    packed(path).unlink(missing_ok=True)


def _forget(path: Path, records: Sequence[Record], given: Iterable[Result | Failure]) -> None:
    """Write a file without the records with these labels; delete it if none is left."""
    gone = {identity(r.labels) for r in given}
    left = [r for r in records if identity(r.labels) not in gone]
    if left:
        _write(path, left)
    else:
        for file in (path, packed(path)):
            file.unlink(missing_ok=True)


def _check_one_benchmark(folder: Path, results: Sequence[Result]) -> None:
    """Refuse results with other completion ratios in one upgrade, or other systems for one seed or one training."""
    firsts: dict[tuple[Any, ...], Result] = {}
    for result in results:
        seed, backbones = ("seed", result.seed), ("backbones", *result.backbones)
        for name, group in (("progress", ()), ("old", seed), ("new", seed), ("old", backbones), ("new", backbones)):
            first = firsts.setdefault((result.upgrade, group), result)
            one, other = getattr(first, name), getattr(result, name)
            same = one == other if name == "progress" else _same(one, other)
            if not same:
                rows = [f"{r.name} (seed {r.seed})" for r in (first, result)]
                raise InputError(f"{folder}: {name} differs between {' and '.join(rows)}, expected one benchmark")


def _same(system: dict[str, float], other: dict[str, float]) -> bool:
    """Whether the figures of both agree but for the last digits, which depend on the order of sums."""
    return all(isclose(system[k], other[k], rel_tol=1e-8) for k in system.keys() & other.keys())
