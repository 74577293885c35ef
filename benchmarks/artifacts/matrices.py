"""The four matrices: the two models' own embeddings, and the embeddings served by a method."""

from __future__ import annotations

from benchmarks.artifacts.images import dataset
from benchmarks.artifacts.kinds import ImageSet, Upgraded
from benchmarks.artifacts.store import ArtifactStore
from benchmarks.artifacts.systems import Built, upgrade
from compat.embeddings import Embeddings
from compat.system import serve


def plain(built: Built, images: ImageSet) -> Embeddings:
    """Return the two models' own embeddings of queries and gallery, with labels and groups."""
    data = dataset(images.whole)
    queries, gallery = data.query_images(), data.gallery_images()
    matrices = (*built.split("query"), *built.split("gallery"))
    return Embeddings(*matrices, queries.labels, gallery.labels, queries.groups, gallery.groups)


def matrices(store: ArtifactStore, upgraded: Upgraded, images: ImageSet) -> Embeddings:
    """Return the four matrices as served by an upgrade, computed once for all its orders and merge rules."""

    def make() -> Embeddings:
        built = upgrade(store, upgraded)
        return serve(built.method, plain(built, images))

    return store.recall(("matrices", upgraded, images), make)
