"""Run one benchmark: one YAML file in, one JSON file for each method and seed (and upgrade of a sequence) out."""

from __future__ import annotations

import logging
import sys
import traceback
import warnings
from itertools import product
from pathlib import Path
from typing import Any

import torch.distributed as dist
from pytorch_lightning.utilities import rank_zero_only

from benchmarks import curves, stages
from benchmarks.cache import Artifact, Cache, fingerprint
from benchmarks.config import Method, as_dict, build, parse
from benchmarks.curves import Axes
from benchmarks.matrices import Fitted, System, served
from benchmarks.plan import (
    check_free,
    check_kinds,
    check_numbers,
    check_processes,
    chosen_axes,
    chosen_methods,
    estimator_spec,
    result_labels,
)
from benchmarks.provenance import git_commit, hardware, versions
from benchmarks.report.table import tables
from benchmarks.report.terminal import narrow
from compat.backfill import completion_ratios
from compat.data import Part, RetrievalData
from compat.errors import exit_on_input_error
from compat.methods import FastFill, Joint, SingleModel, Upgrade
from compat.orders import Uncertainty
from compat.results import (
    Failure,
    Labels,
    Result,
    check_name,
    collect,
    collect_failures,
    failures_of,
    identity,
    load_keys,
    training_seconds,
)


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
    specs: dict[Part, Any] = {p: config[p] for p in ("old", "new", "newest") if config[p]}
    methods = chosen_methods(config)
    seeds = config["seed"] if isinstance(config["seed"], list) else [config["seed"]]
    check_numbers(config, seeds)
    check_processes(config)
    replay = {key: config["replay"][key] for key in ("orders", "distance")}
    replay["progress"] = completion_ratios(config["replay"]["progress"]).tolist()

    axes = chosen_axes(config)
    models = [build(SingleModel, spec["model"]) for spec in specs.values()]
    for part, model in zip(specs, models, strict=True):  # what cannot work is found before anything is trained
        model.materialize(data)
        data.check_part(part)
    trained_on: dict[str, Any] = {
        p: {"images": len(data.part_indices(p)), "classes": data.class_names(p)} for p in specs
    }
    keys: dict[str, Any] = {part: stages.training_key(part, spec, config["data"], data) for part, spec in specs.items()}
    if config["side"]:
        keys["side"] = stages.training_key("old", config["side"], config["data"], data)
    upgrades = ["first", *(f"second_from_{start:g}" for start in config["second_starts"])] if config["newest"] else [""]
    folder = Path(config["results"], check_name("name", config["name"]))
    prints: dict[Any, str] = {}
    kinds: dict[str, Upgrade] = {}
    for name, spec in methods.items():
        method = kinds[name] = build(Method, spec)(*(model.embedder for model in models[:2]))
        parts: dict[str, Any] = {"replay": replay, **stages.method_key(method, spec, config["heads"])}
        for seed, upgrade, axis in product(seeds, upgrades, axes):
            inputs = {**parts, **keys, "seed": seed, "images": data.fingerprint()}
            if not upgrade.startswith("second"):
                inputs.pop("newest", None)
            if not method.side:
                inputs.pop("side", None)
            inputs |= {"upgrade": upgrade or None, "order": axis.order_spec, "merge": axis.merge_spec}
            if axis.order_class is Uncertainty:
                inputs |= {"estimator": estimator_spec(config), "estimator_heads": config["heads"]}
            if axis.merge_spec:
                inputs["fitted_on"] = curves.fitted_on(data)
            inputs["file"] = curves.scores_file(axis.order_spec)
            prints[identity(result_labels(check_name("methods", name), seed, upgrade, axis))] = fingerprint(inputs)
    check_free(folder, prints, config)

    check_kinds(config, kinds)
    cache = Cache(config["runs"])
    weights = {p: stages.train(cache, p, specs[p], keys[p], data) for p in specs}
    trained = {p: stages.trained(specs[p]["model"], weights[p].tensors, p) for p in specs}
    embedded = {p: stages.extract(cache, p, specs[p], weights[p], trained[p], config["data"], data) for p in specs}
    side, sides = None, {}
    if any(kind.side for kind in kinds.values()):
        spec = config["side"]
        beside = stages.train(cache, "old", spec, keys["side"], data, "side")
        model = stages.trained(spec["model"], beside.tensors, "side")
        side = stages.extract(cache, "old", spec, beside, model, config["data"], data, "side")
        sides = {"train_side": beside, "extract_side": side}
    leave_process_group()
    systems = {p: System(trained[p].embedder, embedded[p]) for p in specs}
    systems["old"] = systems["old"]._replace(side=side)
    made = {**{f"train_{p}": a for p, a in weights.items()}, **{f"extract_{p}": a for p, a in embedded.items()}}

    def fit(name: str, spec: Any, old: System, part: Part, seed: int) -> Fitted:
        pair, kind, used = (old, systems[part]), kinds.get(name), {}
        if isinstance(kind, Joint):
            given = (config[part], pair, config["data"], data, part, keys[before(part)])
            return stages.train_jointly(cache, spec, *given)
        if kind is not None and kind.trained_by:
            given = (config[part], pair, config["data"], data, part, keys[before(part)])
            base = stages.train_jointly(cache, kind.trained_by, *given)
            pair, used = (old, base.new), base.stages
        fitted = stages.train_head(cache, name, spec, config["heads"], pair, config["data"], data, part, seed)
        return fitted._replace(stages={**used, **fitted.stages})

    alone: dict[Part, Artifact] = {}
    for part in list(specs)[1:]:
        merge = fit("systems", {"class_path": "compat.methods.Upgrade"}, systems[before(part)], part, 0)
        ends = {**replay, "progress": [0.0, 1.0], "orders": 1}
        alone[part] = curves.replay(cache, "systems", merge, None, ends, 0, data)

    def prepare(name: str, spec: Any, seed: int) -> list[tuple[str, Fitted, Part, float, Fitted]]:
        first = fit(name, spec, systems["old"], "new", seed)
        steps: list[tuple[str, Fitted, Part, float, Fitted]] = [(upgrades[0], first, "new", 0.0, first)]
        if config["newest"]:
            second = fit(name, spec, served(first), "newest", seed)
            starts = zip(upgrades[1:], config["second_starts"], strict=True)
            steps += [(upgrade, second, "newest", start, first) for upgrade, start in starts]
        return steps

    def measure(
        name: str, seed: int, axis: Axes, upgrade: str, fitted: Fitted, part: Part, starts_at: float, first: Fitted
    ) -> None:
        learned = {name: methods[name]}
        overlap = (first, starts_at) if 0 < starts_at < 1 else None
        begin, end = alone["new" if overlap else part].tensors, alone[part].tensors
        if axis.order_class is Uncertainty and not isinstance(fitted.method, FastFill):
            axis = axis._replace(estimator=fit("fastfill", estimator_spec(config), fitted.old, part, seed))
            learned["fastfill"] = estimator_spec(config)
        curve = curves.replay(cache, name, fitted, begin["correct"], replay, seed, data, overlap, axis)
        used = {**made, **(sides if fitted.method.side else {}), **fitted.stages, "replay": curve}
        if "joint" in used and not getattr(fitted.method, "needs_new", False):
            used = {key: artifact for key, artifact in used.items() if not key.endswith(f"_{part}")}
        labels = result_labels(name, seed, upgrade, axis)
        there = identity(labels) in load_keys(folder)
        if there and not config["overwrite"] and all(artifact.cached for artifact in used.values()):
            return  # nothing was computed: the result keeps saying when and where it was
        lists: dict[str, Any] = {key: values.tolist() for key, values in curve.tensors.items() if key != "query_auc"}
        queries, skipped = lists.pop("queries")
        lists.pop("correct", None)
        passes = fitted.method.encoder_passes
        seconds = {key: round(artifact.seconds, 2) for key, artifact in used.items()}
        needs = {"order": axis.order_class.needs, "merge": axis.merge_class.needs}
        result = Result(
            benchmark=config["name"],
            labels=labels,
            key=prints[identity(labels)],
            **lists,
            old={key: float(begin[key][0]) for key in ("mean_ap", "cmc_1", "cmc_5")},
            new={key: float(end[key][1]) for key in ("mean_ap", "cmc_1", "cmc_5")},
            queries=queries,
            queries_without_positive=skipped,
            gallery_items=len(data.gallery_images()),
            encoder_passes_per_query=passes + (passes - 1 if overlap else 0),
            spec=methods[name],
            provenance=[0],
            seconds=seconds,
            images_skipped=data.skipped,
            starts_at=starts_at,
            needs={axis: [need] for axis, need in needs.items() if need != "nothing"},
            training_seconds=training_seconds(seconds, part == "newest"),
        )
        areas = curve.tensors.get("query_auc")
        experiment = {
            "config": config | {"methods": learned},
            "trained_on": trained_on,
            "provenance": [{"commit": git_commit(), "hardware": hardware(), "versions": versions()}],
        }
        collect(folder, [result], [None if areas is None else areas.numpy()], experiment)

    def fail(name: str, seed: int, axis: Axes, error: Exception) -> None:
        traceback.print_exception(error)
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        for upgrade in upgrades:
            labels = result_labels(name, seed, upgrade, axis)
            if load_keys(folder).get(identity(labels)) == prints[identity(labels)]:
                continue  # this one is what the config gives
            collect_failures(folder, [Failure(config["name"], labels, reason)])

    alone_here = len(methods) * len(seeds) * len(axes) == 1
    for seed, (name, spec) in product(seeds, methods.items()):  # whatever one of them raises, the others go on
        try:
            steps = prepare(name, spec, seed)
        except Exception as error:
            for axis in axes:
                fail(name, seed, axis, error)
            if alone_here:
                raise
            continue
        for axis in axes:
            try:
                for step in steps:
                    measure(name, seed, axis, *step)
            except Exception as error:
                fail(name, seed, axis, error)
                if alone_here:
                    raise
    return folder


