"""Checks of a config by itself: ranges of numbers, and combinations. Imports no torch."""

from __future__ import annotations

import os
from dataclasses import fields
from typing import Any, get_args

from benchmarks.config.schema import Experiment, Generation, Replay
from benchmarks.config.spec import Spec
from compat.curve_metrics import CURVE_METRICS
from compat.errors import InputError, closest
from compat.needs import Need
from compat.results import Result

MOST = 2**31  # of integers
MOST_ORDERS, MOST_RATIOS = 1000, 10_000
ONLY_PLAIN = ("side-information", "old classifier", "new classifier")  # of the plain models, not of a served space
ALONE = (("by", "random", "compat.orders.Random"), ("merge", "raw", "compat.merge.Raw"))


def check_numbers(experiment: Experiment) -> None:
    """Refuse numbers and choices out of range.

    Raises:
        InputError: the first of them.
    """
    size, orders = experiment.heads.batch_size, experiment.replay.orders
    if size < 2 or size % 2 or size >= MOST:
        raise InputError(f"heads.batch_size: {size}, expected an even number below {MOST}")
    if not 1 <= orders <= MOST_ORDERS:
        raise InputError(
            f"replay.orders: {orders}, expected {'at least 1' if orders < 1 else f'at most {MOST_ORDERS}'}"
        )
    progress = experiment.replay.progress
    if (count := progress if isinstance(progress, int) else len(progress)) > MOST_RATIOS:
        raise InputError(f"replay.progress: {count} completion ratios, expected at most {MOST_RATIOS}")
    for name in ("runs", "results"):
        if not getattr(experiment, name).strip():
            raise InputError(f"{name}: empty, expected a folder")
    if not experiment.seeds:
        raise InputError("seed: none, expected one or more")
    generations = {**experiment.generations, **({"side": experiment.side} if experiment.side else {})}
    given = [("seed", seed) for seed in experiment.seeds]
    given += [(f"{name}.seed", g.seed) for name, g in generations.items() if g.seed is not None]
    for name, value in given:
        if not 0 <= value < MOST:
            raise InputError(f"{name}: {value}, expected 0 to {MOST - 1}")
    if len(set(experiment.seeds)) < len(experiment.seeds):
        raise InputError(f"seed: {experiment.seeds}, expected each once")
    for name in experiment.chosen:
        if name not in experiment.methods:
            raise InputError(f"only: {name!r}, expected some of {', '.join(experiment.methods)}")
    check_starts(experiment)
    check_axes(experiment)
    check_needs(experiment)
    check_epochs(experiment, generations)
    check_frozen(experiment, generations)


def check_metric(name: str, of_the_table: bool) -> None:
    """Refuse a metric's name without an entry in the table, or taken by another column of the results."""
    if of_the_table:
        if name not in CURVE_METRICS:
            raise InputError(f"replay.metrics: {name!r}, {closest(name, list(CURVE_METRICS))}")
        return
    columns = {f.name for f in fields(Result)} | {f.metadata["label"] for f in fields(Replay) if "label" in f.metadata}
    columns |= {"upgrade", "method", "seed", "mean_ap", *CURVE_METRICS}
    if name in columns or name.startswith(("old_", "new_")):
        raise InputError(f"replay.metrics: {name!r}, which is another column of results, expected a name of its own")


def check_needs(experiment: Experiment) -> None:
    """Refuse methods, orders and rules whose needs cannot be met."""
    replay = experiment.replay
    axes = {"methods": experiment.methods, "replay.by": replay.by, "replay.merge": replay.merge}
    for axis, entries in axes.items():
        for name, spec in entries.items():
            for place, one in spec.chain.items():
                check_one(f"{axis}.{name}{place}", one)
            if spec.declared("online", False) and name in experiment.chosen:
                check_online(experiment, name)
    for name in experiment.chosen:
        if any(one.onto for one in experiment.methods[name].chain.values()):
            check_composed(experiment, name)


def check_one(field: str, spec: Spec) -> None:
    """Refuse unknown needs, and a base without the required properties."""
    needs, base = spec.needs(), spec.based_on
    for need in needs:
        if need not in get_args(Need):
            raise InputError(f"{field}: needs {need!r}, {closest(need, list(get_args(Need)))}")
    if "head training" in needs and "training embeddings" not in needs:
        raise InputError(f"{field}: needs 'head training' alone, expected 'training embeddings' with it")
    if base is not None and not spec.declared("online", False) and "new model training" not in base.needs():
        raise InputError(f"{field}.based_on: {base.class_path}, expected a method training a new model")
    if (onto := spec.onto) is not None:
        check_onto(field, spec, onto)


def check_onto(field: str, spec: Spec, onto: Spec) -> None:
    """Refuse a method that cannot map between the spaces that another one serves."""
    if spec.based_on is not None:
        raise InputError(f"{field}.onto: {onto.class_path} beside based_on, expected one of the two")
    if spec.declared("online", False) or "new model training" in spec.needs():
        raise InputError(f"{field}.onto: with {spec.class_path}, expected it with a method on top of two frozen models")
    if unmet := [need for need in spec.needs() if need in ONLY_PLAIN]:
        raise InputError(f"{field}.onto: with {spec.class_path}, which needs {unmet[0]!r}, expected one without")
    if onto.declared("online", False):
        raise InputError(f"{field}.onto: {onto.class_path}, expected a method trained beforehand")


def check_composed(experiment: Experiment, name: str) -> None:
    """Refuse `onto` where its served spaces are not at hand: in a sequence, and for heads trained through images."""
    if len(experiment.generations) > 2:
        raise InputError(f"generations: {len(experiment.generations)} with {name}, which has onto, expected two")
    if experiment.heads.images:
        raise InputError(f"heads.images: true with {name}, which has onto, expected false")


