"""What is refused before anything is trained: numbers out of range, and what only the networks and the images tell."""

from __future__ import annotations

import os
from typing import Any, get_args

from benchmarks.experiment.schema import Experiment, Generation
from benchmarks.experiment.spec import Spec, closest
from compat.errors import InputError
from compat.needs import Need

ALONE = (("by", "random", "compat.orders.Random"), ("merge", "raw", "compat.merge.Raw"))


def check_numbers(experiment: Experiment) -> None:
    """Refuse numbers and choices out of range.

    Raises:
        InputError: the first of them.
    """
    size, orders = experiment.heads.batch_size, experiment.replay.orders
    if size < 2 or size % 2:
        raise InputError(f"heads.batch_size: {size}, expected an even number")
    if orders < 1:
        raise InputError(f"replay.orders: {orders}, expected at least 1")
    for name in ("runs", "results"):
        if not getattr(experiment, name).strip():
            raise InputError(f"{name}: empty, expected a folder")
    if not experiment.seeds:
        raise InputError("seed: none, expected one or more")
    generations = {**experiment.generations, **({"side": experiment.side} if experiment.side else {})}
    given = [("seed", seed) for seed in experiment.seeds]
    for name, value in given + [(f"{name}.seed", generation.seed) for name, generation in generations.items()]:
        if not 0 <= value < 2**31:
            raise InputError(f"{name}: {value}, expected 0 to {2**31 - 1}")
    if len(set(experiment.seeds)) < len(experiment.seeds):
        raise InputError(f"seed: {experiment.seeds}, expected each once")
    for name in experiment.chosen:
        if name not in experiment.methods:
            raise InputError(f"only: {name!r}, expected some of {', '.join(experiment.methods)}")
    check_starts(experiment)
    check_axes(experiment)
    check_needs(experiment)
    check_epochs(experiment, generations)


def check_needs(experiment: Experiment) -> None:
    """Refuse what methods, orders and rules cannot be given, or learn without."""
    replay = experiment.replay
    axes = {"methods": experiment.methods, "replay.by": replay.by, "replay.merge": replay.merge}
    for axis, entries in axes.items():
        for name, spec in entries.items():
            needs = spec.needs()
            for need in needs:
                if need not in get_args(Need):
                    raise InputError(f"{axis}.{name}: needs {need!r}, {closest(need, list(get_args(Need)))}")
            if "head training" in needs and "training embeddings" not in needs:
                raise InputError(f"{axis}.{name}: needs 'head training' alone, expected 'training embeddings' with it")
            base = spec.based_on
            if spec.declared("learns_on_the_way", False):
                check_on_the_way(experiment, name)
            elif base is not None and "new model training" not in base.needs():
                raise InputError(
                    f"{axis}.{name}.based_on: {base.class_path}, expected a method that trains a new model"
                )


def check_on_the_way(experiment: Experiment, name: str) -> None:
    """Refuse a method that learns on the way where it cannot: elsewhere than from one system to the next, by cosine."""
    replay, base = experiment.replay, experiment.methods[name].based_on
    for point in replay.refit:
        if not 0 <= point <= 1:
            raise InputError(f"replay.refit: {point:g}, expected shares of the gallery in [0, 1]")
    if sorted(set(replay.refit)) != replay.refit:
        raise InputError(f"replay.refit: {replay.refit}, expected ascending shares of the gallery")
    if base is not None and base.declared("learns_on_the_way", False):
        raise InputError(f"methods.{name}.based_on: {base.class_path}, expected a method that learns beforehand")
    if list(replay.merge) != ["raw"]:
        raise InputError(f"replay.merge: {', '.join(replay.merge)} with {name}, which has its own rule, expected raw")
    if replay.distance != "cosine":
        raise InputError(f"replay.distance: {replay.distance} with {name}, expected cosine")
    if len(experiment.generations) > 2:
        raise InputError(f"generations: {len(experiment.generations)} with {name}, expected two")


def check_starts(experiment: Experiment) -> None:
    """Refuse starts that are no progress, or not told apart."""
    for start in experiment.starts:
        if not 0 < start <= 1:
            raise InputError(f"starts: {start}, expected a progress in (0, 1]")
    if len({f"{start:g}" for start in experiment.starts}) != max(len(experiment.starts), 1):
        raise InputError(f"starts: {experiment.starts}, expected one or more, each another progress")


