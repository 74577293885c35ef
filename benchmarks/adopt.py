"""Take products over that lie in the run folder under another key, where a change is known to change nothing.

    python -m benchmarks.adopt digits --why "moved a function"       # all that differ by code alone
    python -m benchmarks.adopt digits --why "renamed a stage" \\
        --product "train old" --from runs/train-0123456789abcdef                  # one, from the folder named

The record of each says from which folder it was taken and why, and keeps its seconds, commit and date.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.artifacts.artifact import Artifact, checksum, graph, identity, key
from benchmarks.artifacts.store import TENSORS, ArtifactStore, read_record
from benchmarks.config.listing import planned
from benchmarks.config.named import add_config, layers
from benchmarks.config.parse import parse
from benchmarks.config.schema import Experiment
from compat.command import command_parser, exit_on_input_error
from compat.errors import InputError, closest


def adopt(experiment: Experiment, why: str) -> list[str]:
    """Take over each product of a benchmark that is there but for the code that it was made by.

    Returns:
        The labels of those taken over.
    """
    store, labels = ArtifactStore(experiment.runs), []
    taken: dict[str, str] = {}
    for product in products_of(experiment):
        record, found = store.record(product), None
        if record is None and (found := same_but_for_code(product, store, taken)):
            store.adopt(product, found, why)
            labels.append(product.label)
        source = found.name if found else (record or {}).get("adopted", {}).get("from")
        if source:
            taken[key(product)] = source.removeprefix(f"{product.stage}-")
    return labels


def same_but_for_code(product: Artifact, store: ArtifactStore, taken: dict[str, str]) -> Path | None:
    """The newest whole folder of a product that is the same in all but code, with its inputs under their old keys."""
    mine = renamed(identity(product), taken)
    folders = sorted(store.folder.glob(f"{product.stage}-*/"), key=lambda folder: folder.stat().st_mtime)
    for folder in reversed(folders):
        record = read_record(folder) or {}
        other = record.get("identity", {})
        same = all(other.get(part) == mine.get(part) for part in ("fields", "packages", "files"))
        if other and same and checksum(folder / TENSORS) == record["sha256"]:
            return folder
    return None


def renamed(value: Any, taken: dict[str, str]) -> Any:
    """Fields with the old keys of those inputs that were taken over."""
    if isinstance(value, dict):
        return {k: taken.get(v, v) if k == "product" else renamed(v, taken) for k, v in value.items()}
    return [renamed(item, taken) for item in value] if isinstance(value, list | tuple) else value


def products_of(experiment: Experiment) -> list[Artifact]:
    """All products of a benchmark, each after those that it is made of."""
    jobs = planned(experiment, ArtifactStore(experiment.runs))
    return list(dict.fromkeys(product for job in jobs for product in graph(job.curve)))


def adopt_one(experiment: Experiment, label: str, folder: Path, why: str) -> None:
    """Take the product in a folder for the one of that label.

    Raises:
        InputError: no such product, several, nothing whole in the folder, or another kind of product.
    """
    products = products_of(experiment)
    known = [product for product in products if product.label == label]
    if not known:
        raise InputError(f"product: {label!r}, {closest(label, [product.label for product in products])}")
    if len(known) > 1:
        raise InputError(f"product: {label!r} stands for {len(known)}, expected one seed, method or order alone")
    stage = (read_record(folder) or {}).get("identity", {}).get("stage", known[0].stage)
    if stage != known[0].stage:
        raise InputError(f"from: {folder} holds what is called {stage!r}, expected {known[0].stage!r}")
    ArtifactStore(experiment.runs).adopt(known[0], folder, why)


def main() -> None:
    """Command line of `python -m benchmarks.adopt`."""
    parser = command_parser("benchmarks.adopt", __doc__)
    add_config(parser)
    parser.add_argument("--why", required=True, help="why the change changes nothing; noted in each record")
    parser.add_argument("--product", help="the label of one product, as --dry-run prints it")
    parser.add_argument("--from", dest="folder", type=Path, help="the folder of that product")
    with exit_on_input_error():
        own, overrides = parser.parse_known_args()
        experiment = parse(layers(own), overrides)
        if (own.product is None) != (own.folder is None):
            raise InputError("product: expected --product and --from together, or neither")
        if own.product is not None:
            adopt_one(experiment, own.product, own.folder, own.why)
        labels = [own.product] if own.product else adopt(experiment, own.why)
        print("\n".join([*labels, f"{len(labels)} products taken over"]))


if __name__ == "__main__":
    main()
