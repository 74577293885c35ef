"""The last stage of a benchmark: a method's four matrices, an order and a merge rule -> the backfill curve."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger
from torch import Tensor

from benchmarks.cache import Artifact, Cache, checksum
from benchmarks.config import build
from benchmarks.matrices import Fitted, fill, through, uncertainty
from benchmarks.stages import own_code
from compat.backfill import Embeddings, backfill_curve, backfill_order
from compat.curve import area
from compat.data import RetrievalData
from compat.engine.exact import Distance, distances
from compat.merge import Merge, Pairs, Raw
from compat.orders import Known, Order, Random
from compat.sequence import overlapping_curve

Spec = dict[str, Any]


class Axes(NamedTuple):
    """In which order the gallery is backfilled and by which rule the lists are merged: names, configs and classes.

    `estimator` is the upgrade by FastFill whose uncertainty an order may go by.
    """

    order: str = "random"
    order_spec: Spec | None = None
    order_class: type[Order] = Random
    merge: str = "raw"
    merge_spec: Spec | None = None
    merge_class: type[Merge] = Raw
    estimator: Fitted | None = None


def replay(
    cache: Cache,
    name: str,
    upgrade: Fitted,
    correct_before: Tensor | None,
    spec: Spec,
    seed: int,
    data: RetrievalData,
    after: tuple[Fitted, float] | None = None,
    axes: Axes = Axes(),  # noqa: B008
) -> Artifact:
    """Replay the backfilling of a method; the tensors are the lists of its result.

    `after` is the upgrade before this one and its progress when this one starts, where that is less than 1.
    """
    inputs = {
        "head": upgrade.head.key,
        "embedded": [upgrade.old.embedded.key, upgrade.new.embedded.key],
        "replay": spec,
        "seed": seed,
        "order": axes.order_spec,
        "merge": axes.merge_spec,
        "estimator": axes.estimator.head.key if axes.estimator else None,
        "code": own_code([axes.order_spec, axes.merge_spec]),
        "file": scores_file(axes.order_spec),
        "fitted_on": fitted_on(data) if axes.merge_spec else None,
    }
    if after:
        first, start = after
        inputs["after"] = {"head": first.head.key, "embedded": first.old.embedded.key, "start": start}

    def make(folder: Path) -> dict[str, Tensor]:
        embeddings = fill(upgrade, data)
        seeds = [(seed, number) for number in range(spec["orders"])]
        orders = chosen_orders(upgrade, embeddings, spec, seeds, axes)
        options = {
            "distance": spec["distance"],
            "correct_before": correct_before,
            "per_query": True,
            "show_progress": True,
        }
        if after:
            then = [backfill_order(len(embeddings.gallery_old), (*pair, 2)) for pair in seeds]
            stale = fill(upgrade, data, first)
            curve = overlapping_curve(stale, embeddings, start, list(orders), then, spec["progress"], **options)
        else:
            rule = None
            if axes.merge_spec:
                rule = build(Merge, axes.merge_spec)
                rule.fit(*sampled_distances(upgrade, data, spec["distance"]))
            curve = backfill_curve(embeddings, orders, spec["progress"], merge=rule, **options)
        lists = {
            "progress": curve.progress,
            "mean_ap": curve.mean_ap,
            "cmc_1": curve.cmc[1],
            "cmc_5": curve.cmc[5],
            "negative_flip_rate": curve.negative_flip_rate,
        }
        log_curve(folder, lists)
        counts = np.array([curve.queries, curve.queries_without_positive])
        lists |= {"mean_ap_orders": curve.mean_ap_orders, "queries": counts}
        if curve.first_rank is not None and curve.average_precision is not None:
            lists["correct"] = curve.first_rank[:, 0, 0] == 1
            areas = [area(curve.progress, of_query) for of_query in curve.average_precision.mean(1)]
            lists["query_auc"] = np.array(areas, np.float16)
        sizes = [4 * embeddings.gallery_new.shape[1]]
        sizes += [4 * embeddings.gallery_old.shape[1]] if upgrade.method.transforms_gallery else []
        lists["bytes_per_item"] = np.array(sum(sizes))
        return {key: torch.as_tensor(values) for key, values in lists.items()}

    return cache.get(f"replay-{name}-s{seed}", inputs, make)


def fitted_on(data: RetrievalData) -> str:
    """Digest of the rows of the training images that merge rules are fitted on."""
    return hashlib.sha256(data.part_indices("new").numpy().tobytes()).hexdigest()[:16]


def scores_file(order: Spec | None) -> str | None:
    """Digest of the file that an order takes its scores from."""
    path = ((order or {}).get("init_args") or {}).get("path")
    return checksum(path) if path and Path(path).is_file() else None


def chosen_orders(
    upgrade: Fitted, embeddings: Embeddings, spec: Spec, seeds: list[tuple[int, int]], axes: Axes
) -> np.ndarray:
    """The orders (S, G) of one of the axes."""
    estimate = uncertainty(upgrade)
    if estimate is None and axes.estimator:
        estimate = uncertainty(axes.estimator)
    known = Known(
        embeddings,
        upgrade.old.rows("gallery"),
        upgrade.old.embedder.classifier,
        estimate,
        np.array(spec["progress"]),
        spec["distance"],
    )
    order: Order = build(Order, axes.order_spec) if axes.order_spec else Random()
    return order.orders(known, seeds)


def sampled_distances(upgrade: Fitted, data: RetrievalData, distance: Distance, size: int = 1000) -> list[Pairs]:
    """Distances in both spaces between two random samples of the training images, each an image once, as served."""
    chosen = data.part_indices("new")
    chosen = chosen[torch.randperm(len(chosen), generator=torch.Generator().manual_seed(0))[: 2 * size]]
    half, labels = len(chosen) // 2, data.train_images(augment=False).labels[chosen]
    relevant = (labels[:half, None] == labels[half:]).flatten().numpy()
    queries, items = through(upgrade.method.query, upgrade, "train"), through(upgrade.method.gallery, upgrade, "train")
    return [
        (distances(query[chosen[:half]], item[chosen[half:]], distance).flatten().numpy(), relevant)
        for query, item in zip(queries, items, strict=True)
    ]


def log_curve(folder: Path, lists: dict[str, np.ndarray]) -> None:
    """Write the backfill curve to Lightning's loggers, with the progress in percent as the step."""
    loggers: list[Logger] = [CSVLogger(folder, name="csv"), TensorBoardLogger(folder, name="tensorboard")]
    for logger in loggers:
        for point, ratio in enumerate(lists["progress"]):
            figures = {f"backfill/{key}": float(values[point]) for key, values in lists.items()}
            logger.log_metrics(figures, step=round(100 * ratio))
        logger.finalize("success")