def check_axes(experiment: Experiment) -> None:
    """Refuse orders and rules under another's name, and what a sequence of upgrades does not take."""
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
    """Refuse trainings without an end, which have no schedule."""
    trainers = {name: generation.trainer for name, generation in generations.items()}
    for name, trainer in {**trainers, "heads": experiment.heads.trainer}.items():
        epochs = trainer.init_args.get("max_epochs")
        if not isinstance(epochs, int) or epochs < 1:
            raise InputError(f"{name}.trainer.max_epochs: {epochs}, expected at least 1")


def check_processes(experiment: Experiment) -> None:
    """Refuse trainers that would leave a part of the processes without work, or doing another's.

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
        trains = any("new model training" in one.needs() for one in (spec, spec.based_on) if one is not None)
        if trains and old["devices"] != 1:
            raise InputError(
                f"{first}.trainer.devices: {old['devices']}, expected 1 as {name} trains a new model of its own"
            )


def processes(trainer: Spec) -> dict[str, Any]:
    """In how many processes a trainer's config runs, and how."""
    given = trainer.init_args
    devices = given.get("devices", "auto")
    one = devices in ("auto", "1", 1) or (isinstance(devices, list) and len(devices) == 1)
    values = {"devices": 1 if one else str(devices), "num_nodes": given.get("num_nodes", 1)}
    return values if one else {**values, "strategy": given.get("strategy", "auto")}


def check_networks(experiment: Experiment) -> dict[str, dict[str, Any]]:
    """Build every model and method once and refuse what cannot work with these images.

    Returns:
        What each generation is trained on: how many images, of which classes.

    Raises:
        InputError: a backbone that refuses the images, a checkpoint that does not fit, a side model that is missing or
            of another dimension, a sequence of a method that serves another dimension than the model's.
    """
    import torch

    from benchmarks.products.images import dataset, share
    from compat.methods.single import SingleModel
    from compat.models import load_embedder, read_checkpoint

    data = dataset(experiment.data)
    built: dict[str, Any] = {}
    for name, generation in {**experiment.generations, "side": experiment.side}.items():
        if generation is None:
            continue
        built[name] = generation.model.build(SingleModel)
        built[name].materialize(data.gallery_images()[0].image)
        if generation.checkpoint:
            load_embedder(built[name].embedder, read_checkpoint(generation.checkpoint), generation.checkpoint)
        if name != "side":
            data.check(share(generation.sees), name)
    side = built["side"].embedder.project.out_features if "side" in built else 0
    old, new = (built[name].embedder for name in list(experiment.generations)[:2])
    for name in experiment.chosen:
        spec = experiment.methods[name]
        kind = made(f"methods.{name}", spec, old, new)
        if spec.based_on is not None:
            made(f"methods.{name}.based_on", spec.based_on, old, new)
        check_side(name, spec, side, experiment.heads.images)
        if len(experiment.generations) > 2:
            rows = [torch.zeros(2, embedder.project.out_features) for embedder in (kind.old, kind.new)]
            with torch.no_grad():
                dim = kind.eval().query(*rows)[1].shape[1]
            if dim != rows[1].shape[1]:
                raise InputError(
                    f"generations: {len(experiment.generations)}, but {name} serves {dim} dimensions of a projection "
                    f"to {rows[1].shape[1]}; expected methods that serve the model's own dimension in a sequence"
                )
    return {
        name: {"images": len(data.rows(share(g.sees))), "classes": data.class_names(share(g.sees))}
        for name, g in experiment.generations.items()
    }


def made(field: str, spec: Spec, old: Any, new: Any) -> Any:
    """A method of two networks; what its constructor refuses is said of the config's field.

    Raises:
        InputError: a number out of range, or what else the constructor refuses.
    """
    from benchmarks.products.systems import Method

    build = spec.build(Method)
    try:
        return build(old, new)
    except InputError as error:
        raise InputError(f"{field}.init_args.{error}") from error


def check_side(name: str, spec: Spec, dim: int, augmented: bool) -> None:
    """Refuse a side model that is not there or of another dimension than the method asks for."""
    if "side-information" not in spec.needs():
        return
    asked = spec.init_args["side"]
    if dim != asked:
        found = f"{dim} dimensions" if dim else "none"
        raise InputError(f"side: {found}, expected a side model of {asked} dimensions, as {name} needs it")
    if augmented:
        raise InputError("heads.images: true with side-information, expected false")
