"""Embeddings of the new model that a method trained itself."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from benchmarks.products.kinds import Vectors
from benchmarks.products.store import Store
from benchmarks.products.systems import network
from benchmarks.products.vectors import embed


def extract(product: Vectors, store: Store, folder: Path) -> dict[str, Tensor]:
    """What the method's own model makes of the images."""
    return embed(network(store, product), product.images, product.options, folder)
