"""Adopt artifacts of the run folder under their new keys, after a change known to have no effect.

    python -m benchmarks.adopt digits --why "moved a function"       # all differing by code alone
    python -m benchmarks.adopt digits --why "renamed a stage" \\
        --artifact "train old" --from runs/train-0123456789abcdef                  # one, from the folder named

The record of each says from which folder it was taken and why, and keeps its seconds, commit and date.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.artifacts.artifact import Artifact, checksum, graph, identity, key
from benchmarks.artifacts.store import TENSORS, ArtifactStore, read_record
from benchmarks.config.listing import plan_from_recall
from benchmarks.config.named import add_config, layers
from benchmarks.config.parse import parse
from benchmarks.config.schema import Experiment
from compat.command import command_parser, exit_on_input_error
from compat.errors import InputError, closest


def adopt(experiment: Experiment, why: str) -> list[str]:
    """Adopt each missing artifact of a benchmark found under a key differing by code alone.

    Returns:
        The labels of the adopted ones.
    """
    store, labels = ArtifactStore(experiment.runs), []
    taken: dict[str, str] = {}
    for artifact in artifacts_of(experiment):
        record, found = store.record(artifact), None
        if record is None and (found := find_equivalent(artifact, store, taken)):
            store.adopt(artifact, found, why)
            labels.append(artifact.label)
        source = found.name if found else (record or {}).get("adopted", {}).get("from")
        if source:
            taken[key(artifact)] = source.removeprefix(f"{artifact.stage}-")
    return labels


def find_equivalent(artifact: Artifact, store: ArtifactStore, taken: dict[str, str]) -> Path | None:
    """Find the newest complete folder of an artifact equal in all but code, with its inputs under their old keys."""
    mine = replace_keys(identity(artifact), taken)
    folders = sorted(store.folder.glob(f"{artifact.stage}-*/"), key=lambda folder: folder.stat().st_mtime)
    for folder in reversed(folders):
        record = read_record(folder) or {}
        other = record.get("identity", {})
        same = all(other.get(part) == mine.get(part) for part in ("fields", "packages", "files"))
        if other and same and checksum(folder / TENSORS) == record["sha256"]:
            return folder
    return None


def replace_keys(value: Any, taken: dict[str, str]) -> Any:
    """Replace the keys of adopted inputs in fields by their old ones."""
    if isinstance(value, dict):
        return {k: taken.get(v, v) if k == "product" else replace_keys(v, taken) for k, v in value.items()}
    return [replace_keys(item, taken) for item in value] if isinstance(value, list | tuple) else value


def artifacts_of(experiment: Experiment) -> list[Artifact]:
    """List all artifacts of a benchmark, each after its inputs."""
    jobs = plan_from_recall(experiment, ArtifactStore(experiment.runs))
    return list(dict.fromkeys(artifact for job in jobs for artifact in graph(job.curve)))


def adopt_one(experiment: Experiment, label: str, folder: Path, why: str) -> None:
    """Adopt the artifact in a folder as the one with this label.

    Raises:
        InputError: no such artifact, several, an incomplete folder, or another kind of artifact.
    """
    artifacts = artifacts_of(experiment)
    known = [artifact for artifact in artifacts if artifact.label == label]
    if not known:
        raise InputError(f"artifact: {label!r}, {closest(label, [artifact.label for artifact in artifacts])}")
    if len(known) > 1:
        raise InputError(f"artifact: {label!r} stands for {len(known)}, expected one seed, method or order alone")
    stage = (read_record(folder) or {}).get("identity", {}).get("stage", known[0].stage)
    if stage != known[0].stage:
        raise InputError(f"from: {folder} holds a {stage!r}, expected {known[0].stage!r}")
    ArtifactStore(experiment.runs).adopt(known[0], folder, why)


def main() -> None:
    """Command line of `python -m benchmarks.adopt`."""
    parser = command_parser("benchmarks.adopt", __doc__)
    add_config(parser)
    parser.add_argument("--why", required=True, help="why the change has no effect; noted in each record")
    parser.add_argument("--artifact", help="the label of one artifact, as --dry-run prints it")
    parser.add_argument("--from", dest="folder", type=Path, help="its folder")
    with exit_on_input_error():
        own, overrides = parser.parse_known_args()
        experiment = parse(layers(own), overrides)
        if (own.artifact is None) != (own.folder is None):
            raise InputError("artifact: expected --artifact and --from together, or neither")
        if own.artifact is not None:
            adopt_one(experiment, own.artifact, own.folder, own.why)
        labels = [own.artifact] if own.artifact else adopt(experiment, own.why)
        print("\n".join([*labels, f"{len(labels)} artifacts taken over"]))


if __name__ == "__main__":
    main()
