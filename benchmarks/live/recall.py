"""How many of the ten nearest items the approximate mode finds while items move from one part to the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.live import synthetic
from compat.live import Journal, Migration, Searcher
from compat.live.sqlite.store import SqliteStore
from compat.live.store import Approximate

DIM = 128
K = 10
POINTS = (0.0, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
SHARE = 0.1  # of the gallery's size, from which on a part is searched approximately
FLOOR = 0.95
ASKED = 200


def recall(folder: Path, items: int) -> dict[str, object]:
    """The shares found at some completion ratios of an upgrade of independent systems, over queries beside the gallery.

    The same searcher follows the whole migration, so indexes are as old as they get.
    """
    folder = folder / "recall"
    folder.mkdir()
    synthetic.make(folder, items, DIM, seed=1)
    approximate = Approximate(round(SHARE * items), FLOOR)
    store = SqliteStore(folder / "gallery.db", approximate)
    exact = SqliteStore(folder / "gallery.db", Approximate(items))
    store.create(Journal(DIM, "cosine"))
    store.add(synthetic.items(folder, items))
    models = synthetic.models(folder)
    migration = Migration(store, models)
    migration.plan(batch=1000)
    searchers = Searcher(store, models), Searcher(exact, models)
    queries = [str(items + query) for query in range(ASKED)]
    found, probes = [], []
    for point in POINTS:
        migration.run(point)
        some, all_ = (searcher.search_many(queries, K) for searcher in searchers)
        shares = [len({h.id for h in a} & {h.id for h in b}) / K for a, b in zip(some, all_, strict=True)]
        found.append(float(np.mean(shares)))
        probes.append({column: view.part.probes * (not view.part.exact) for column, view in store.views.views.items()})
    store.close()
    exact.close()
    return {
        "items": items,
        "approximate_above": approximate.above,
        "floor": FLOOR,
        "queries": ASKED,
        "progress": POINTS,
        "recall_at_10": found,
        "lists_probed": probes,
    }
