"""Orders independent of the models: at random, or by a file of scores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.artifacts.images import dataset
from benchmarks.artifacts.kinds import Ordering
from benchmarks.artifacts.store import ArtifactStore
from compat.orders import Order, OrderGiven


def order(artifact: Ordering, store: ArtifactStore, folder: Path) -> dict[str, Tensor]:
    """Compute permutations of the gallery, (S, G)."""
    return permutations(artifact, {})


def permutations(artifact: Ordering, values: dict[str, Callable[[], Any]]) -> dict[str, Tensor]:
    """Compute permutations of the gallery, (S, G), from the inputs available."""
    chosen: Order = artifact.order.build(Order)
    gallery = dataset(artifact.images.whole).gallery_images()
    given = OrderGiven(
        artifact.order.needs(),
        {"gallery labels": lambda: gallery.labels, **values},
        type(chosen).__name__,
        items=len(gallery),
        progress=np.array(artifact.progress or [0.0, 1.0]),
        distance=artifact.distance or "cosine",
    )
    return {"order": torch.from_numpy(np.asarray(chosen.orders(given, artifact.seeds), np.int64))}
