"""Results as earlier versions wrote them: <method>[-<order>][-<merge>]-s<seed>.json, .npy beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from compat.errors import InputError
from compat.results.experiment import record_name
from compat.results.lines import rounded
from compat.results.result import PLAIN, Failure, Result

FAILED = ".failed.json"
KEPT = (
    *("mean_ap", "cmc_1", "cmc_5", "negative_flip_rate", "mean_ap_orders", "old", "new", "queries"),
    *("queries_without_positive", "gallery_items", "encoder_passes_per_query"),
)

NEEDS = {  # as they were called: as `compat.needs` calls them
    "labels": ["served old gallery", "gallery labels"],
    "the old model's head": ["old gallery", "old classifier"],
    "FastFill's head": ["uncertainty"],
    "labels, new embeddings and the queries": ["all matrices and labels"],
    "training images": ["training distances"],
    "training labels": ["training distances", "training labels"],
}


def files(folder: Path) -> list[Path]:
    """The files of a benchmark, those of a sequence's upgrades below it."""
    patterns = ("*-s[0-9]*.json", "first/*-s[0-9]*.json", "second_from_*/*-s[0-9]*.json")
    found = [path for pattern in patterns for path in folder.glob(pattern)]
    return sorted(path for path in found if not path.name.endswith(FAILED))


def load_results(folder: Path, broken: list[str] | None = None) -> list[Result]:
    """All results of a benchmark.

    Raises:
        InputError: a file cannot be read and `broken` is None.
    """
    found = []
    for path in files(folder):
        try:
            found.append(load_result(path))
        except InputError as error:
            if broken is None:
                raise
            broken.append(str(error))
    return found


def load_result(path: Path) -> Result:
    """One file.

    Raises:
        InputError: no such file, no JSON, or a field is missing.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text())
        seconds, starts_at = content["seconds"], content.get("starts_at", 0.0)
        benchmark, _, upgrade = content["benchmark"].partition("/")
        return Result(
            benchmark=benchmark,
            labels={
                "upgrade": upgrade,
                "method": content["method"],
                "seed": content["seed"],
                **{axis: content.get(axis, plain) for axis, plain in PLAIN.items()},
            },
            key=content["fingerprint"],
            progress=rounded(content["progress"]),
            **{name: content[name] for name in KEPT},
            bytes_per_item=content.get("bytes_per_item", 0),
            needs={a: NEEDS.get(n, [n]) for a in PLAIN if (n := content.get(f"{a}_needs", "nothing")) != "nothing"},
            starts_at=starts_at,
            seconds=seconds,
            training_seconds=content.get("training_seconds", training_seconds(seconds, starts_at > 0)),
            spec=content["config"].get("methods", {}).get(content["method"], {}),
            provenance=[record_name(provenance(content))],
            images_skipped=content.get("images_skipped", []),
        )
    except KeyError as error:
        raise InputError(f"{path}: no field {error}, expected a result of the earlier layout") from error
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: {error}, expected a result of the earlier layout") from error


def training_seconds(seconds: dict[str, float], second: bool) -> float:
    """Of one upgrade among the seconds of all stages: of its model, or the method's own in its place, and the head.

    Args:
        seconds: of each stage; train_new is there beside joint only where the method needs the plain new model too.
        second: whether it is the second upgrade of a sequence.
    """
    return round(
        sum(seconds.get(stage, 0.0) for stage in ("train_newest" if second else "train_new", "joint", "head")), 2
    )


def provenance(content: dict[str, Any]) -> dict[str, Any]:
    """Where and by which code a file says that it was made: that of the moment when it was written."""
    return {name: content[name] for name in ("git_commit", "hardware", "versions")}


def load_query_areas(folder: Path) -> list[np.ndarray | None]:
    """Each query's areas (Q,) of each of `load_results`."""
    arrays = [path.with_suffix(".npy") for path in files(folder)]
    return [np.load(path).astype(np.float64) if path.exists() else None for path in arrays]


def load_experiment(folder: Path) -> dict[str, Any]:
    """What each file says of its config, of what the models were trained on, and of where it was made."""
    experiment: dict[str, Any] = {"config": {}, "trained_on": {}, "provenance": {}}
    for path in files(folder):
        content = json.loads(path.read_text())
        methods = experiment["config"].get("methods", {}) | content["config"].get("methods", {})
        replay = dict(content["config"].get("replay") or {})
        for axis in ("by", "merge"):
            if axis in replay:
                replay[axis] = (experiment["config"].get("replay", {}).get(axis) or {}) | (replay[axis] or {})
        experiment["config"] = content["config"] | {"methods": methods, "replay": replay}
        experiment["trained_on"] |= content.get("trained_on", {})
        record = provenance(content)
        experiment["provenance"][record_name(record)] = record
    return experiment


def load_failures(folder: Path) -> list[Failure]:
    """What failed in a benchmark, by method and seed."""
    found = []
    for path in sorted(folder.rglob(f"*{FAILED}")):
        content = json.loads(path.read_text())
        benchmark, _, upgrade = content["benchmark"].partition("/")
        labels = {"upgrade": upgrade, **{name: content[name] for name in ("method", "seed", *PLAIN)}}
        found.append(Failure(benchmark, labels, content["reason"]))
    return found
