"""Compare the quality of a live migration, whose worker is killed on the way, with the replayed curve."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from sklearn.metrics import average_precision_score

from benchmarks.faults.processes import call, fork, has_ended, kill
from benchmarks.faults.roles import Setting
from compat import Embeddings, backfill_curve, serve
from compat.experience import OwnForward, learning_curve
from compat.live import Item, Migration, Models, Rows, Searcher
from compat.live.items import Journal
from compat.live.open import open_store
from compat.methods import Upgrade
from compat.models import Precomputed
from compat.orders import Random

QUERIES, ITEMS, OLD, NEW, CLASSES = 30, 200, 8, 12, 6
POINTS, SEED, BATCH = 11, 3, 7
REFIT = (0.15, 0.35, 0.65)
LIFE = 0.08  # seconds until a worker is killed, and more after each kill, so it ends at last
NAMES = [f"c{n}" for n in range(QUERIES + ITEMS)]


def data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make old and new embeddings of queries and items, and their classes."""
    chance = np.random.default_rng(0)
    labels = chance.integers(0, CLASSES, QUERIES + ITEMS)
    old, new = (
        chance.normal(size=(CLASSES, dim))[labels] + spread * chance.normal(size=(len(labels), dim))
        for dim, spread in ((OLD, 1.0), (NEW, 0.5))
    )
    return old.astype(np.float32), new.astype(np.float32), labels


def models(learns: bool) -> Models:
    """Return the models of the migration."""
    old, new, _ = data()
    learner = OwnForward(Precomputed(OLD), Precomputed(NEW)) if learns else None
    return Models(Rows(NAMES, new), Rows(NAMES, old), None, learner=learner, refit=REFIT if learns else ())


def replayed(learns: bool) -> list[float]:
    """Replay the curve."""
    old, new, labels = data()
    parts = (old[:QUERIES], new[:QUERIES], old[QUERIES:], new[QUERIES:], labels[:QUERIES], labels[QUERIES:])
    plain = Embeddings(*map(torch.from_numpy, parts))
    upgrade = Upgrade(Precomputed(OLD), Precomputed(NEW))
    order = Random().orders(SimpleNamespace(items=ITEMS), [(SEED,)])[0]  # type: ignore[arg-type]
    if not learns:
        return list(backfill_curve(serve(upgrade, plain), order, POINTS).mean_ap)
    learner = OwnForward(Precomputed(OLD), Precomputed(NEW))
    return list(learning_curve(serve(upgrade, plain), upgrade, learner, [order], REFIT, POINTS)[0].mean_ap)


def make(setting: Setting, learns: bool) -> None:
    """Make the store, and the plan."""
    store, (old, _, _) = open_store(setting.url), data()
    store.create(Journal(OLD, "cosine"))
    store.add(Item(name, name, {}, old=row) for name, row in zip(NAMES[QUERIES:], old[QUERIES:], strict=True))
    Migration(store, models(learns)).plan(Random(), seed=SEED, batch=BATCH)


def live(setting: Setting, learns: bool) -> float:
    """Return the mean average precision of all queries at this moment."""
    _, _, labels = data()
    hits = Searcher(open_store(setting.url), models(learns)).search_many(NAMES[:QUERIES], ITEMS)
    found = []
    for query, its in enumerate(hits):
        relevant = labels[[int(hit.id[1:]) for hit in its]] == labels[query]
        found.append(average_precision_score(relevant, [-hit.distance for hit in its]))
    return float(np.mean(found))


def measured(setting: Setting, chance: random.Random, settled: Callable[[int], None], learns: bool) -> dict[str, Any]:
    """Return the largest difference of the two curves, and the number of kills between their points."""
    call(lambda: make(setting, learns), setting.errors)
    expected = call(lambda: replayed(learns), setting.errors)
    kills, found = 0, []
    for point in np.linspace(0, 1, POINTS):
        status, life = -1, LIFE
        while status < 0:
            task = partial(run, setting, learns, float(point))
            worker, until = fork(task, setting.errors), time.monotonic() + chance.random() * life
            while (ended := has_ended(worker)) is None and time.monotonic() < until:
                time.sleep(0.0005)
            status = kill(worker) if ended is None else ended
            kills, life = kills + (status < 0), 1.3 * life
            settled(worker)
        if status:
            raise RuntimeError(setting.errors.read_text())
        found.append(call(lambda: live(setting, learns), setting.errors))
    return {
        "points": len(found),
        "kills": kills,
        "largest_difference": float(np.abs(np.subtract(found, expected)).max()),
    }


def run(setting: Setting, learns: bool, until: float) -> None:
    """Migrate up to a point."""
    Migration(open_store(setting.url), models(learns)).run(until)
