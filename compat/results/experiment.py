"""experiment.yaml: the shared part of a benchmark's results: config, commands, trained_on and records of provenance."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from compat.errors import InputError
from compat.files import replace
from compat.results.lines import rounded

EXPERIMENT = "experiment.yaml"


def record_name(record: Any) -> str:
    """Return the name of a record of provenance, made from its content; results refer to it."""
    return hashlib.sha256(json.dumps(rounded(record), sort_keys=True).encode()).hexdigest()[:12]


def load_experiment(folder: str | Path) -> dict[str, Any]:
    """Read the config, commands, trained_on, and the records of provenance by name; empty without a file.

    Raises:
        InputError: it cannot be read.
    """
    path = Path(folder, EXPERIMENT)
    if not path.exists():
        return {}
    try:
        found = dict(yaml.load(path.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
        what = "a mapping of config, trained_on and provenance"
        raise InputError(f"{path}: {' '.join(str(error).split())}, expected {what}") from error
    if isinstance(records := found.get("provenance", {}), list):  # of a version before 0.1
        counted, again = f"a list of {len(records)} records", "delete the folder and run the benchmark again"
        raise InputError(f"{path}: provenance: {counted}, expected records by name; {again}")
    return found


def save_experiment(folder: Path, experiment: Mapping[str, Any]) -> None:
    """Write it."""
    text = yaml.safe_dump(
        rounded(dict(experiment)), sort_keys=False, default_flow_style=None, width=120, allow_unicode=True
    )
    replace(folder / EXPERIMENT, lambda path: path.write_text(text))


def join_experiments(before: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Join a new experiment with the methods, orders, merge rules, commands and records already there."""
    commands = list(dict.fromkeys([*before.get("commands", []), *given.get("commands", [])]))
    records = {**before.get("provenance", {}), **given.get("provenance", {})}
    found = {**before, **given, **({"commands": commands} if commands else {}), "provenance": records}
    if "config" in before and "config" in given:
        found["config"] = _with_entries(before["config"], given["config"])
    return found


def _with_entries(before: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Add the methods, and the entries of each replay axis, of an earlier config."""
    methods = {**before.get("methods", {}), **given.get("methods", {})}
    replay = dict(given.get("replay", {}))
    for axis, entries in before.get("replay", {}).items():
        if isinstance(entries, dict):
            replay[axis] = {**entries, **replay.get(axis, {})}
    return {**given, **({"methods": methods} if methods else {}), **({"replay": replay} if replay else {})}
