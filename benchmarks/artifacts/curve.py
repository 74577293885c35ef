"""The replay: four matrices, an order and a merge rule -> the backfill curve."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger
from torch import Tensor

from benchmarks.artifacts.ends import old_system
from benchmarks.artifacts.images import dataset
from benchmarks.artifacts.kinds import OldEnd, OnlineCurve, ReplayedCurve, Upgraded
from benchmarks.artifacts.matrices import matrices, plain
from benchmarks.artifacts.measured import FIGURE, build_metrics
from benchmarks.artifacts.store import ArtifactStore
from benchmarks.artifacts.systems import Built, upgrade
from compat.backfill import Curve, backfill_curve
from compat.curve import area
from compat.curve_metrics import CurveMetric
from compat.embeddings import Embeddings
from compat.engine.exact import distances
from compat.merge import Merge
from compat.methods.upgrade import Upgrade, through
from compat.needs import Given
from compat.progress import backfill_order
from compat.sequence import overlapping_curve
from compat.system import serve

SAMPLE = 1000  # training images on each side of the distances for fitting a merge rule


def replay(artifact: ReplayedCurve, store: ArtifactStore, folder: Path) -> dict[str, Tensor]:
    """Compute the lists of a result."""
    built = upgrade(store, artifact.upgrade)
    served = matrices(store, artifact.upgrade, artifact.images)
    orders = store.get(artifact.order)["order"].numpy()
    metrics = build_metrics(artifact.metrics)
    options: dict[str, Any] = {
        "distance": artifact.distance,
        "metrics": metrics,
        "correct_before": store.get(artifact.before)["correct"],
        "before": lost_from(artifact, store, metrics),
        "per_query": True,
    }
    if artifact.overlap:
        first, raw = upgrade(store, artifact.overlap.first), plain(built, artifact.images)
        stale = serve(built.method, raw, (first.method, plain(first, artifact.images)))
        then = [backfill_order(len(raw.gallery_old), seed) for seed in artifact.overlap.seeds]
        curve = overlapping_curve(
            stale, served, artifact.overlap.start, list(orders), then, artifact.progress, **options
        )
    else:
        curve = backfill_curve(served, orders, artifact.progress, merge=rule_of(artifact, store, built), **options)
    lists = tensors_of(curve)
    log_curve(folder, curve)
    written = bytes_written(artifact.upgrade, served)
    total = written["bytes_old"] + written["bytes_new"]
    return {
        **lists,
        **written,
        "bytes_per_item": total,
        "map_seconds": torch.tensor(map_seconds(store, artifact.upgrade)),
    }


def lost_from(
    artifact: ReplayedCurve | OnlineCurve, store: ArtifactStore, metrics: Mapping[str, CurveMetric]
) -> Embeddings | None:
    """Return the old system, if a metric asks which items it has lost."""
    asked = any(metric.needs_reach for metric in metrics.values())
    return old_system(artifact.before, store) if asked else None


def bytes_written(upgraded: Upgraded, served: Embeddings) -> dict[str, Tensor]:
    """Return the bytes written for each gallery item, as float32: before its backfill, if rewritten, and by it."""
    old = 4 * served.gallery_old.shape[1] if upgraded.transforms_gallery else 0
    return {"bytes_old": torch.tensor(old), "bytes_new": torch.tensor(4 * served.gallery_new.shape[1])}


def map_seconds(store: ArtifactStore, upgraded: Upgraded) -> float:
    """Measure the maps of all gallery items, by a method and by the one under it; 0 without a map.

    Once for all orders and merge rules of the upgrade.
    """

    def measure() -> float:
        built, old = upgrade(store, upgraded), upgraded.learned.old
        under = map_seconds(store, old.of) if isinstance(old, OldEnd) else 0.0
        if type(built.method).gallery is Upgrade.gallery:
            return under
        started = time.perf_counter()
        through(built.method.gallery, *built.split("gallery"))
        return under + time.perf_counter() - started

    return store.recall(("map seconds", upgraded), measure)


def rule_of(artifact: ReplayedCurve, store: ArtifactStore, built: Built) -> Merge | None:
    """Fit the rule, once for all orders."""
    if artifact.rule is None:
        return None
    fitted = (artifact.rule, artifact.fits, artifact.upgrade, artifact.distance, artifact.images)
    return store.recall(("rule", *fitted), lambda: fit_rule(artifact, built))


def fit_rule(artifact: ReplayedCurve, built: Built) -> Merge:
    """Fit a rule on the distances in both spaces between two random samples of training images."""
    assert artifact.rule is not None
    assert artifact.fits is not None
    rule: Merge = artifact.rule.build(Merge)
    data = dataset(artifact.images.whole)
    rows = data.rows(artifact.fits)
    rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[: 2 * SAMPLE]]
    half, labels = len(rows) // 2, data.train_images(augment=False).labels[rows]
    old, new = (matrix[rows] for matrix in built.split("train"))
    served = serve(
        built.method, Embeddings(old[:half], new[:half], old[half:], new[half:], labels[:half], labels[half:])
    )
    spaces = ((served.query_old, served.gallery_old), (served.query_new, served.gallery_new))
    values = {
        "training distances": lambda: tuple(distances(*space, artifact.distance).flatten().numpy() for space in spaces),
        "training labels": lambda: (labels[:half, None] == labels[half:]).flatten().numpy(),
    }
    rule.fit(Given(artifact.rule.needs(), values, type(rule).__name__))
    return rule


def tensors_of(curve: Curve) -> dict[str, Tensor]:
    """Return a curve's figures, (S, T) of each metric, with each query's area."""
    lists: dict[str, Any] = {
        "progress": curve.progress,
        **{FIGURE + name: values for name, values in curve.figures.items()},
        "queries": np.array([curve.queries, curve.queries_without_positive]),
    }
    if curve.average_precision is not None:
        areas = [area(curve.progress, of_query) for of_query in curve.average_precision.mean(1)]
        lists["query_auc"] = np.array(areas, np.float16)
    return {name: torch.as_tensor(values) for name, values in lists.items()}


def log_curve(folder: Path, curve: Curve) -> None:
    """Write the backfill curve to Lightning's loggers, with the progress in percent as the step."""
    loggers: list[Logger] = [CSVLogger(folder, name="csv"), TensorBoardLogger(folder, name="tensorboard")]
    means = {f"backfill/{name}": curve.mean(name) for name in curve.figures}
    for logger in loggers:
        for point, ratio in enumerate(curve.progress):
            figures = {"backfill/progress": float(ratio), **{name: float(v[point]) for name, v in means.items()}}
            logger.log_metrics(figures, step=round(100 * float(ratio)))
        logger.finalize("success")
