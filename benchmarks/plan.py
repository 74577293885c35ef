"""What a config asks for, and what is refused before anything is trained."""

from __future__ import annotations

import os
from itertools import product
from pathlib import Path
from typing import Any

import torch

from benchmarks.config import build
from benchmarks.curves import Axes
from compat.errors import InputError
from compat.merge import Merge, Raw
from compat.methods import Joint, SingleModel, Upgrade
from compat.orders import Order, Random
from compat.results import Labels, load_keys


def chosen_methods(config: dict[str, Any]) -> dict[str, Any]:
    """The methods that `only` names, or all."""
    if config["only"] is None:
        return config["methods"]
    names = [name.strip() for name in config["only"].split(",")]
    for name in names:
        if name not in config["methods"]:
            raise InputError(f"only: {name!r}, expected some of {', '.join(config['methods'])}")
    return {name: config["methods"][name] for name in names}


def chosen_axes(config: dict[str, Any]) -> list[Axes]:
    """The orders and merge rules of the config, each with each.

    Raises:
        InputError: other orders or rules than the plain ones for a sequence of upgrades.
    """
    by, merge = config["replay"]["by"] or {}, config["replay"]["merge"] or {}
    if config["newest"] and (by or merge):
        raise InputError("replay.by, replay.merge: given with newest, expected neither for a sequence of upgrades")
    orders = {name: (spec, type(build(Order, spec))) for name, spec in by.items()} or {"random": (None, Random)}
    rules = {name: (spec, type(build(Merge, spec))) for name, spec in merge.items()} or {"raw": (None, Raw)}
    for key, found, plain, name in (("by", orders, Random, "random"), ("merge", rules, Raw, "raw")):
        for given, (_, kind) in found.items():
            if (given == name) != (kind is plain):
                raise InputError(
                    f"replay.{key}: {given} is {kind.__name__}, expected {name} for {plain.__name__} alone"
                )
    return [
        Axes(order, spec if kind is not Random else None, kind, rule, of_rule if which is not Raw else None, which)
        for (order, (spec, kind)), (rule, (of_rule, which)) in product(orders.items(), rules.items())
    ]


def estimator_spec(config: dict[str, Any]) -> Any:
    """The FastFill by whose uncertainty methods that have none are ordered: the config's, or one with the defaults."""
    return config["methods"].get("fastfill", {"class_path": "compat.methods.FastFill"})


def result_labels(name: str, seed: int, upgrade: str, axes: Axes) -> Labels:
    """What tells a result from the others of the benchmark."""
    return {"upgrade": upgrade, "method": name, "seed": seed, "order": axes.order, "merge": axes.merge}


def check_free(folder: Path, keys: dict[Any, str], config: dict[str, Any]) -> None:
    """Refuse, before anything is computed, to replace a result that was made with another config.

    Args:
        folder: of the results.
        keys: of what is to be computed, by the identity of its labels.
        config: the full merged config.
    """
    for labels, found in load_keys(folder).items():
        if not config["overwrite"] and found != keys.get(labels, found):
            named = ", ".join(f"{name} {value}" for name, value in labels if value)
            raise InputError(
                f"overwrite: {folder} has a result ({named}) with the key {found} of another config, expected "
                f"{keys[labels]}; give --overwrite, or another --name or --results"
            )


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
        "newest.seed": [config["newest"]["seed"]] if config["newest"] else [],
        "side.seed": [config["side"]["seed"]] if config["side"] else [],
    }.items():
        for value in values:
            if not 0 <= value < 2**31:
                raise InputError(f"{name}: {value}, expected 0 to {2**31 - 1}")
    for start in config["second_starts"]:
        if not 0 < start <= 1:
            raise InputError(f"second_starts: {start}, expected a progress in (0, 1]")
    if len({f"{start:g}" for start in config["second_starts"]}) != max(len(config["second_starts"]), 1):
        raise InputError(f"second_starts: {config['second_starts']}, expected one or more, each another progress")
    if config["newest"] and config["heads"]["images"]:
        raise InputError("heads.images: true with newest, expected false (heads of a sequence train on embeddings)")
    for part in ("old", "new", "newest", "side", "heads"):
        if config[part] is None:
            continue
        epochs = config[part]["trainer"]["init_args"]["max_epochs"]
        if epochs is None or epochs < 1:
            raise InputError(f"{part}.trainer.max_epochs: {epochs}, expected at least 1")


def check_processes(config: dict[str, Any]) -> None:
    """Refuse trainers that would leave a part of the processes without work, or doing another's."""
    heads = processes(config["heads"])
    if heads["devices"] != 1 or heads["num_nodes"] != 1:
        raise InputError(f"heads.trainer: {heads}, expected one device (heads are trained in one process)")
    old = processes(config["old"])
    for part in ("new", "newest", "side"):
        if config[part] and (found := processes(config[part])) != old:
            raise InputError(f"{part}.trainer: {found}, expected the old model's {old}")
    started = int(os.environ.get("WORLD_SIZE", 1))
    if started > 1 and old["devices"] == 1:
        raise InputError(f"old.trainer.devices: 1, expected {started} as the launcher has started that many processes")


def processes(spec: dict[str, Any]) -> dict[str, Any]:
    """In how many processes a trainer's config runs, and how."""
    given = spec["trainer"]["init_args"]
    devices = given.get("devices", "auto")
    one = devices in ("auto", "1", 1) or (isinstance(devices, list) and len(devices) == 1)
    values = {"devices": 1 if one else str(devices), "num_nodes": given.get("num_nodes", 1)}
    return values if one else {**values, "strategy": given.get("strategy", "auto")}


def check_kinds(config: dict[str, Any], kinds: dict[str, Upgrade]) -> None:
    """Refuse what a method cannot do, before anything is trained.

    Raises:
        InputError: several processes for a method that trains the new model, a side model that is missing or of
            another dimension, a sequence of a method whose embeddings are not of the model's dimension.
    """
    for name, kind in kinds.items():
        devices = processes(config["new"])["devices"]
        if (isinstance(kind, Joint) or kind.trained_by) and devices != 1:
            raise InputError(f"new.trainer.devices: {devices}, expected 1 as {name} trains a new model of its own")
        if kind.side:
            dim = build(SingleModel, config["side"]["model"]).embedder.project.out_features if config["side"] else 0
            if dim != kind.side:
                found = f"{dim} dimensions" if dim else "none"
                raise InputError(f"side: {found}, expected a side model of {kind.side} dimensions, as {name} needs it")
        if config["newest"]:
            old, new = (torch.zeros(2, embedder.project.out_features) for embedder in (kind.old, kind.new))
            with torch.no_grad():
                served_dim = kind.eval().query(old, new)[1].shape[1]
            if served_dim != new.shape[1]:
                raise InputError(
                    f"newest: given, but {name} serves {served_dim} dimensions of a projection to {new.shape[1]}; "
                    "expected methods that serve the model's own dimension in a sequence"
                )
