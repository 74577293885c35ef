"""Embeddings of the new model that a method trained itself."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from benchmarks.artifacts.extracted import embed
from benchmarks.artifacts.kinds import Extracted
from benchmarks.artifacts.store import ArtifactStore
from benchmarks.artifacts.systems import network


def extract(artifact: Extracted, store: ArtifactStore, folder: Path) -> dict[str, Tensor]:
    """What the method's own model makes of the images."""
    return embed(network(store, artifact), artifact.images, artifact.options, folder)
