"""The cost of a job's backfill, in seconds and in bytes, from the records of its artifacts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.artifacts.artifact import Artifact, graph
from benchmarks.artifacts.images import dataset
from benchmarks.artifacts.kinds import (
    Extracted,
    MethodState,
    OldEnd,
    OnlineCurve,
    OwnSystem,
    PlainSystem,
    Projected,
    ReplayedCurve,
    ServedSystem,
    Upgraded,
    Weights,
)
from benchmarks.artifacts.store import ArtifactStore
from compat.cost import Cost


def costs(replayed: ReplayedCurve, curve: dict[str, Any], store: ArtifactStore) -> dict[str, Cost]:
    """Return the cost of a backfill, of seconds and of bytes.

    It starts with what the method trains beyond the plain new model, and with the embeddings of the training images for
    it. A method that transforms the old gallery then maps and writes all items. Each refit writes what it predicts.

    Args:
        replayed: the curve.
        curve: its tensors.
        store: with the records of what was trained and extracted.

    Returns:
        The cost by quantity; empty where a record is missing, or the upgrade starts before the previous one has ended.
    """
    if replayed.overlap or any(store.record(one) is None for one in graph(replayed)):
        return {}
    items, new = len(dataset(replayed.images.whole).gallery_images()), replayed.after.new
    plain, mapped = seconds_per_image(new.vectors, store), float(curve["map_seconds"]) / items
    dimension, forward = int(store.get(replayed.after)["dimensions"][1]), int(curve["bytes_old"])
    early, later = (mapped, 0.0) if forward else (0.0, mapped)
    trained = training_seconds(replayed.upgrade, store) - generation_seconds(new, store)
    at, learned, predicted, rewritten = [0.0], np.zeros(1), np.zeros(1), np.zeros(1)
    if isinstance(replayed, OnlineCurve):
        at, parts = moments_of(replayed), ("seconds", "mapping", "rewritten")
        learned, predicted, rewritten = (curve[f"refit_{name}"].numpy().mean(0) for name in parts)
    start = np.arange(len(at)) == 0
    fixed = np.maximum(learned - predicted, 0) + start * (
        max(trained, 0.0) + embedding_seconds(replayed.upgrade, store)
    )
    each, again = predicted / items + start * early, rewritten / items + start * forward
    return {
        "seconds": Cost(plain, plain + later, at, fixed.tolist(), each.tolist()),
        "bytes": Cost(4.0 * dimension, float(curve["bytes_new"]), at, [0.0] * len(at), again.tolist()),
    }


def seconds_per_image(vectors: Extracted, store: ArtifactStore) -> float:
    """Return the seconds in which a model embedded one image, from all splits."""
    features = seconds(vectors.of.features, store) if isinstance(vectors.of, Projected) else 0.0
    return (features + seconds(vectors, store)) / sum(map(len, dataset(vectors.images.whole).splits().values()))


def states(upgrade: Upgraded) -> Iterator[MethodState]:
    """Yield the states that were learned for an upgrade: the method's, and those of what it stands on."""
    yield upgrade.learned
    new = upgrade.learned.new
    if isinstance(new, ServedSystem):
        yield from states(new.by)
    elif isinstance(new, OwnSystem) and new.vectors.of != upgrade.learned:
        assert isinstance(new.vectors.of, MethodState)
        yield from states(Upgraded(new.vectors.of, new))


def model_of(system: PlainSystem | OwnSystem | ServedSystem | OldEnd) -> Extracted:
    """Return the embeddings by the model of a system, whatever methods map them."""
    if isinstance(system, ServedSystem):
        return model_of(system.by.new)
    return model_of(system.of.learned.old) if isinstance(system, OldEnd) else system.vectors


def embedding_seconds(upgrade: Upgraded, store: ArtifactStore) -> float:
    """Return the seconds of embedding the training images of what was learned: once by each model it needs them of."""
    images: dict[Extracted, int] = {}
    for learned in states(upgrade):
        needs = learned.method.needs()
        pairs, own = "training embeddings" in needs, "new model training" in needs
        new = (pairs and not own) or "plain new model" in needs
        models = [model_of(learned.old)] * pairs + [model_of(learned.new)] * new
        if models and learned.images is not None and learned.sees is not None:
            rows = len(dataset(learned.images.whole).rows(learned.sees))
            images |= {model: max(rows, images.get(model, 0)) for model in models}
    return sum(rows * seconds_per_image(vectors, store) for vectors, rows in images.items())


def moments_of(replayed: OnlineCurve) -> list[float]:
    """Return the refit points, with the start."""
    return list(dict.fromkeys([0.0, *replayed.refit]))


def seconds(artifact: Artifact, store: ArtifactStore) -> float:
    """Return the seconds an artifact took."""
    record = store.record(artifact)
    return float(record["seconds"]) if record else 0.0


def training_seconds(upgrade: Upgraded, store: ArtifactStore) -> float:
    """Return the seconds of training for this upgrade: its final model, and the method.

    The system before the upgrade already exists. A method with a model of its own does not need the plain new one,
    unless it uses it.
    """
    total = seconds(upgrade.learned, store)
    learned: MethodState = upgrade.learned
    if isinstance(upgrade.new, OwnSystem) and upgrade.new.vectors.of == learned:
        plain = learned.new if "plain new model" in learned.method.needs() else None
        return total + (generation_seconds(plain, store) if isinstance(plain, PlainSystem) else 0.0)
    if isinstance(learned.new, ServedSystem):
        return total + training_seconds(learned.new.by, store)
    if isinstance(learned.new, OwnSystem):
        base = learned.new.vectors.of
        assert isinstance(base, MethodState)
        return total + training_seconds(Upgraded(base, learned.new), store)
    assert isinstance(learned.new, PlainSystem)
    return total + generation_seconds(learned.new, store)


def generation_seconds(system: PlainSystem, store: ArtifactStore) -> float:
    """Return the seconds of training a generation's model; 0 for a checkpoint."""
    weights = system.vectors.of
    return seconds(weights, store) if isinstance(weights, Weights) else 0.0
