"""Measure the approximate mode's recall of the ten nearest items while items move from one part to the other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.perf import synthetic
from compat.live import Journal, Migration
from compat.live.invariants import ScannedStore
from compat.live.items import Candidates
from compat.live.searcher import embed_queries, merge_hits
from compat.live.sqlite.store import SqliteStore
from compat.live.store import Approximate, Ask, Column
from compat.orders import Clusters, Density, Order, OrderGiven, Random

K = 10
POINTS = (0.11, 0.2, 0.3, 0.43, 0.6, 0.75, 0.85)  # ratios with approximate searches of both parts
SHARE = 0.1  # share of the gallery's size above which a part is searched approximately
FLOOR = 0.95
ASKED = synthetic.QUERIES // len(POINTS)
GAP = 2.0  # of far queries to the gallery, over the mean length of its vectors
BATCH = 1000


class InRows(Order):
    """Return items in the order of the gallery."""

    def orders(self, given: OrderGiven, seeds: Sequence[Sequence[int]]) -> np.ndarray:
        return np.tile(np.arange(given.items), (len(seeds), 1))


CONDITIONS: dict[str, tuple[Order, bool, float]] = {  # the order, whether rows are sorted by cluster, the queries' gap
    "Random": (Random(), False, 0.0),
    "Clusters": (Clusters(), False, 0.0),
    "Density": (Density(), False, 0.0),
    "clusters in row order": (InRows(), True, 0.0),
    "Random, queries far from the gallery": (Random(), False, GAP),
}


def recall(folder: Path, items: int, dim: int, condition: str) -> dict[str, list[float]]:
    """Measure the recall at some completion ratios of an upgrade of independent systems, in all and in each part.

    The same store runs the whole migration, and lists are built after each batch, so no vector is scanned merely
    because the lists are late. Each query is asked once.
    """
    order, in_rows, gap = CONDITIONS[condition]
    synthetic.make(folder, items, dim, seed=1, in_rows=in_rows, gap=gap)
    store = SqliteStore(folder / "gallery.db", Approximate(round(SHARE * items), FLOOR))
    store.create(Journal(dim, "cosine"))
    store.add(synthetic.items(folder, items))
    models = synthetic.models(folder)
    migration = Migration(store, models)
    migration.plan(order, batch=BATCH)
    columns: tuple[Column, ...] = ("old", "new")
    found: dict[str, list[float]] = {"both": [], "old": [], "new": []}
    for point, ratio in enumerate(POINTS):
        migration.run(ratio, lambda *counts: store.warm(columns))
        contents = [str(items + point * ASKED + query) for query in range(ASKED)]
        dims = [store.journal().dim_of(column) for column in columns]
        asks = [
            Ask(column, embed_queries(getattr(models, column), contents, column, dim))
            for column, dim in zip(columns, dims, strict=True)
        ]
        some, all_ = store.search(asks, K), ScannedStore(store).search(asks, K)
        for column, its, expected in zip(columns, some, all_, strict=True):
            found[column].append(share(nearest(its), nearest(expected)))
        found["both"].append(share(merged(asks, some), merged(asks, all_)))
    store.close()
    return found


def nearest(found: Candidates) -> list[set[str]]:
    """Return the items of one part for each query."""
    return [{found.ids[n] for n in row if n >= 0} for row in found.nearest.tolist()]


def merged(asks: Sequence[Ask], found: Sequence[Candidates]) -> list[set[str]]:
    """Return the items of both parts for each query, by distance."""
    parts = {str(ask.column): (ask.queries, its) for ask, its in zip(asks, found, strict=True)}
    return [{hit.id for hit in merge_hits(parts, row, None, "cosine", K)} for row in range(len(asks[0].queries))]


def share(found: Sequence[set[str]], expected: Sequence[set[str]]) -> float:
    """Return the share of expected items found, a mean over queries."""
    return float(np.mean([len(a & b) / len(b) for a, b in zip(found, expected, strict=True)]))