def check_online(experiment: Experiment, name: str) -> None:
    """Refuse an online method outside its setting: upgrades between successive systems, by cosine."""
    replay, base = experiment.replay, experiment.methods[name].based_on
    for point in replay.refit:
        if not 0 <= point <= 1:
            raise InputError(f"replay.refit: {point:g}, expected shares of the gallery in [0, 1]")
    if sorted(set(replay.refit)) != replay.refit:
        raise InputError(f"replay.refit: {replay.refit}, expected ascending shares of the gallery")
    if base is not None and base.declared("online", False):
        raise InputError(f"methods.{name}.based_on: {base.class_path}, expected a method trained beforehand")
    if "raw" not in replay.merge:
        found = ", ".join(replay.merge)
        raise InputError(f"replay.merge: {found} with {name}, which has its own rule, expected raw among them")
    if replay.distance != "cosine":
        raise InputError(f"replay.distance: {replay.distance} with {name}, expected cosine")
    if len(experiment.generations) > 2:
        raise InputError(f"generations: {len(experiment.generations)} with {name}, expected two")


def check_starts(experiment: Experiment) -> None:
    """Refuse starts outside the range of progress, or too close to distinguish."""
    for start in experiment.starts:
        if not 0 < start <= 1:
            raise InputError(f"starts: {start}, expected a progress in (0, 1]")
    if len({f"{start:g}" for start in experiment.starts}) != max(len(experiment.starts), 1):
        raise InputError(f"starts: {experiment.starts}, expected one or more, each another progress")


def check_axes(experiment: Experiment) -> None:
    """Refuse orders and rules under another's name, and combinations a sequence of upgrades does not support."""
    replay = experiment.replay
    for axis, plain, kind in ALONE:
        for name, spec in getattr(replay, axis).items():
            if (name == plain) != (spec.class_path == kind):
                found = spec.class_path.rpartition(".")[2]
                raise InputError(
                    f"replay.{axis}: {name} is {found}, expected {plain} for {kind.rpartition('.')[2]} alone"
                )
    if len(experiment.generations) > 2:
        if list(replay.by) != ["random"] or list(replay.merge) != ["raw"]:
            raise InputError("replay.by, replay.merge: given for a sequence of upgrades, expected neither")
        if experiment.heads.images:
            raise InputError("heads.images: true for a sequence of upgrades, expected false")


def check_epochs(experiment: Experiment, generations: dict[str, Generation]) -> None:
    """Refuse trainings without an end, for lack of a schedule."""
    trainers = {name: generation.trainer for name, generation in generations.items()}
    for name, trainer in {**trainers, "heads": experiment.heads.trainer}.items():
        epochs = trainer.init_args.get("max_epochs")
        if not isinstance(epochs, int) or not 1 <= epochs < MOST:
            raise InputError(f"{name}.trainer.max_epochs: {epochs}, expected at least 1 and below {MOST}")


def check_frozen(experiment: Experiment, generations: dict[str, Generation]) -> None:
    """Refuse a frozen backbone beside weights of the whole model, several processes, or a method that trains it."""
    for name, generation in generations.items():
        if not generation.frozen:
            continue
        if generation.checkpoint:
            raise InputError(f"{name}.frozen: true with a checkpoint, expected one of the two")
        if (devices := processes(generation.trainer)["devices"]) != 1:
            raise InputError(f"{name}.trainer.devices: {devices}, expected 1 with a frozen backbone")
        for method in experiment.chosen if name in list(experiment.generations)[1:] else ():
            if trains(experiment.methods[method]):
                raise InputError(f"{name}.frozen: true with {method}, which trains a new model, expected false")


def check_processes(experiment: Experiment) -> None:
    """Refuse trainers leaving some processes idle, or doing the same work.

    Raises:
        InputError: the first of them.
    """
    heads = processes(experiment.heads.trainer)
    if heads["devices"] != 1 or heads["num_nodes"] != 1:
        raise InputError(f"heads.trainer: {heads}, expected one device (heads are trained in one process)")
    parts = {**experiment.generations, **({"side": experiment.side} if experiment.side else {})}
    (first, oldest), *others = parts.items()
    old = processes(oldest.trainer)
    for name, part in others:
        if (found := processes(part.trainer)) != old:
            raise InputError(f"{name}.trainer: {found}, expected the {first} model's {old}")
    started = int(os.environ.get("WORLD_SIZE", 1))
    if started > 1 and old["devices"] == 1:
        raise InputError(
            f"{first}.trainer.devices: 1, expected {started} as the launcher has started that many processes"
        )
    for name in experiment.chosen:
        spec = experiment.methods[name]
        if trains(spec) and old["devices"] != 1:
            raise InputError(
                f"{first}.trainer.devices: {old['devices']}, expected 1 as {name} trains a new model of its own"
            )


def trains(spec: Spec) -> bool:
    """Whether a method, or one of its base methods, trains a new model of its own."""
    return any("new model training" in one.needs() for one in spec.chain.values())


def processes(trainer: Spec) -> dict[str, Any]:
    """Return the number of processes of a trainer's config, and their kind."""
    given = trainer.init_args
    devices = given.get("devices", "auto")
    one = devices in ("auto", "1", 1) or (isinstance(devices, list) and len(devices) == 1)
    values = {"devices": 1 if one else str(devices), "num_nodes": given.get("num_nodes", 1)}
    return values if one else {**values, "strategy": given.get("strategy", "auto")}
