"""experiment.yaml: what a benchmark's results share, once: config, commands, trained_on and records of provenance."""

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
    """The name of a record of provenance, by which results refer to it: made from its content."""
    return hashlib.sha256(json.dumps(rounded(record), sort_keys=True).encode()).hexdigest()[:12]


def load_experiment(folder: str | Path) -> dict[str, Any]:
    """The config, commands, trained_on, and the records of provenance by name; nothing where there is no file.

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
    if isinstance(records := found.get("provenance"), list):  # as it was, when results counted in it
        found["provenance"] = {record_name(record): record for record in records}
    return found


def save_experiment(folder: Path, experiment: Mapping[str, Any]) -> None:
    """Write it."""
    text = yaml.safe_dump(
        rounded(dict(experiment)), sort_keys=False, default_flow_style=None, width=120, allow_unicode=True
    )
    replace(folder / EXPERIMENT, lambda path: path.write_text(text))


def joined(before: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """What is there with what is given: given values first in rank, commands and records of provenance of both."""
    commands = list(dict.fromkeys([*before.get("commands", []), *given.get("commands", [])]))
    records = {**before.get("provenance", {}), **given.get("provenance", {})}
    others = ({k: v for k, v in one.items() if k not in ("commands", "provenance")} for one in (before, given))
    return {**_over(*others), **({"commands": commands} if commands else {}), "provenance": records}


def _over(before: Any, given: Any) -> Any:
    """Dictionaries with the entries of both, the given ones first in rank; a class with its arguments is one value."""
    if not (isinstance(before, dict) and isinstance(given, dict)) or "class_path" in before or "class_path" in given:
        return given
    return {**before, **{key: _over(before.get(key), value) for key, value in given.items()}}
