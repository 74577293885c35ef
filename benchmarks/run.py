"""Run one benchmark: one YAML file in, one JSON file for each method and seed out."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import platform
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import torch

from benchmarks import stages
from benchmarks.cache import Cache, fingerprint
from benchmarks.config import as_dict, build, parse
from benchmarks.table import table
from compat.backfill import completion_ratios
from compat.data import RetrievalData
from compat.errors import InputError, exit_on_input_error
from compat.results import Result, load_result, load_results, result_path, save_result

PACKAGES = ("torch", "torchvision", "pytorch-lightning", "torchmetrics", "timm", "numpy", "scikit-learn")


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
    specs = {part: config[part] for part in ("old", "new")}
    methods = chosen_methods(config)
    seeds = config["seed"] if isinstance(config["seed"], list) else [config["seed"]]
    if config["heads"]["batch_size"] % 2:
        raise InputError(f"heads.batch_size: {config['heads']['batch_size']}, expected an even number")
    replay = {**config["replay"], "progress": completion_ratios(config["replay"]["progress"]).tolist()}
    if replay["orders"] < 1:
        raise InputError(f"replay.orders: {replay['orders']}, expected at least 1")

    keys = {part: stages.training_key(part, spec, config["data"], data) for part, spec in specs.items()}  # type: ignore
    images = data.fingerprint()
    prints = {}
    for seed in seeds:
        for name, spec in methods.items():
            parts = {**keys, "method": spec, "heads": config["heads"], "replay": replay, "seed": seed, "images": images}
            prints[name, seed] = fingerprint(parts)
            check_free(result_path(config["results"], config["name"], name, seed), prints[name, seed], config)

    models = [build(stages.SingleModel, spec["model"]) for spec in specs.values()]
    for model in models:  # what cannot be built is found before anything is trained
        model.materialize(data)
    for spec in methods.values():
        build(stages.Method, spec)(*(model.embedder for model in models))

    cache = Cache(config["runs"])
    weights = {p: stages.train(cache, p, specs[p], config["data"], data) for p in specs}  # type: ignore
    embedded = {p: stages.extract(cache, p, specs[p], weights[p], config["data"], data) for p in specs}  # type: ignore
    pair = (embedded["old"], embedded["new"])
    embedders = {p: stages.embedder(specs[p]["model"], weights[p].tensors, p) for p in specs}
    frozen = (embedders["old"], embedders["new"])
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
                versions={"python": platform.python_version(), **{p: importlib.metadata.version(p) for p in PACKAGES}},
                git_commit=git_commit(),
                hardware=hardware(),
                seconds={stage: round(artifact.seconds, 2) for stage, artifact in made.items()},
            )
            save_result(result, result_path(config["results"], config["name"], name, seed))
    return Path(config["results"], config["name"])


def chosen_methods(config: dict[str, Any]) -> dict[str, Any]:
    """The methods that `only` names, or all."""
    if "only" not in config:
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


def git_commit() -> str | None:
    """The project's commit, marked if tracked files differ from it."""
    here = Path(__file__).parent
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True)
        changes = subprocess.run(["git", "status", "--porcelain", "-uno"], cwd=here, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.stdout.strip() + ("-dirty" if changes.stdout.strip() else "")


def hardware() -> dict[str, Any]:
    """Processor, cores and accelerator."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"cpu": names[0] if names else platform.processor(), "cores": os.cpu_count(), "gpu": gpu}


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
