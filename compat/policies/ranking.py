"""Results of queries at a moment of a backfill. Distances are measured once; one more group costs a millisecond."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from compat.embeddings import Embeddings
from compat.engine.exact import distances
from compat.merge import Merge
from compat.policies.kernels import assign, count, move, nearest, precision, thresholds

TOP = 10  # items shown per query
AS_THEY_ARE = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])


def lines(merge: Merge) -> np.ndarray:
    """Return a fitted `compat.merge.ZScore` as x0, y0 and slope of each space, (2, 3)."""
    assert merge.scales is not None
    return np.array([(s.x[0], s.y[0], (s.y[1] - s.y[0]) / (s.x[1] - s.x[0])) for s in merge.scales])


class ItemRanking:
    """The distances of all queries to all items in both spaces, and the sorted items.

    Memory is 17 bytes for each query and item.

    Args:
        embeddings: the four matrices and groups; labels are not read.
    """

    def __init__(self, embeddings: Embeddings) -> None:
        e = embeddings
        self.old = distances(e.query_old, e.gallery_old).numpy()
        self.new = distances(e.query_new, e.gallery_new).numpy()
        self.old_items = self.old.argsort(1, kind="stable").astype(np.int32)
        self.new_items = self.new.argsort(1, kind="stable").astype(np.int32)
        self.ignored = (e.query_groups[:, None] == e.gallery_groups).numpy()

    def found(self, line: np.ndarray, migrated: np.ndarray) -> np.ndarray:
        """Return the nearest items of each query, (Q, `TOP`), padded with -1.

        Args:
            line: see `lines`.
            migrated: (G,) bool.
        """
        out = np.empty((len(self.ignored), TOP), np.int32)
        nearest(self.old, self.new, self.old_items, self.new_items, self.ignored, line, migrated, out)
        return out


class Tally(NamedTuple):
    """Counts of items, and of positives, between the distances of a query's positives, (Q, W) each."""

    items: np.ndarray
    positives: np.ndarray


class Judge:
    """Compute mAP at any moment of a backfill, as `compat.backfill_curve` does.

    As in `compat.engine.exact`, an item is put in its bin between the distances of the positives, once for the old and
    once for the new space; a moment is a histogram over these bins.

    Args:
        ranking: of the same embeddings.
        embeddings: with labels or judgements.
        line: see `lines`.
    """

    def __init__(self, ranking: ItemRanking, embeddings: Embeddings, line: np.ndarray) -> None:
        same = embeddings.relevant(torch.arange(len(embeddings.query_old))).numpy()
        self.relevant = same & ~ranking.ignored
        self.found = self.relevant.sum(1)
        width = 2 * int(self.found.max(initial=0)) + 1
        limits = np.empty((len(same), width))
        thresholds(ranking.old, ranking.new, self.relevant, line, limits)
        kind = np.uint16 if width < 2**16 else np.uint32
        self.width, self.old, self.new = width, np.empty(same.shape, kind), np.empty(same.shape, kind)
        for space, distance, items, bins in (
            (0, ranking.old, ranking.old_items, self.old),
            (1, ranking.new, ranking.new_items, self.new),
        ):
            assign(distance, items, ranking.ignored, limits, self.found, line[space], bins)

    def start(self) -> Tally:
        """Return the tally before any migration."""
        tally = Tally(*(np.zeros((len(self.found), self.width), np.int32) for _ in range(2)))
        count(self.old, self.relevant, tally.items, tally.positives)
        return tally

    def after(self, tally: Tally, rows: np.ndarray) -> Tally:
        """Return the tally after migrating these items too, (N,)."""
        later = Tally(*(values.copy() for values in tally))
        move(self.old, self.new, self.relevant, rows, later.items, later.positives)
        return later

    def mean_ap(self, tally: Tally) -> float:
        """Compute the mAP over the queries with a positive; NaN without one."""
        queries = int((self.found > 0).sum())
        return precision(tally.items, tally.positives, self.found) / queries if queries else float("nan")
