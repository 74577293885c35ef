"""Embeddings of the new model trained by a method itself."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from benchmarks.artifacts.extracted import embed
from benchmarks.artifacts.kinds import Extracted
from benchmarks.artifacts.store import ArtifactStore
from benchmarks.artifacts.systems import network


def extract(artifact: Extracted, store: ArtifactStore, folder: Path) -> dict[str, Tensor]:
    """Embed the images with the method's own model."""
    return embed(network(store, artifact), artifact.images, artifact.options, folder)
