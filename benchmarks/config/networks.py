"""Checks requiring the networks and the images, made before any training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

from benchmarks.config.check import trains
from benchmarks.config.schema import Experiment, Generation
from benchmarks.config.spec import Spec
from compat.errors import InputError


def check_networks(experiment: Experiment) -> dict[str, dict[str, Any]]:
    """Build every model, method, order and rule once and refuse those incompatible with these images.

    Returns:
        The training data of each generation: number of images, classes.

    Raises:
        InputError: a backbone refusing the images, a checkpoint that does not fit, training images of a single class, a
            number out of range or above the number of items, training data unusable for a method, a side model missing
            or of another dimension, a method changing the dimension within a sequence.
    """
    from benchmarks.artifacts.images import dataset

    data = dataset(experiment.data)
    check_replay(experiment, len(data.gallery_images()))
    parts = {**experiment.generations, **({"side": experiment.side} if experiment.side else {})}
    built = {name: network(name, part, data) for name, part in parts.items()}
    seen = {name: generation.sees for name, generation in experiment.generations.items()}
    for name in list(seen)[1:]:  # an old model of one class serves, if badly; from one class nothing compares
        if data.num_classes(seen[name]) < 2:
            raise InputError(f"data: training images of a single class for {name}, expected at least 2")
    for name in experiment.chosen:
        spec = experiment.methods[name]
        side = built["side"].project.out_features if "side" in built else 0
        for one in spec.chain.values():
            check_side(name, one, side, experiment.heads.images)
        upgrades = list(pairwise(seen))[: 1 if trains(spec) else None]  # then it goes on from a model not there yet
        for number, (before, after) in enumerate(upgrades):
            heads, kinds = heads_share(experiment, data, after), []
            for place, one in spec.chain.items():
                shown = seen[after] if "new model training" in one.needs() else heads
                images, known = len(data.rows(shown)), map_classes(data, seen[before], shown)
                field = f"methods.{name}{place}"
                kinds.append(build_each(field, one, built[before], built[after], images, known))
            kind = kinds[0]
            if not number and len(seen) > 2:
                check_sequence(name, kind, len(seen))
    return {name: {"images": len(data.rows(sees)), "classes": data.class_names(sees)} for name, sees in seen.items()}


def heads_share(experiment: Experiment, data: Any, new: str) -> Any:
    """Return the training data of methods without a new model of their own.

    Raises:
        InputError: classes outside the new model's, not from its first one on, or a single one.
    """
    whole = experiment.generations[new].sees
    if experiment.heads.sees is None:
        return whole
    data.check(part := experiment.heads.sees, "heads")
    classes, known = data.classes(part), data.classes(whole)
    if classes.start != known.start or classes.stop > known.stop or len(classes) < 2:
        found = f"classes {classes.start} to {classes.stop - 1}"
        raise InputError(f"heads.sees: {found}, expected two or more of {new}'s from its first, {known.start}, on")
    return part


def check_replay(experiment: Experiment, items: int) -> None:
    """Refuse orders, rules and metrics that cannot be built, or do not fit a gallery of this size."""
    from compat.curve_metrics import CURVE_METRICS, CurveMetric
    from compat.merge import Merge
    from compat.orders import Order

    for name, spec in experiment.replay.by.items():
        with name_field(f"replay.by.{name}.init_args"):
            spec.build(Order).check(items)
    for name, spec in experiment.replay.merge.items():
        with name_field(f"replay.merge.{name}.init_args"):
            spec.build(Merge)
    for name, given in experiment.replay.metrics.items():
        with name_field(f"replay.metrics.{name}.init_args"):
            metric = given.build(CurveMetric) if given is not None else CURVE_METRICS[name]
        if not metric.label:
            raise InputError(f"replay.metrics.{name}: no label, expected one")


def network(name: str, part: Generation, data: Any) -> Any:
    """Build the untrained embedder of a generation or side model, with a classifier.

    Raises:
        InputError: it does not take the images or its weights, or the images cannot be trained on.
    """
    from compat.methods.single import SingleModel
    from compat.models import load_embedder, read_checkpoint

    with name_field(f"{name}.model"):
        model = part.model.build(SingleModel)
        model.materialize(data.gallery_images()[0].image)
        if not 0 < model.warmup < 1:
            raise InputError(f"warmup: {model.warmup}, expected a share in (0, 1)")
    if part.checkpoint:
        load_embedder(model.embedder, read_checkpoint(part.checkpoint), part.checkpoint)
    if name != "side":
        data.check(part.sees, name)
        if not part.checkpoint:
            with name_field(f"{name}.model"):
                model.classify(data.num_classes(part.sees))
    return model.embedder


def map_classes(data: Any, before: Any, after: Any) -> list[int]:
    """Map each of the model's classes to its index in the previous model's classes; -1 if unseen."""
    old = data.classes(before)
    return [label - old.start if label in old else -1 for label in data.classes(after)]


def build_each(field: str, spec: Spec, old: Any, new: Any, images: int, known: list[int]) -> Any:
    """Build a method of two networks, for this many training images of classes known to the old one or not.

    Raises:
        InputError: a number out of range, or any error of the method; with the config's field.
    """
    from benchmarks.artifacts.systems import Method

    build = spec.build(Method)
    with name_field(f"{field}.init_args"):
        kind = build(old, new)
        kind.check(images, known)
    return kind


@contextmanager
def name_field(field: str) -> Iterator[None]:
    """Prefix errors about an argument with the config's field; dotted names are fields already."""
    try:
        yield
    except InputError as error:
        argument, _, _ = str(error).partition(":")
        raise InputError(str(error) if "." in argument else f"{field}.{error}") from error


def check_sequence(name: str, kind: Any, generations: int) -> None:
    """Refuse a method changing the dimension of the model in a sequence of upgrades."""
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
    """Refuse a missing side model, or one with another dimension than the method needs."""
    if "side-information" not in spec.needs():
        return
    asked = spec.init_args["side"]
    if dim != asked:
        found = f"{dim} dimensions" if dim else "none"
        raise InputError(f"side: {found}, expected a side model of {asked} dimensions, as {name} needs it")
    if augmented:
        raise InputError("heads.images: true with side-information, expected false")
