"""Output of `--list`, `--dry-run` and `--help`, without running anything. Imports no torch."""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Sequence
from typing import Any

from filelock import FileLock

from benchmarks.artifacts.artifact import Artifact, graph, identity
from benchmarks.artifacts.store import RECORD, ArtifactStore, read_record, writing
from benchmarks.config.schema import Experiment, Generation, Heads, Replay
from benchmarks.config.spec import DOTTED
from benchmarks.jobs.plan import Job, part_of, plan
from compat.command import one_line
from compat.errors import InputError
from compat.files import replace
from compat.importing import ANYTHING, resolved
from compat.progress import completion_ratios
from compat.share import Share

IMAGES = "images.json"


def remember(store: ArtifactStore, experiment: Experiment, digests: tuple[str, ...]) -> None:
    """Save the digests of a dataset's images in the run folder, so a listing need not read the images."""
    path, here = store.folder / IMAGES, {experiment.data.text: list(digests)}
    if here.items() <= recall(store).items():
        return
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            content = json.dumps(recall(store) | here, indent=1)
            replace(path, lambda file: file.write_text(content))


def recall(store: ArtifactStore) -> dict[str, list[str]]:
    """Load the digests by dataset, as saved by the last run."""
    try:
        return dict(json.loads((store.folder / IMAGES).read_text()))
    except (OSError, ValueError, TypeError):
        return {}


def plan_from_recall(experiment: Experiment, store: ArtifactStore) -> list[Job]:
    """Plan the jobs of an experiment by the digests saved by the last run."""
    digests = recall(store).get(experiment.data.text, ("never read",) * 3)
    return plan(experiment, tuple(digests), tuple(completion_ratios(experiment.replay.progress).tolist()))


def listing(experiment: Experiment, why: bool, part: str | None) -> str:
    """List the jobs with their state and seconds; or the artifacts to be made, and why each."""
    store = ArtifactStore(experiment.runs)
    jobs = plan_from_recall(experiment, store)
    jobs = jobs if part is None else part_of(jobs, part)
    read = experiment.data.text in recall(store)
    note = "" if read else "\nThe images have not been read yet, so nothing of them can have been made."
    return (reasons(jobs, store) if why else states(jobs, store)) + note


def states(jobs: list[Job], store: ArtifactStore) -> str:
    """List each job: done, or the number of missing artifacts; seconds of the finished ones."""
    lines = [f"{'state':>12} {'seconds':>9}  job"]
    for job in jobs:
        artifacts = graph(job.curve)
        records = [store.record(artifact) for artifact in artifacts]
        missing = sum(record is None for record in records)
        state = "done" if missing == 0 else f"{missing} to make"
        own = sum(float(record["seconds"]) for record in records if record)
        lines.append(f"{state:>12} {own:>9,.1f}  {job.name}")
    needed = dict.fromkeys(artifact for job in jobs for artifact in graph(job.curve))
    left = sum(store.record(artifact) is None for artifact in needed)
    return "\n".join([*lines, f"{len(jobs)} jobs, {len(needed)} artifacts, {left} to be made"])


def reasons(jobs: list[Job], store: ArtifactStore) -> str:
    """List each artifact to be made: its label, and its differences from the nearest one of its stage."""
    needed = dict.fromkeys(artifact for job in jobs for artifact in graph(job.curve))
    made: dict[str, list[dict[str, Any]]] = {}
    for path in store.folder.glob(f"*/{RECORD}"):
        if (record := read_record(path.parent)) and "identity" in record:
            made.setdefault(record["label"], []).append(record["identity"])
    lines = []
    for artifact in needed:
        if store.record(artifact) is None:
            lines.append(f"{artifact.label}: {reason(artifact, made.get(artifact.label, []))}")
    return "\n".join([*lines, f"{len(lines)} of {len(needed)} artifacts would be made"])


def reason(artifact: Artifact, made: list[dict[str, Any]]) -> str:
    """Explain why an artifact would be made: its first differences from artifacts of the same label."""
    mine = flatten(identity(artifact))
    differences = [describe_change(mine, flatten(other)) for other in made]
    if not differences:
        return "new"
    nearest = min(differences, key=len)
    return "; ".join(nearest[:3]) + (f"; and {len(nearest) - 3} more" if len(nearest) > 3 else "")


def describe_change(mine: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Describe differences as `name: old -> new`; for code by module, for an input by its own change."""
    found = []
    for name in sorted(mine.keys() | other.keys()):
        old, new = other.get(name), mine.get(name)
        if old == new:
            continue
        if name.startswith("code."):
            found.append(f"code of {name.removeprefix('code.')} changed")
        elif name.endswith(".product"):
            found.append(f"{name.removeprefix('fields.').removesuffix('.product')} is made again")
        else:
            found.append(f"{name.removeprefix('fields.')}: {old} -> {new}")
    return found


def flatten(value: Any, path: str = "") -> dict[str, Any]:
    """Flatten a nested mapping to dotted names; digests of code keep their module's name whole."""
    if isinstance(value, dict):
        parts = (flatten(content, f"{path}{name}.") for name, content in value.items())
        return {key: inner for part in parts for key, inner in part.items()}
    return {path.rstrip("."): value}


def keys_help() -> str:
    """Describe every key of a config, from the docstrings of its dataclasses."""
    parts = {"": Experiment, "old.": Generation, "old.sees.": Share, "heads.": Heads, "replay.": Replay}
    texts = [
        "keys of a config (--key=value overrides one; --data.help=compat.data.ImageFolder shows a class; old stands for"
        " any generation):"
    ]
    for prefix, kind in parts.items():
        arguments = (inspect.getdoc(kind) or "").partition("Args:\n")[2].partition("\n\n")[0]
        entries = re.findall(r"^    (\w+): (.*(?:\n      .*)*)", arguments, re.MULTILINE)
        texts += [f"  {prefix}{name}: {' '.join(text.split())}" for name, text in entries]
    return "\n".join(texts)


def class_help(arguments: Sequence[str]) -> None:
    """Show the arguments of the class in `--key.help=module.Class`, and exit; return without such an option.

    Raises:
        InputError: no such class.
    """
    given = (argument.partition("=") for argument in arguments if argument.startswith("--"))
    key, _, path = next((one for one in given if one[0].endswith(".help")), ("", "", ""))
    if not key:
        return
    if not DOTTED.fullmatch(path):
        raise InputError(f"{key}: {path or 'no value'}, expected {key}=module.Class")
    from jsonargparse import ArgumentParser

    parser, kind = ArgumentParser(prog=path), resolved(key, path, "module.Class")
    try:
        (parser.add_class_arguments if isinstance(kind, type) else parser.add_function_arguments)(kind)
    except ANYTHING as error:
        raise InputError(f"{key}: {path} ({one_line(str(error))}), expected a class or function") from error
    parser.print_help()
    sys.exit(0)
