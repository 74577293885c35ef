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
import logging
import warnings
from pathlib import Path
from typing import Any

import torch
import yaml

from benchmarks import stages
from benchmarks.cache import Artifact, Cache
from benchmarks.config import Method, as_dict, build, parse
from benchmarks.matrices import System, fill
from benchmarks.provenance import git_commit, versions
from compat.backfill import backfill_curve, backfill_order, completion_ratios
from compat.data import Part, RetrievalData
from compat.errors import InputError, exit_on_input_error
from compat.files import replace
from compat.methods import Joint, SingleModel

SHARE = 0.1


class HeldOut(RetrievalData):
    """The training images of a dataset, a part of which is queries and gallery and is not trained on."""

    def __init__(self, data: RetrievalData, seed: int = 0) -> None:
        super().__init__(old_classes=1.0)
        self.classes_of = data.classes_of
        train = data.train_images(augment=False)
        rows = data.part_indices("new")
        shuffled = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))]
        held = round(SHARE * len(rows))
        self.held, self.kept = shuffled[:held].sort().values, shuffled[held:].sort().values
        self.hold(train, train.subset(self.held), train.transform)

    def part_indices(self, part: Part) -> torch.Tensor:
        return self.kept

    def system(self, system: System) -> System:
        """A system with the held-out images as its gallery."""

        def of(embedded: Artifact) -> Artifact:
            train = embedded.tensors["train"]
            tensors = {"train": train, "gallery": train[self.held]}
            return Artifact(tensors, f"{embedded.key}-without-{SHARE}", embedded.seconds, embedded.cached)

        return system._replace(embedded=of(system.embedded))


def tune(config: dict[str, Any], trials: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The area under the backfill curve of each trial, for each seed of the config."""
    data: RetrievalData = build(RetrievalData, config["data"])
    cache, systems = Cache(config["runs"]), {}
    parts: tuple[Part, ...] = ("old", "new")
    for part in parts:
        spec = config[part]
        build(SingleModel, spec["model"]).materialize(data)
        weights = stages.train(cache, part, spec, stages.training_key(part, spec, config["data"], data), data)
        model = stages.trained(spec["model"], weights.tensors, part)
        embedded = stages.extract(cache, part, spec, weights, model, config["data"], data)
        systems[part] = System(model.embedder, embedded)
    held = HeldOut(data)
    pair = held.system(systems["old"]), held.system(systems["new"])
    seeds = config["seed"] if isinstance(config["seed"], list) else [config["seed"]]
    found = []
    for name, changes in trials.items():
        if name not in config["methods"]:
            raise InputError(f"trials: {name!r}, expected some of {', '.join(config['methods'])}")
        kind = build(Method, config["methods"][name])(*(system.embedder for system in pair))
        if isinstance(kind, Joint) or kind.trained_by or kind.side:
            raise InputError(f"trials: {name!r}, expected methods that learn no more than a head, without side models")
        for change in changes:
            spec = dict(config["methods"][name])
            changed = dict(change)
            trainer = config["heads"]["trainer"]
            epochs = changed.pop("max_epochs", trainer["init_args"]["max_epochs"])
            trainer = {**trainer, "init_args": {**trainer["init_args"], "max_epochs": epochs}}
            heads = {**config["heads"], "trainer": trainer}
            spec["init_args"] = {**spec.get("init_args", {}), **changed}
            for seed in seeds:
                fitted = stages.train_head(
                    cache, f"tune-{name}", spec, heads, pair, {"class_path": "held"}, held, "new", seed
                )
                embeddings = fill(fitted, held)
                orders = [backfill_order(len(held.held), (seed, number)) for number in range(3)]
                points = completion_ratios(config["replay"]["progress"])
                curve = backfill_curve(embeddings, orders, points, distance=config["replay"]["distance"])
                ends = [float(curve.mean_ap[0]), float(curve.mean_ap[-1])]
                found.append({"method": name, "change": change, "seed": seed, "auc": curve.auc, "ends": ends})
                print(f"{name} s{seed} {json.dumps(change)}: AUC {100 * curve.auc:.2f} %, ends {ends}", flush=True)
    return found


def main() -> None:
    """Command line of `python -m benchmarks.tune`."""
    warnings.filterwarnings("ignore", module="pytorch_lightning|torch")
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tune CONFIG", description=__doc__.split("\n")[0])
    parser.add_argument("--trials", required=True, help="YAML: method -> list of changes")
    parser.add_argument("-o", "--output", required=True, help="JSON file")
    own, rest = parser.parse_known_args()
    with exit_on_input_error():
        try:
            trials = yaml.safe_load(Path(own.trials).read_text())
        except (OSError, yaml.YAMLError) as error:
            raise InputError(f"trials: {own.trials} ({error}), expected a YAML file") from error
        found = tune(as_dict(parse(rest)), trials)
        content = {"trials": found, "git_commit": git_commit(), "versions": versions()}
        Path(own.output).parent.mkdir(parents=True, exist_ok=True)
        replace(Path(own.output), lambda file: file.write_text(json.dumps(content, indent=1) + "\n"))


if __name__ == "__main__":
    main()
