"""From the systems before and after an upgrade, and what a method has learned, to the four matrices."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.cache import Artifact
from compat.backfill import Embeddings
from compat.data import RetrievalData
from compat.errors import InputError
from compat.methods import FastFill, Upgrade
from compat.models import Embedder


class System(NamedTuple):
    """A generation as an upgrade meets it: its model, the embeddings that it serves, and its side-information."""

    embedder: Embedder
    embedded: Artifact
    side: Artifact | None = None

    def rows(self, split: str, side: int = 0) -> Tensor:
        """The embeddings of a split, of the gallery's where the queries are the gallery; with the side-information
        beside them if a method takes it, of `side` dimensions.

        Raises:
            InputError: there is none, or of another dimension.
        """
        rows = _of_split(self.embedded, split)
        if not side:
            return rows
        beside = None if self.side is None else _of_split(self.side, split)
        if beside is None or beside.shape[1] != side:
            found = "none" if beside is None else f"{beside.shape[1]} dimensions"
            raise InputError(f"side: {found}, expected a side model of {side} dimensions, as the method's `side` says")
        return torch.cat([rows, beside], 1)


class Fitted(NamedTuple):
    """An upgrade from one system to the next, with what its method has learned, and the stages that made it."""

    method: Upgrade
    head: Artifact
    old: System
    new: System
    stages: dict[str, Artifact]


def through(transform: Any, upgrade: Fitted, split: str) -> tuple[Tensor, Tensor]:
    """What `query` or `gallery` of a method makes of a split."""
    old_rows = upgrade.old.rows(split, upgrade.method.side).split(4096)
    rows = [old_rows, upgrade.new.rows(split).split(4096)]
    with torch.inference_mode():
        old, new = zip(*(transform(*pair) for pair in zip(*rows, strict=True)), strict=True)
    return torch.cat(old), torch.cat(new)


def uncertainty(upgrade: Fitted) -> Tensor | None:
    """How uncertain a method is of each old item of the gallery, (G,), if it says so."""
    if not isinstance(upgrade.method, FastFill):
        return None
    with torch.inference_mode():
        return upgrade.method.uncertainty(upgrade.old.rows("gallery", upgrade.method.side))


def _of_split(embedded: Artifact, split: str) -> Tensor:
    return embedded.tensors.get(split, embedded.tensors["gallery"])


def served(upgrade: Fitted) -> System:
    """The system that an upgrade ends in: the new model, with its embeddings as the method serves them."""
    method, head, _, new, _ = upgrade
    tensors = {split: through(method.gallery, upgrade, split)[1] for split in new.embedded.tensors}
    tensors["query"] = through(method.query, upgrade, "query")[1]
    plain = new.embedded.tensors
    same = all(torch.equal(rows, plain.get(split, plain["gallery"])) for split, rows in tensors.items())
    key = new.embedded.key if same else f"{head.key}-{new.embedded.key}"
    embedder = new.embedder
    if not same:  # its classifier knows the model's own embeddings
        embedder = copy.copy(embedder)
        embedder._modules = {**embedder._modules, "classifier": None}
    return System(embedder, Artifact(tensors, key, 0.0, cached=True))


def fill(upgrade: Fitted, data: RetrievalData, after: Fitted | None = None) -> Embeddings:
    """The four matrices of an upgrade.

    Args:
        upgrade: the last one.
        data: labels and groups.
        after: the upgrade before it, for the items that this one has not reached.
    """
    queries, gallery = data.query_images(), data.gallery_images()
    query_old, query_new = through(upgrade.method.query, upgrade, "query")
    gallery_old, gallery_new = through(upgrade.method.gallery, upgrade, "gallery")
    if after:
        with torch.inference_mode():
            query_old = after.method.back(after.old.rows("query"), query_old)
            stale = through(after.method.gallery, after, "gallery")[0]
            gallery_old = upgrade.method.gallery(stale, gallery_new)[0]  # forward once more where it is transformed
    matrices = (query_old, query_new, gallery_old, gallery_new)
    return Embeddings(*matrices, queries.labels, gallery.labels, queries.groups, gallery.groups)
