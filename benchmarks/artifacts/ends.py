"""The old and the new system of an upgrade on their own."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from benchmarks.artifacts.images import dataset
from benchmarks.artifacts.kinds import SystemFigures
from benchmarks.artifacts.measured import FIGURE, build_metrics
from benchmarks.artifacts.store import ArtifactStore
from benchmarks.artifacts.systems import load
from compat.backfill import backfill_curve
from compat.embeddings import Embeddings
from compat.progress import backfill_order


def old_system(artifact: SystemFigures, store: ArtifactStore) -> Embeddings:
    """Return the old system's own embeddings, in both spaces."""
    data, system = dataset(artifact.images.whole), load(store, artifact.old)
    queries, gallery = data.query_images(), data.gallery_images()
    rows = system.rows("query"), system.rows("gallery")
    matrices = (rows[0], rows[0], rows[1], rows[1])
    return Embeddings(*matrices, queries.labels, gallery.labels, queries.groups, gallery.groups)


def ends(artifact: SystemFigures, store: ArtifactStore, folder: Path) -> dict[str, Tensor]:
    """Compute figures and dimensions of both systems, (2,) each, and which queries the old one answers correctly."""
    data = dataset(artifact.images.whole)
    queries, gallery = data.query_images(), data.gallery_images()
    systems = [load(store, system) for system in (artifact.old, artifact.new)]
    (query_old, gallery_old), (query_new, gallery_new) = ((s.rows("query"), s.rows("gallery")) for s in systems)
    matrices = (query_old, query_new, gallery_old, gallery_new)
    embeddings = Embeddings(*matrices, queries.labels, gallery.labels, queries.groups, gallery.groups)
    order, distance = backfill_order(len(gallery), (0, 0)), artifact.distance
    measured = build_metrics(artifact.metrics)
    curve = backfill_curve(embeddings, order, [0.0, 1.0], distance=distance, metrics=measured, per_query=True)
    assert curve.first_rank is not None
    of_a_system = [name for name in curve.figures if measured[name].of_a_system]
    return {
        **{FIGURE + name: torch.from_numpy(curve.mean(name)) for name in of_a_system},
        "dimensions": torch.tensor([gallery_old.shape[1], gallery_new.shape[1]]),
        "correct": torch.from_numpy(curve.first_rank[:, 0, 0] == 1),
    }
