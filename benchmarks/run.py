"""Run one benchmark: one YAML file in, one JSON file for each method and seed out."""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path
from typing import Any

from benchmarks import stages
from benchmarks.cache import Cache, fingerprint
from benchmarks.config import Method, as_dict, build, parse
from benchmarks.provenance import git_commit, hardware, versions
from benchmarks.table import table
from compat.backfill import completion_ratios
from compat.data import Part, RetrievalData
from compat.errors import InputError, exit_on_input_error
from compat.methods import SingleModel
from compat.results import Result, load_result, load_results, result_path, save_result


def run(config: dict[str, Any]) -> Path:
    """Run every chosen method and seed of a config; finished stages are taken from the run folder.

    Args:
        config: the full merged config, as `benchmarks.config.as_dict` gives it.

    Returns:
        The folder of the results.

    Raises:
        InputError: wrong input, or a result made with another config is in the way.
    """
    data: RetrievalData = build(RetrievalData, config["data"])
    specs: dict[Part, Any] = {"old": config["old"], "new": config["new"]}
    methods = chosen_methods(config)
    seeds = config["seed"] if isinstance(config["seed"], list) else [config["seed"]]
    check_numbers(config, seeds)
    replay = {**config["replay"], "progress": completion_ratios(config["replay"]["progress"]).tolist()}

    models = [build(SingleModel, spec["model"]) for spec in specs.values()]
    for model in models:  # what cannot be built is found before anything is trained
        model.materialize(data)
    keys = {part: stages.training_key(part, spec, config["data"], data) for part, spec in specs.items()}
    prints = {}
    for name, spec in methods.items():
        method = build(Method, spec)(*(model.embedder for model in models))
        parts: dict[str, Any] = {"old": keys["old"], "new": keys["new"], "replay": replay}
        parts |= stages.method_key(method, spec, config["heads"])
        for seed in seeds:
            prints[name, seed] = fingerprint({**parts, "seed": seed, "images": data.fingerprint()})
            check_free(result_path(config["results"], config["name"], name, seed), prints[name, seed], config)

    cache = Cache(config["runs"])
    weights = {p: stages.train(cache, p, specs[p], keys[p], data) for p in specs}
    trained = {p: stages.trained(specs[p]["model"], weights[p].tensors, p) for p in specs}
    embedded = {p: stages.extract(cache, p, specs[p], weights[p], trained[p], config["data"], data) for p in specs}
    pair = (embedded["old"], embedded["new"])
    frozen = (trained["old"].embedder, trained["new"].embedder)
    heads = (config["heads"], frozen, pair, config["data"], data)

    baseline, none = stages.train_head(cache, "systems", {"class_path": "compat.methods.Upgrade"}, *heads, 0)
    ends = {**replay, "progress": [0.0, 1.0], "orders": 1}
    systems = stages.replay(cache, "systems", baseline, none, pair, None, ends, 0, data).tensors
    old, new = ({key: float(systems[key][end]) for key in ("mean_ap", "cmc_1", "cmc_5")} for end in (0, 1))

    for seed in seeds:
        for name, spec in methods.items():
            method, head = stages.train_head(cache, name, spec, *heads, seed)
            curve = stages.replay(cache, name, method, head, pair, systems["correct"], replay, seed, data)
            lists = {key: values.tolist() for key, values in curve.tensors.items()}
            queries, skipped = lists.pop("queries")
            made = {**{f"train_{p}": a for p, a in weights.items()}, **{f"extract_{p}": a for p, a in embedded.items()}}
            made |= {"head": head, "replay": curve}
            path = result_path(config["results"], config["name"], name, seed)
            if path.exists() and not config["overwrite"] and all(artifact.cached for artifact in made.values()):
                continue  # nothing was computed: the file keeps saying when and where it was
            result = Result(
                benchmark=config["name"],
                method=name,
                seed=seed,
                **lists,
                old=old,
                new=new,
                queries=queries,
                queries_without_positive=skipped,
                gallery_items=len(data.gallery_images()),
                encoder_passes_per_query=method.encoder_passes,
                config={key: value for key, value in config.items() if key != "overwrite"},
                fingerprint=prints[name, seed],
                versions=versions(),
                git_commit=git_commit(),
                hardware=hardware(),
                seconds={stage: round(artifact.seconds, 2) for stage, artifact in made.items()},
            )
            save_result(result, path)
    return Path(config["results"], config["name"])


def check_numbers(config: dict[str, Any], seeds: list[int]) -> None:
    """Refuse numbers out of range before anything is computed."""
    size, orders = config["heads"]["batch_size"], config["replay"]["orders"]
    if size < 2 or size % 2:
        raise InputError(f"heads.batch_size: {size}, expected an even number")
    if orders < 1:
        raise InputError(f"replay.orders: {orders}, expected at least 1")
    for name, values in {
        "seed": seeds,
        "old.seed": [config["old"]["seed"]],
        "new.seed": [config["new"]["seed"]],
    }.items():
        for value in values:
            if not 0 <= value < 2**31:
                raise InputError(f"{name}: {value}, expected 0 to {2**31 - 1}")
    for part in ("old", "new", "heads"):
        epochs = config[part]["trainer"]["init_args"]["max_epochs"]
        if epochs is None or epochs < 1:
            raise InputError(f"{part}.trainer.max_epochs: {epochs}, expected at least 1")


def chosen_methods(config: dict[str, Any]) -> dict[str, Any]:
    """The methods that `only` names, or all."""
    if config["only"] is None:
        return config["methods"]
    names = [name.strip() for name in config["only"].split(",")]
    for name in names:
        if name not in config["methods"]:
            raise InputError(f"only: {name!r}, expected some of {', '.join(config['methods'])}")
    return {name: config["methods"][name] for name in names}


def check_free(path: Path, key: str, config: dict[str, Any]) -> None:
    """Refuse, before anything is computed, to replace a result that was made with another config."""
    if path.exists() and not config["overwrite"] and (found := load_result(path).fingerprint) != key:
        raise InputError(
            f"overwrite: {path} has the fingerprint {found} of another config, expected {key}; give --overwrite, "
            "or another --name or --results"
        )


def main() -> None:
    """Command line of `python -m benchmarks.run`."""
    warnings.filterwarnings("ignore", module="pytorch_lightning|torch")
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    with exit_on_input_error():
        folder = run(as_dict(parse(sys.argv[1:])))
        print(table(load_results(folder)))
        print(f"\nResults are in {folder}; draw them with: python -m benchmarks.plot {folder} -o {folder.name}.png")


if __name__ == "__main__":
    main()
