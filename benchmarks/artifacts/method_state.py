"""Train a method, from its declared inputs."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from benchmarks.artifacts.images import dataset
from benchmarks.artifacts.kinds import MethodState
from benchmarks.artifacts.store import ArtifactStore
from benchmarks.artifacts.systems import Built, build
from benchmarks.artifacts.training import fit
from compat.batch import Pair
from compat.needs import Given
from compat.pairs import CachedEmbeddings, PairData


def learn(artifact: MethodState, store: ArtifactStore, folder: Path) -> dict[str, Tensor]:
    """Compute the state of a method, without the two frozen models; empty for a method without training."""
    if artifact.images is None:
        return {}
    built = build(store, artifact)
    given = Given(built.needs, available(artifact, built), type(built.method).__name__)
    built.method.learn(given, fitting(artifact, given, folder))
    return built.method.heads()


def available(artifact: MethodState, built: Built) -> dict[str, Any]:
    """Return the inputs a method may ask for; each is read on demand."""
    assert artifact.images is not None
    assert artifact.sees is not None
    data, sees = dataset(artifact.images.whole), artifact.sees
    rows = data.rows(sees)

    def labels() -> Tensor:
        return data.train_images(augment=False).labels[rows] - data.classes(sees).start

    def pairs() -> Pair:
        old, new = (matrix[rows] for matrix in built.split("train"))
        own = "new model training" in built.needs  # then `plain new model` has them
        return Pair(old, new[:0] if own else new, labels() if shows_labels(built.needs) else rows[:0])

    def known() -> Tensor:
        assert artifact.saw is not None
        before = data.classes(artifact.saw)
        return torch.tensor([c - before.start if c in before else -1 for c in data.classes(sees)])

    return {
        "training embeddings": pairs,
        "training labels": labels,
        "old classes": known,
        "old classifier": lambda: built.old.embedder.classifier,
        "new classifier": lambda: built.new.embedder.classifier,
        "plain new model": lambda: built.new.rows("train")[rows],
        "new model training": lambda: built.recipe,
    }


def shows_labels(needs: Collection[str]) -> bool:
    """Whether a method's batches hold pairs of a class, with labels; a benchmark always knows them."""
    return not {"training labels", "labels if known"}.isdisjoint(needs)


def fitting(artifact: MethodState, given: Given, folder: Path) -> Callable[[pl.LightningModule], None]:
    """Return a function training the method by gradient, under its recipe, on its part of the images.

    A head that declares no labels gets none (-1), and its batches in random order.
    """

    def train(module: pl.LightningModule) -> None:
        training, images, sees = artifact.training, artifact.images, artifact.sees
        assert training is not None
        assert training.options is not None
        assert images is not None
        assert sees is not None
        data = dataset(images.whole)
        if training.model is not None:
            items: pl.LightningDataModule = data.training(sees, training.seed)
        else:
            pairs, labelled = given["training embeddings"], shows_labels(given.needs)
            labels = pairs.label if labelled else torch.full((len(pairs.old),), -1)
            shown: Any = CachedEmbeddings(pairs.old, pairs.new, labels)
            if training.augmented:
                shown = data.train_images(augment=True).subset(data.rows(sees))
                shown.labels = labels
            workers = data.num_workers if training.augmented else 0
            items = PairData(shown, training.batch_size or 1, training.seed, workers, labelled)
        fit(module, training.options, training.seed, folder, items)

    return train
