"""A backfill order, from its declared inputs; computed once for all merge rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.artifacts.blind_orders import permutations
from benchmarks.artifacts.kinds import Ordering
from benchmarks.artifacts.matrices import matrices
from benchmarks.artifacts.store import ArtifactStore
from benchmarks.artifacts.systems import System, load, upgrade
from compat.embeddings import Embeddings


def order(artifact: Ordering, store: ArtifactStore, folder: Path) -> dict[str, Tensor]:
    """Compute permutations of the gallery, (S, G)."""
    return permutations(artifact, available(artifact, store))


def available(artifact: Ordering, store: ArtifactStore) -> dict[str, Any]:
    """Return the inputs an order may ask for; each is read on demand."""

    def old() -> System:
        assert artifact.old is not None
        return load(store, artifact.old)

    def everything() -> Embeddings:
        assert artifact.upgrade is not None
        return matrices(store, artifact.upgrade, artifact.images)

    def uncertainty() -> Tensor | None:
        assert artifact.estimator is not None
        built = upgrade(store, artifact.estimator)
        with torch.inference_mode():
            return built.method.uncertainty(built.split("gallery")[0])

    return {
        "old gallery": lambda: old().rows("gallery"),
        "old classifier": lambda: old().embedder.classifier,
        "served old gallery": lambda: everything().gallery_old,
        "all matrices and labels": everything,
        "uncertainty": uncertainty,
    }
