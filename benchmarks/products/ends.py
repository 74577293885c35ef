"""The systems before and after an upgrade on their own."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from benchmarks.products.images import dataset
from benchmarks.products.replay_kinds import Ends
from benchmarks.products.store import Store
from benchmarks.products.systems import load
from compat.backfill import backfill_curve
from compat.embeddings import Embeddings
from compat.progress import backfill_order


def ends(product: Ends, store: Store, folder: Path) -> dict[str, Tensor]:
    """The figures of the old and the new system on their own, and which queries the old one answers correctly."""
    data = dataset(product.images.whole)
    queries, gallery = data.query_images(), data.gallery_images()
    systems = [load(store, system) for system in (product.old, product.new)]
    (query_old, gallery_old), (query_new, gallery_new) = ((s.rows("query"), s.rows("gallery")) for s in systems)
    matrices = (query_old, query_new, gallery_old, gallery_new)
    embeddings = Embeddings(*matrices, queries.labels, gallery.labels, queries.groups, gallery.groups)
    order, distance = backfill_order(len(gallery), (0, 0)), product.distance
    curve = backfill_curve(embeddings, order, [0.0, 1.0], distance=distance, per_query=True)
    assert curve.first_rank is not None
    figures = {"mean_ap": curve.mean_ap, "cmc_1": curve.cmc[1], "cmc_5": curve.cmc[5]}
    figures["correct"] = curve.first_rank[:, 0, 0] == 1
    return {name: torch.as_tensor(values) for name, values in figures.items()}
