"""Ways to compute the same curve: this project's engine, a lower bound, and public code's approach."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.metrics import average_precision_score
from torch import Tensor

from compat.backfill import backfill_curve
from compat.embeddings import Embeddings
from compat.merge import Merge
from compat.progress import backfill_order
from compat.relevance import Relevance

CHUNK = 2500
ENGINE, LIMIT, LOOP = "engine", "matrix products alone", "scikit-learn loop"
NAIVE, CHUNKED = "re-ranking in torch", f"re-ranking in chunks of {CHUNK}"


def make(queries: int, items: int, dimension: int, classes: int, device: str = "cpu") -> Embeddings:
    """Make old and new embeddings of overlapping classes; the new model's overlap less."""
    random = torch.Generator().manual_seed(0)

    def space(signal: float) -> tuple[Tensor, Tensor]:
        centres = torch.randn(classes, dimension, generator=random)
        parts = []
        for count in (queries, items):
            rows = torch.randn(count, dimension, generator=random)
            rows += signal * centres[torch.arange(count) % classes]
            parts.append(torch.nn.functional.normalize(rows).to(device))
        return parts[0], parts[1]

    (query_old, gallery_old), (query_new, gallery_new) = space(0.25), space(0.35)
    labels = [torch.arange(count) % classes for count in (queries, items)]
    return Embeddings(query_old, query_new, gallery_old, gallery_new, labels[0], labels[1])


def judged(e: Embeddings) -> Embeddings:
    """Replace labels by judgements of the same pairs."""
    rows = e.query_old, e.query_new, e.gallery_old, e.gallery_new
    return Embeddings(*rows, relevance=Relevance.of_labels(e.query_labels, e.gallery_labels))


def engine(e: Embeddings, points: int = 101, orders: int = 1, merge: Merge | None = None) -> np.ndarray:
    """Run this project's replay: (T,) mAP."""
    items = len(e.gallery_old)
    return backfill_curve(e, [backfill_order(items, seed) for seed in range(orders)], points, merge=merge).mean_ap


def products(e: Embeddings) -> None:
    """Compute the two distance matrix products alone, in chunks: a lower bound of any exact replay."""
    out = torch.empty(1024, len(e.gallery_old), device=e.gallery_old.device)
    for query, gallery in ((e.query_old, e.gallery_old), (e.query_new, e.gallery_new)):
        for rows in query.split(len(out)):
            torch.mm(rows, gallery.T, out=out[: len(rows)])


def rerank(e: Embeddings, points: list[float], chunk: int | None = None) -> list[float]:
    """Sort all merged distances again for each ratio, as public code does, but without its loop over queries.

    By default on the whole query-by-gallery matrix, as public code does; in chunks it takes less memory and time.
    """
    items = len(e.gallery_old)
    order = torch.from_numpy(backfill_order(items, 0)).to(e.gallery_old.device)
    place = torch.arange(1, items + 1, device=order.device)
    curve = []
    for point in points:
        backfilled = torch.zeros(items, dtype=torch.bool, device=order.device)
        backfilled[order[: int(point * items)]] = True
        total = 0.0
        step = chunk or len(e.query_old)
        for start in range(0, len(e.query_old), step):
            rows = slice(start, start + step)
            old, new = 1 - e.query_old[rows] @ e.gallery_old.T, 1 - e.query_new[rows] @ e.gallery_new.T
            nearest = torch.where(backfilled, new, old).argsort(dim=1)
            relevant = e.gallery_labels[nearest] == e.query_labels[rows, None]
            precision = relevant.cumsum(1) / place
            total += float(((precision * relevant).sum(1) / relevant.sum(1)).sum())
        curve.append(total / len(e.query_old))
    return curve


def loop(e: Embeddings, point: float, queries: int) -> float:
    """Compute scikit-learn's average precision, query by query, at one completion ratio."""
    items = len(e.gallery_old)
    backfilled = np.zeros(items, bool)
    backfilled[backfill_order(items, 0)[: int(point * items)]] = True
    labels = e.gallery_labels.cpu().numpy()
    values = []
    for query in range(queries):
        old, new = (q[query] @ g.T for q, g in ((e.query_old, e.gallery_old), (e.query_new, e.gallery_new)))
        similarity = np.where(backfilled, new.cpu(), old.cpu())
        values.append(average_precision_score(labels == int(e.query_labels[query]), similarity))
    return float(np.mean(values))


CONTENDERS: dict[str, Callable[[Embeddings], Any]] = {  # over all data where memory depends on it, else a part
    ENGINE: engine,
    LIMIT: products,
    NAIVE: lambda e: rerank(e, [0.5]),
    CHUNKED: lambda e: rerank(e, [0.5], CHUNK),
    LOOP: lambda e: loop(e, 0.5, 20),
}
