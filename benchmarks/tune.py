"""Choose what a method's head is trained with, on training images that are held out from it.

    python -m benchmarks.tune configs/tiny_imagenet_small.yaml --config configs/tiny_imagenet_methods.yaml \\
        --trials configs/tuning.yaml -o results/tiny_imagenet_methods/tuning.json

A tenth of the training images is held out from the heads and is queries and gallery; the heads train on the rest. The
gallery of the benchmark is never looked at. The two models have seen all of these images, which is so for each method.
The trials file has a list for each method: what to change of its init_args in each trial, and max_epochs. Methods
that train the new model are not for this: each trial would be a training of it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.experiment.exit import Parser, exit_on_input_error
from benchmarks.experiment.parse import parse, read_plain
from benchmarks.experiment.plan import Planner
from benchmarks.experiment.schema import RANDOM, RAW, Experiment
from benchmarks.experiment.spec import Spec, closest
from benchmarks.products.base import graph, load_code
from benchmarks.products.kinds import Images
from benchmarks.products.progress import Progress
from benchmarks.products.store import Store
from compat.curve import area
from compat.errors import InputError
from compat.files import replace as replace_file
from compat.progress import completion_ratios

ORDERS = 3


def tune(experiment: Experiment, trials: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The area under the backfill curve of each trial, for each seed of the experiment.

    Raises:
        InputError: a method that the experiment has not, or that learns more than a head.
    """
    from benchmarks.products.images import dataset
    from benchmarks.products.threads import pixels, settle

    settle(pixels(dataset(experiment.data)))
    held = Spec({"class_path": "benchmarks.experiment.heldout.HeldOut", "init_args": {"data": experiment.data.content}})
    images = Images.of(experiment.data, tuple(dataset(experiment.data).fingerprint()))
    shown = Images.of(held, tuple(dataset(held).fingerprint()))
    points = tuple(completion_ratios(experiment.replay.progress).tolist())
    store, found = Store(experiment.runs, Progress().begin), []
    planned = [
        (name, change, job)
        for name, change, variant in variants(experiment, trials)
        for job in Planner(variant, images, points, shown).jobs()
    ]
    load_code(product for _, _, job in planned for product in graph(job.curve))
    for name, change, job in planned:
        curve = store.get(job.curve)["mean_ap"].tolist()
        seed, auc = dict(job.labels)["seed"], area(points, curve)
        found.append({"method": name, "change": change, "seed": seed, "auc": auc, "ends": [curve[0], curve[-1]]})
        print(f"{name} s{seed} {json.dumps(change)}: AUC {100 * auc:.2f} %", flush=True)
    return found


def variants(
    experiment: Experiment, trials: dict[str, list[dict[str, Any]]]
) -> Iterator[tuple[str, dict[str, Any], Experiment]]:
    """Each method with each change, as an experiment of its own in random order."""
    if len(experiment.generations) > 2:
        raise InputError(f"generations: {len(experiment.generations)}, expected two to tune on")
    axes = replace(experiment.replay, orders=ORDERS, by={"random": RANDOM}, merge={"raw": RAW})
    for name, changes in trials.items():
        if name not in experiment.methods:
            raise InputError(f"trials: {name!r}, {closest(name, list(experiment.methods))}")
        spec = experiment.methods[name]
        if spec.based_on or {"new model training", "side-information"} & set(spec.needs()):
            raise InputError(f"trials: {name!r}, expected methods that learn no more than a head, without side models")
        for change in changes:
            arguments = dict(change)
            epochs = arguments.pop("max_epochs", None)
            heads = experiment.heads
            if epochs is not None:
                heads = replace(heads, trainer=heads.trainer.having(max_epochs=epochs))
            methods = {name: spec.having(**arguments)}
            yield name, change, replace(experiment, methods=methods, only=None, heads=heads, replay=axes)


def main() -> None:
    """Command line of `python -m benchmarks.tune`."""
    parser = Parser(
        prog="python -m benchmarks.tune", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("first", metavar="CONFIG", help="YAML file of a benchmark")
    parser.add_argument("--config", action="append", default=[], help="a file laid over it; may be repeated")
    parser.add_argument("--trials", required=True, help="YAML: method -> list of changes")
    parser.add_argument("-o", "--output", required=True, help="JSON file")
    own, overrides = parser.parse_known_args()
    with exit_on_input_error():
        from benchmarks.products.record import provenance

        experiment = parse([own.first, *own.config], overrides)
        content = {"trials": tune(experiment, read_plain(Path(own.trials))), **provenance()}
        Path(own.output).parent.mkdir(parents=True, exist_ok=True)
        replace_file(Path(own.output), lambda file: file.write_text(json.dumps(content, indent=1) + "\n"))


if __name__ == "__main__":
    main()
