"""Invariants of a store: each item is in one part, vectors are the model's, a search finds what a scan finds."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import torch

from compat.engine.exact import distances
from compat.errors import InputError
from compat.live.canaries import reembed
from compat.live.items import Candidates, Item, Journal
from compat.live.models import Models
from compat.live.process import this_process
from compat.live.searcher import Searcher
from compat.live.serving import new_model, old_model
from compat.live.store import Ask, Store, Where

LISTED = 20  # misplaced items named
NAME = "check"  # prefix of a check's name in the heartbeats


class Checked(NamedTuple):
    """Result of a check.

    Attributes:
        misplaced: ids of items recorded both as having and as lacking a vector, or as neither; at most 20.
        drifted: ids of sampled items whose stored vector the model does not reproduce.
        sampled: number of items embedded again.
        recall: share of the exact nearest items which a search finds; None: not measured.
    """

    misplaced: list[str]
    drifted: list[str]
    sampled: int
    recall: float | None = None

    @property
    def figures(self) -> dict[str, float]:
        """The result as numbers, for Prometheus."""
        found: dict[str, float] = {
            "misplaced": len(self.misplaced),
            "drifted": len(self.drifted),
            "sampled": self.sampled,
        }
        return found if self.recall is None else found | {"recall": self.recall}


def check(
    store: Store, models: Models, sample: int = 30, queries: int = 20, k: int = 10, rows: int | None = None
) -> Checked:
    """Check the invariants of a store, and write the figures to its heartbeats.

    Args:
        store: the store.
        models: models of the migration.
        sample: number of migrated items, and of items with an old embedding, to embed again.
        queries: number of these items to search for and compare with a full scan; 0: none.
        k: number of nearest items to compare.
        rows: number of items to count, from a random one on; None: all.

    Raises:
        InputError: other models than the migration's; a model which does not answer.
    """
    journal = store.journal()
    models.check(journal)
    new = store.sample(sample)
    others = reembed(new_model(models, journal), new, "new", journal.distance, journal.batch).drifted
    old = draw_old(store, models, journal, sample) if rows is None else []
    if old:
        others += reembed(old_model(models, journal), old, "old", journal.distance, journal.batch).drifted
    found = Checked(store.misplaced(LISTED, rows), others, len(new) + len(old))
    if queries and (some := [item.content for item in (*new, *old)][:queries]):
        found = found._replace(recall=measure_recall(store, models, some, k))
    with suppress(OSError, InputError):
        store.beat(f"{NAME} {this_process()}", found.figures)
    return found


def draw_old(store: Store, models: Models, journal: Journal, count: int) -> list[Item]:
    """Draw items with an old embedding at random; none if the old model is missing."""
    with suppress(InputError):
        old_model(models, journal)
        ids = store.gallery(old=False).ids
        chosen = np.random.default_rng().permutation(len(ids))[:count]
        return [item for n in chosen if (item := store.get(ids[n])) is not None and item.old is not None]
    return []


def measure_recall(store: Store, models: Models, contents: Sequence[str], k: int) -> float:
    """Return the share of the k exact nearest items which a `Searcher` finds; ties count as found."""
    searcher = Searcher(store, models)
    searcher.warm()  # before lists are built it would scan
    mine = searcher.search_many(contents, k)
    theirs = Searcher(ScannedStore(store), models).search_many(contents, k)
    shares = []
    for hits, expected in zip(mine, theirs, strict=True):
        farthest = max((hit.distance for hit in expected), default=np.inf)
        shares.append(sum(hit.distance <= farthest for hit in hits) / max(len(expected), 1))
    return float(np.mean(shares))


class ScannedStore:
    """A store whose searches read all vectors.

    Args:
        store: the underlying store, used for everything else.
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def search(
        self, asks: Sequence[Ask], k: int, where: Where | None = None, during: Journal | None = None
    ) -> list[Candidates]:
        """Find the k nearest items of each part by a scan, without meta; filters are ignored."""
        return [self._nearest(ask, k) for ask in asks]

    def _nearest(self, ask: Ask, k: int) -> Candidates:
        queries, distance = torch.from_numpy(ask.queries), self.store.journal().distance
        ids: list[str] = []
        vectors = np.empty((0, ask.queries.shape[1]), np.float32)
        for some, rows in self.store.scan(ask.column):
            ids, vectors = ids + some, np.concatenate([vectors, rows])
            near = np.argsort(distances(queries, torch.from_numpy(vectors), distance).numpy(), axis=1, kind="stable")
            kept = np.unique(near[:, :k])
            ids, vectors = [ids[n] for n in kept], vectors[kept]
        apart = distances(queries, torch.from_numpy(vectors), distance).numpy()
        return Candidates(ids, [{}] * len(ids), vectors, np.argsort(apart, axis=1, kind="stable")[:, :k])
