"""Collect jobs into the folder of results: conflicts, results, failures."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from benchmarks.artifacts.artifact import key
from benchmarks.artifacts.store import ArtifactStore
from benchmarks.config.listing import flatten
from benchmarks.config.schema import Experiment, Replay
from benchmarks.config.spec import Spec
from benchmarks.jobs.outcome import result
from benchmarks.jobs.plan import DISPLAY, Job
from compat.errors import InputError
from compat.importing import reason
from compat.results import (
    Failure,
    collect,
    collect_failures,
    identity,
    load_experiment,
    load_failures,
    load_keys,
    queries,
)
from compat.results.lines import rounded

CIRCUMSTANCES = ("only", "seed", "runs", "results", "queries")


class ResultCollector:
    """Put the results of an experiment into its folder.

    Args:
        experiment: its config.
        trained_on: for each generation the number of images and the classes.
        overwrite: replace results made with another config.
        command: the command line, stored with the results.
    """

    def __init__(
        self, experiment: Experiment, trained_on: dict[str, Any], overwrite: bool, command: str | None = None
    ) -> None:
        self.folder = Path(experiment.results, experiment.name)
        self.name, self.overwrite, self.queries = experiment.name, overwrite, experiment.queries
        self.config = rounded(without_circumstances(as_config(experiment)))
        self.content = {"commands": [command] if command else [], "trained_on": trained_on}

    def check_free(self, jobs: list[Job]) -> None:
        """Refuse, before any computation, to replace results made with another config.

        Raises:
            InputError: a conflicting result, with its differences; or a damaged file of the folder.
        """
        there = load_keys(self.folder)
        load_experiment(self.folder)
        load_failures(self.folder)
        queries.read(self.folder)
        for job in jobs:
            found = there.get(identity(dict(job.labels)))
            if found is not None and found != key(job.curve) and not self.overwrite:
                raise InputError(
                    f"overwrite: {self.folder} has {job.name} of another experiment ({self.difference(job)}); expected "
                    "--overwrite, or another --name or --results"
                )

    def difference(self, job: Job) -> str:
        """Describe the first differences between the folder's config and this one, old -> new."""
        before = flatten(select_job(load_experiment(self.folder).get("config", {}), job))
        now = flatten(select_job(self.config, job))
        names = [name for name in sorted(before.keys() | now.keys()) if before.get(name) != now.get(name)]
        shown = [f"{name}: {before.get(name)} -> {now.get(name)}" for name in names[:3]]
        return "; ".join(shown) or "the same config, with other images, code or packages"

    def add(self, job: Job, store: ArtifactStore) -> None:
        """Make a job's curve if it is missing, and put its result into the folder.

        Raises:
            CollectError: the folder cannot be written, or has got another experiment's result meanwhile.
        """
        config = select_job(self.config, job)
        (spec,) = config["methods"].values()
        found, areas, records = result(job, self.name, spec, store)
        content = {"config": config, **self.content, "provenance": records}
        collect(self.folder, [found], [areas if self.queries else None], content, self.overwrite)

    def fail(self, job: Job, error: Exception) -> None:
        """Record a failure, unless there is a result of this very job.

        Raises:
            CollectError: the folder cannot be written.
        """
        if load_keys(self.folder).get(identity(dict(job.labels))) == key(job.curve):
            return
        collect_failures(self.folder, [Failure(self.name, dict(job.labels), reason(error))])


def select_job(config: dict[str, Any], job: Job) -> dict[str, Any]:
    """Return a config with a job's method, order and merge rule alone."""
    labels = dict(job.labels)
    replay = dict(config.get("replay", {}))
    for axis in fields(Replay):
        if "label" in axis.metadata:
            replay[axis.name] = select_entry(replay.get(axis.name, {}), labels[axis.metadata["label"]])
    return {**config, "methods": select_entry(config.get("methods", {}), labels["method"]), "replay": replay}


def select_entry(entries: dict[str, Any], name: str | int) -> dict[str, Any]:
    """Return the entry of this name alone."""
    return {one: spec for one, spec in entries.items() if one == name}


def without_circumstances(config: dict[str, Any]) -> dict[str, Any]:
    """Return a config without settings of how or where it was run, which do not affect the figures."""
    found = {name: part for name, part in config.items() if name not in CIRCUMSTANCES}
    for name, part in found.items():
        if isinstance(part, dict) and isinstance(trainer := part.get("trainer"), dict):
            found[name] = {**part, "trainer": Spec(trainer).without(DISPLAY).content}
    return found


def as_config(experiment: Experiment) -> dict[str, Any]:
    """Return the config of an experiment: each generation under its name."""
    content = plain(experiment)
    generations = content.pop("generations")
    return {**content, "generations": list(generations), **generations}


def plain(value: Any) -> Any:
    """Return JSON values, without optional entries of None."""
    if isinstance(value, Spec):
        return value.content
    if is_dataclass(value) and not isinstance(value, type):
        given = {f.name: (getattr(value, f.name), f.default) for f in fields(value)}
        return plain({name: one for name, (one, usual) in given.items() if one is not None or usual is not None})
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value
