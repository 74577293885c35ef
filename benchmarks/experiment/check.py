"""What is refused before anything is trained: numbers out of range, and what only the networks and the images tell."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
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
    given += [(f"{name}.seed", g.seed) for name, g in generations.items() if g.seed is not None]
    for name, value in given:
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
        if trains(spec) and old["devices"] != 1:
            raise InputError(
                f"{first}.trainer.devices: {old['devices']}, expected 1 as {name} trains a new model of its own"
            )


def trains(spec: Spec) -> bool:
    """Whether a method, or the one that it is based on, trains a new model of its own."""
    return any("new model training" in one.needs() for one in (spec, spec.based_on) if one is not None)


def processes(trainer: Spec) -> dict[str, Any]:
    """In how many processes a trainer's config runs, and how."""
    given = trainer.init_args
    devices = given.get("devices", "auto")
    one = devices in ("auto", "1", 1) or (isinstance(devices, list) and len(devices) == 1)
    values = {"devices": 1 if one else str(devices), "num_nodes": given.get("num_nodes", 1)}
    return values if one else {**values, "strategy": given.get("strategy", "auto")}


def check_networks(experiment: Experiment) -> dict[str, dict[str, Any]]:
    """Build every model, method, order and rule once and refuse what cannot work with these images.

    Returns:
        What each generation is trained on: how many images, of which classes.

    Raises:
        InputError: a backbone that refuses the images, a checkpoint that does not fit, training images of a single
            class, a number out of range or greater than there are items, what a method cannot learn from, a side model
            that is missing or of another dimension, a sequence of a method that serves another dimension than the
            model's.
    """
    from benchmarks.products.images import dataset, share

    data = dataset(experiment.data)
    check_replay(experiment, len(data.gallery_images()))
    parts = {**experiment.generations, **({"side": experiment.side} if experiment.side else {})}
    built = {name: network(name, part, data) for name, part in parts.items()}
    seen = {name: share(generation.sees) for name, generation in experiment.generations.items()}
    for name in list(seen)[1:]:  # an old model of one class serves, if badly; from one class nothing compares
        if data.num_classes(seen[name]) < 2:
            raise InputError(f"data: training images of a single class for {name}, expected at least 2")
    for name in experiment.chosen:
        spec = experiment.methods[name]
        check_side(name, spec, built["side"].project.out_features if "side" in built else 0, experiment.heads.images)
        upgrades = list(pairwise(seen))[: 1 if trains(spec) else None]  # then it goes on from a model not there yet
        for number, (before, after) in enumerate(upgrades):
            images, known = len(data.rows(seen[after])), known_of(data, seen[before], seen[after])
            kind = made(f"methods.{name}", spec, built[before], built[after], images, known)
            if spec.based_on is not None:
                made(f"methods.{name}.based_on", spec.based_on, built[before], built[after], images, known)
            if not number and len(seen) > 2:
                check_sequence(name, kind, len(seen))
    return {name: {"images": len(data.rows(sees)), "classes": data.class_names(sees)} for name, sees in seen.items()}


def check_replay(experiment: Experiment, items: int) -> None:
    """Refuse orders and rules whose numbers are out of range, or that do not fit a gallery of so many items."""
    from compat.merge import Merge
    from compat.orders import Order

    for name, spec in experiment.replay.by.items():
        with saying(f"replay.by.{name}.init_args"):
            spec.build(Order).check(items)
    for name, spec in experiment.replay.merge.items():
        with saying(f"replay.merge.{name}.init_args"):
            spec.build(Merge)


def network(name: str, part: Generation, data: Any) -> Any:
    """A generation's or the side model's embedder as it is before its training, with a classifier.

    Raises:
        InputError: it does not take the images or its weights, or they are no images to train on.
    """
    from benchmarks.products.images import share
    from compat.methods.single import SingleModel
    from compat.models import load_embedder, read_checkpoint

    with saying(f"{name}.model"):
        model = part.model.build(SingleModel)
        model.materialize(data.gallery_images()[0].image)
        if not 0 < model.warmup < 1:
            raise InputError(f"warmup: {model.warmup}, expected a share in (0, 1)")
    if part.checkpoint:
        load_embedder(model.embedder, read_checkpoint(part.checkpoint), part.checkpoint)
    if name != "side":
        data.check(share(part.sees), name)
        if not part.checkpoint:
            with saying(f"{name}.model"):
                model.classify(data.num_classes(share(part.sees)))
    return model.embedder


def known_of(data: Any, before: Any, after: Any) -> list[int]:
    """Of each class that a model sees, its index among those that the one before it has seen, -1 if it has not."""
    old = data.classes(before)
    return [label - old.start if label in old else -1 for label in data.classes(after)]


def made(field: str, spec: Spec, old: Any, new: Any, images: int, known: list[int]) -> Any:
    """A method of two networks, and of so many training images of classes known to the old one or not.

    Raises:
        InputError: a number out of range, or what else the method refuses; said of the config's field.
    """
    from benchmarks.products.systems import Method

    build = spec.build(Method)
    with saying(f"{field}.init_args"):
        kind = build(old, new)
        kind.check(images, known)
    return kind


@contextmanager
def saying(field: str) -> Iterator[None]:
    """Let a refusal of an argument name the config's field; what has dots is one already."""
    try:
        yield
    except InputError as error:
        argument, _, _ = str(error).partition(":")
        raise InputError(str(error) if "." in argument else f"{field}.{error}") from error


def check_sequence(name: str, kind: Any, generations: int) -> None:
    """Refuse a method that serves another dimension than the model's in a sequence of upgrades."""
    import torch

    rows = [torch.zeros(2, embedder.project.out_features) for embedder in (kind.old, kind.new)]
    with torch.no_grad():
        dim = kind.eval().query(*rows)[1].shape[1]
    if dim != rows[1].shape[1]:
        raise InputError(
            f"generations: {generations}, but {name} serves {dim} dimensions of a projection "
            f"to {rows[1].shape[1]}; expected methods that serve the model's own dimension in a sequence"
        )


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
