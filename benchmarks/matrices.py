"""From the systems before and after an upgrade, and what a method has learned, to the four matrices."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.cache import Artifact
from compat.backfill import Embeddings
from compat.data import RetrievalData
from compat.methods import Upgrade
from compat.models import Embedder


class System(NamedTuple):
    """A generation as an upgrade meets it: its model, and the embeddings that it serves."""

    embedder: Embedder
    embedded: Artifact


class Fitted(NamedTuple):
    """An upgrade from one system to the next, with what its method has learned."""

    method: Upgrade
    head: Artifact
    old: System
    new: System


def through(transform: Any, upgrade: Fitted, split: str) -> tuple[Tensor, Tensor]:
    """What `query` or `gallery` of a method makes of a split; of the gallery's where the queries are the gallery."""
    tensors = [system.embedded.tensors for system in (upgrade.old, upgrade.new)]
    rows = [of_system.get(split, of_system["gallery"]).split(4096) for of_system in tensors]
    with torch.inference_mode():
        old, new = zip(*(transform(*pair) for pair in zip(*rows, strict=True)), strict=True)
    return torch.cat(old), torch.cat(new)


def served(upgrade: Fitted) -> System:
    """The system that an upgrade ends in: the new model, with its embeddings as the method serves them."""
    method, head, _, new = upgrade
    tensors = {split: through(method.gallery, upgrade, split)[1] for split in new.embedded.tensors}
    tensors["query"] = through(method.query, upgrade, "query")[1]
    plain = new.embedded.tensors
    same = all(torch.equal(rows, plain.get(split, plain["gallery"])) for split, rows in tensors.items())
    key = new.embedded.key if same else f"{head.key}-{new.embedded.key}"
    return System(new.embedder, Artifact(tensors, key, 0.0, cached=True))


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
        oldest = after.old.embedded.tensors
        with torch.inference_mode():
            query_old = after.method.back(oldest.get("query", oldest["gallery"]), query_old)
        gallery_old = through(after.method.gallery, after, "gallery")[0]
    matrices = (query_old, query_new, gallery_old, gallery_new)
    return Embeddings(*matrices, queries.labels, gallery.labels, queries.groups, gallery.groups)
