"""The order in which a gallery is backfilled, from what it says that it needs; computed once for all merge rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.products.images import dataset
from benchmarks.products.kinds import Ordered
from benchmarks.products.matrices import matrices
from benchmarks.products.store import Store
from benchmarks.products.systems import System, load, upgrade
from compat.embeddings import Embeddings
from compat.orders import Order, OrderGiven


def order(product: Ordered, store: Store, folder: Path) -> dict[str, Tensor]:
    """Permutations of the gallery, (S, G)."""
    chosen: Order = product.order.build(Order)
    given = OrderGiven(
        product.order.needs(),
        available(product, store),
        type(chosen).__name__,
        items=len(dataset(product.images.whole).gallery_images()),
        progress=np.array(product.progress or [0.0, 1.0]),
        distance=product.distance or "cosine",
    )
    return {"order": torch.from_numpy(np.asarray(chosen.orders(given, product.seeds), np.int64))}


def available(product: Ordered, store: Store) -> dict[str, Any]:
    """What there is to be asked for; nothing is read before it is."""

    def old() -> System:
        assert product.old is not None
        return load(store, product.old)

    def everything() -> Embeddings:
        assert product.upgrade is not None
        return matrices(store, product.upgrade, product.images)

    def uncertainty() -> Tensor | None:
        assert product.estimator is not None
        built = upgrade(store, product.estimator)
        with torch.inference_mode():
            return built.method.uncertainty(built.split("gallery")[0])

    return {
        "old gallery": lambda: old().rows("gallery"),
        "old classifier": lambda: old().embedder.classifier,
        "gallery labels": lambda: dataset(product.images.whole).gallery_images().labels,
        "served old gallery": lambda: everything().gallery_old,
        "all matrices and labels": everything,
        "uncertainty": uncertainty,
    }
