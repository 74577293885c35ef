"""Embeddings made up for tests, and the slow reference that the replay is compared with."""

import math
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score

from compat import Embeddings
from compat.engine.exact import distances
from compat.engine.replay import Backend


def slow_curve(e, order, progress, distance, top_k=(1, 5)):
    """Rank every query's gallery anew at each completion ratio."""
    items = len(e.gallery_old)
    old = distances(e.query_old, e.gallery_old, distance).numpy()
    new = distances(e.query_new, e.gallery_new, distance).numpy()
    labels, groups = e.gallery_labels.numpy(), e.gallery_groups.numpy()
    precision: Any = []
    ranks: Any = []
    for ratio in progress:
        backfilled = np.zeros(items, bool)
        backfilled[order[: math.floor(ratio * items)]] = True
        for query in range(len(old)):
            merged = np.where(backfilled, new[query], old[query])
            kept = groups != e.query_groups[query].item()
            relevant, merged = (labels == e.query_labels[query].item())[kept], merged[kept]
            if relevant.any():
                precision.append(average_precision_score(relevant, -merged.astype(float)))
                ranks.append(1 + (merged[~relevant] <= merged[relevant].min()).sum())
            else:
                precision.append(np.nan)
                ranks.append(0)
    precision, ranks = np.reshape(precision, (len(progress), -1)), np.reshape(ranks, (len(progress), -1))
    evaluated = ranks[0] > 0
    return {
        "precision": precision,
        "ranks": ranks,
        "mean_ap": np.nanmean(precision, 1),
        "cmc": {k: (ranks[:, evaluated] <= k).mean(1) for k in top_k},
        "flips": ((ranks[0] == 1) & (ranks != 1))[:, evaluated].mean(1),
    }


def random_embeddings(seed, queries=12, items=30, tied=False, classes=5, grouped=True):
    random = np.random.default_rng(seed)

    def matrix(rows, columns):
        return random.integers(-1, 2, (rows, columns)).astype(float) if tied else random.normal(size=(rows, columns))

    groups = (random.integers(0, 6, queries), random.integers(0, 6, items)) if grouped else (None, None)
    return Embeddings(
        matrix(queries, 3),
        matrix(queries, 4),
        matrix(items, 3),
        matrix(items, 4),
        random.integers(0, classes, queries),
        random.integers(0, classes, items),
        *groups,
    )


BACKENDS: tuple[Backend, ...] = ("numba", "torch")


FIELDS = (
    "query_old", "query_new", "gallery_old", "gallery_new", "query_labels", "gallery_labels", "query_groups",
    "gallery_groups",
)  # fmt: skip
