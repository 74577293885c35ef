"""Build a method's inputs from artifacts: its two systems, and itself."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Literal, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor

from benchmarks.artifacts.images import dataset
from benchmarks.artifacts.kinds import Extracted, MethodState, OldEnd, OwnSystem, PlainSystem, ServedSystem, Upgraded
from benchmarks.artifacts.store import ArtifactStore
from benchmarks.artifacts.weights import load_trained
from compat.errors import InputError
from compat.methods.single import SingleModel
from compat.methods.upgrade import Upgrade, through
from compat.models import Embedder, Precomputed

Method = Callable[[Embedder, Embedder], Upgrade]


class System(NamedTuple):
    """A model, its served embeddings by split, and its side-information likewise."""

    embedder: Embedder
    vectors: dict[str, Tensor]
    side: dict[str, Tensor] | None = None

    def rows(self, split: str, side: bool = False) -> Tensor:
        """Return the embeddings of a split, with the side-information beside them if asked for.

        Where the queries are the gallery, they are the gallery's.

        Raises:
            InputError: there is no side-information.
        """
        rows = of_split(self.vectors, split)
        if not side:
            return rows
        if self.side is None:
            raise InputError("side: none, expected a side model, as the method needs it")
        return torch.cat([rows, of_split(self.side, split)], 1)


class Built(NamedTuple):
    """A method with its systems, and its declared inputs.

    `recipe` is the plain new model whose recipe is used by a method with a model of its own.
    """

    method: Upgrade
    old: System
    new: System
    needs: tuple[str, ...]
    recipe: SingleModel | None = None

    def split(self, name: str) -> tuple[Tensor, Tensor]:
        """Return both models' embeddings of a split."""
        return self.old.rows(name, "side-information" in self.needs), self.new.rows(name)


def of_split(vectors: dict[str, Tensor], split: str) -> Tensor:
    """Return the embeddings of a split; the queries may be the gallery."""
    return vectors.get(split, vectors["gallery"])


def load(store: ArtifactStore, system: PlainSystem | OwnSystem | ServedSystem | OldEnd) -> System:
    """Load a system, with its embeddings."""
    if isinstance(system, ServedSystem):
        return serve_system(upgrade(store, system.by))
    if isinstance(system, OldEnd):
        return serve_old_end(upgrade(store, system.of))
    side = store.get(system.side) if isinstance(system, PlainSystem) and system.side else None
    return System(network(store, system.vectors).embedder, store.get(system.vectors), side)


def network(store: ArtifactStore, vectors: Extracted) -> SingleModel:
    """Load the model of some embeddings: a generation's, or one trained by a method itself."""
    if not isinstance(vectors.of, MethodState):
        return load_trained(vectors.model, store.get(vectors.of), vectors.name)
    built = build(store, vectors.of)
    built.method.restore(store.get(vectors.of))
    assert built.recipe is not None
    built.recipe.embedder = built.method.new
    return built.recipe


def build(store: ArtifactStore, learned: MethodState) -> Built:
    """Build a method before its training."""
    old, new = load(store, learned.old), load(store, learned.new)
    pl.seed_everything(learned.training.seed if learned.training else 0, verbose=False)
    recipe, embedder = None, new.embedder
    if learned.training is not None and learned.training.model is not None:
        assert learned.images is not None
        recipe = learned.training.model.build(SingleModel)
        recipe.materialize(dataset(learned.images.whole).gallery_images()[0].image)
        embedder = recipe.embedder
    needs = learned.method.needs()
    shown = (old.embedder, "old classifier"), (embedder, "new classifier")
    method: Upgrade = learned.method.build(Method)(*(e if need in needs else drop_classifier(e) for e, need in shown))
    return Built(method, old, new, needs, recipe)


def upgrade(store: ArtifactStore, upgraded: Upgraded) -> Built:
    """Load an upgrade: its method with its state, and its systems."""

    def make() -> Built:
        built = build(store, upgraded.learned)
        built.method.restore(store.get(upgraded.learned))
        new = load(store, upgraded.new) if upgraded.new != upgraded.learned.new else built.new
        return built._replace(method=built.method.eval(), new=new)

    return store.recall(("upgrade", upgraded), make)


def serve_system(built: Built) -> System:
    """Return the final system of an upgrade: the new model, with its embeddings as served by the method."""
    return served_as(built, built.new, 1)


def serve_old_end(built: Built) -> System:
    """Return the old system as served by a method before anything is backfilled."""
    return served_as(built, built.old, 0)


def served_as(built: Built, system: System, end: Literal[0, 1]) -> System:
    """Return what becomes of a system at one end of an upgrade, without its classifier if its embeddings change."""
    rows = {}
    for split in dict.fromkeys([*system.vectors, "query"]):
        transform = built.method.query if split == "query" else built.method.gallery
        rows[split] = through(transform, *built.split(split))[end]
    if all(torch.equal(values, of_split(system.vectors, split)) for split, values in rows.items()):
        return System(system.embedder, rows)
    dim = rows["gallery"].shape[1]
    same = dim == system.embedder.project.out_features
    return System(drop_classifier(system.embedder) if same else Precomputed(dim), rows)


def drop_classifier(embedder: Embedder) -> Embedder:
    """Return the same embedder without its classifier."""
    embedder = copy.copy(embedder)
    embedder._modules = {**embedder._modules, "classifier": None}
    return embedder