def asked(config: dict[str, Any]) -> list[Labels]:
    """Of every result that a config asks for."""
    upgrades = ["first", *(f"second_from_{start:g}" for start in config["second_starts"])] if config["newest"] else [""]
    seeds = config["seed"] if isinstance(config["seed"], list) else [config["seed"]]
    jobs = product(chosen_methods(config), seeds, upgrades, chosen_axes(config))
    return [result_labels(name, seed, upgrade, axis) for name, seed, upgrade, axis in jobs]


def before(part: Part) -> Part:
    """The generation before one."""
    return "new" if part == "newest" else "old"


def leave_process_group() -> None:
    """What follows on training and extraction runs in one process; the others have done their part."""
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()
    if rank_zero_only.rank != 0:  # type: ignore[attr-defined]
        sys.exit(0)


def main() -> None:
    """Command line of `python -m benchmarks.run`."""
    warnings.filterwarnings("ignore", module="pytorch_lightning|torch")
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    with exit_on_input_error():
        config = as_dict(parse(sys.argv[1:]))
        folder = run(config)
        print(f"{tables(folder, draw=narrow)}\n")
        failures = failures_of(folder, asked(config))
        print(f"Results are in {folder}; draw them with: python -m benchmarks.plot {folder} -o {folder.name}.png")
    if failures:
        sys.exit(1)


if __name__ == "__main__":
    main()
