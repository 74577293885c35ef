"""Gather all benchmarks below a folder of results, for the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.page.commands import read_commands
from benchmarks.page.setting import data_set_of, setting_of
from benchmarks.tables.effort import efforts
from benchmarks.tables.table import TableRow, rows_of
from compat.errors import InputError
from compat.results import Failure, Result, load_experiment, load_failures, load_upgrades, queries
from compat.results.experiment import EXPERIMENT
from compat.results.folder import older_files


@dataclass(frozen=True)
class Benchmark:
    """One upgrade of a benchmark.

    Attributes:
        folder: of its results.
        upgrade: of a sequence; else empty.
        rows: as `benchmarks.table` has them.
        data_set: its data set.
        setting: the changes of the upgrade.
        experiment: content of experiment.yaml: config, commands and provenance.
        failures: failed jobs.
        effort: of tuning, by the method's config as text.
    """

    folder: Path
    upgrade: str
    rows: list[TableRow]
    data_set: str
    setting: str
    experiment: Mapping[str, Any]
    failures: Sequence[Failure]
    effort: Mapping[str, str]

    @property
    def name(self) -> str:
        """Name of the folder, and of the upgrade if there are several."""
        return f"{self.folder.name}/{self.upgrade}" if self.upgrade else self.folder.name

    @property
    def results(self) -> list[Result]:
        """Results of all rows."""
        return [result for row in self.rows for result in row.group]


def gather(root: str | Path, broken: list[str]) -> list[Benchmark]:
    """Return the benchmarks of a folder, or of the folders in it, by name.

    Args:
        root: `results`, or `results/<benchmark>`.
        broken: receives a message for each unreadable line or folder, which is left out.

    Raises:
        InputError: no such folder, or no readable result in it.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"results: {root}, expected a folder of results")
    found: list[Benchmark] = []
    for folder in (root, *sorted(path for path in root.iterdir() if path.is_dir())):
        if _holds_results(folder):
            try:
                found += _benchmarks(folder, broken)
            except InputError as error:
                broken.append(str(error))
    if not found:
        raise InputError(f"results: no readable ones in {root}, expected folders with results.jsonl")
    return found


def _holds_results(folder: Path) -> bool:
    return any(folder.glob("results.jsonl*")) or bool(older_files(folder))


def _benchmarks(folder: Path, broken: list[str]) -> Iterator[Benchmark]:
    """Return one benchmark, or those of a sequence.

    Raises:
        InputError: its results cannot be read or compared.
    """
    experiment, compared = _experiment(folder), _compared(folder, broken)
    data_set, setting = experiment["shown"]
    failures, effort = load_failures(folder, broken), efforts(folder)
    for upgrade, results in load_upgrades(folder, broken).items():
        own = [failure for failure in failures if failure.labels.get("upgrade", "") == upgrade]
        yield Benchmark(
            folder.resolve(), upgrade, rows_of(results, compared), data_set, setting, experiment, own, effort
        )


def _experiment(folder: Path) -> dict[str, Any]:
    """Read experiment.yaml, with a config, commands and provenance.

    Raises:
        InputError: it cannot be read, or a part of it has another type.
    """
    found = load_experiment(folder)
    for name, kind in (("config", dict), ("commands", list), ("provenance", dict)):
        if not isinstance(found.setdefault(name, kind()), kind):
            raise InputError(f"{folder / EXPERIMENT}: {name} is {str(found[name])[:40]!r}, expected a {kind.__name__}")
    kept = [str(command) for command in found["commands"]]
    found["commands"] = kept or read_commands(folder.resolve().parent).get(folder.resolve().name, [])
    try:
        found["shown"] = data_set_of(found["config"]), setting_of(found["config"])
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(f"{folder / EXPERIMENT}: config: {error}, expected one of benchmarks.run") from error
    return found


def _compared(folder: Path, broken: list[str]) -> Path | None:
    """Return the folder if it has readable figures of each query, for comparing rows."""
    try:
        queries.read(folder)
    except InputError as error:
        broken.append(str(error))
        return None
    return folder
