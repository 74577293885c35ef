"""The replay under a merge rule other than raw distances: sorts and merges both lists of a query, compiled.

For each order and completion ratio the two sorted lists are walked side by side: the old space's with the items
before their backfill, the new space's with those after it. The next group of equal distances comes from the list
with the lower next key: the distance on the rule's scale, or the rank within the list.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from compat.engine.exact import NO_RANK, EngineGallery, Figures, Queries, distances
from compat.engine.kernels import compiled

IGNORED = 2


@compiled
def _next_group(order, key, kind, step, moment, backfilled, start):
    """Find the next group of equal keys among the items of one list: its end, items, positives and key."""
    count, positives, value = 0, 0, np.inf
    at = start
    while at < len(order):
        item = order[at]
        if (step[item] <= moment) == backfilled and kind[item] != IGNORED:
            if count and key[item] != value:
                break
            value = key[item]
            count += 1
            positives += kind[item]
        at += 1
    return at, count, positives, value


@compiled
def merged_figures(old, new, kind, step, points, by_rank, average, first, each):
    """Compute average precision, first rank and each positive's rank of one query, (S, T) `average` and `first`.

    Args:
        old, new: (G,) float64 keys of each space.
        kind: (G,) 1 for a positive, 0 for another item, 2 for an ignored one.
        step: (S, G) the first completion ratio after an item's backfill.
        points: T.
        by_rank: compare ranks within the lists in place of keys.
        each: (S, T, P) of `NO_RANK`, or (S, T, 0) to leave ranks out.
    """
    total = 0
    for item in range(len(kind)):
        total += kind[item] == 1
    if total == 0:
        average[:], first[:] = np.nan, 0
        return
    order_old, order_new = np.argsort(old), np.argsort(new)
    for s in range(len(step)):
        for t in range(points):
            i, n_old, p_old, v_old = _next_group(order_old, old, kind, step[s], t, False, 0)
            j, n_new, p_new, v_new = _next_group(order_new, new, kind, step[s], t, True, 0)
            rank_old, rank_new, found, precision, nearest = 0, 0, 0, 0.0, 0
            while (n_old or n_new) and found < total:
                if by_rank:
                    a = np.float64(rank_old + n_old) if n_old else np.inf
                    b = np.float64(rank_new + n_new) if n_new else np.inf
                else:
                    a, b = v_old, v_new
                count, positives = 0, 0
                if a <= b:
                    count, positives, rank_old = count + n_old, positives + p_old, rank_old + n_old
                    i, n_old, p_old, v_old = _next_group(order_old, old, kind, step[s], t, False, i)
                if b <= a:
                    count, positives, rank_new = count + n_new, positives + p_new, rank_new + n_new
                    j, n_new, p_new, v_new = _next_group(order_new, new, kind, step[s], t, True, j)
                if positives:
                    if nearest == 0:
                        nearest = rank_old + rank_new - positives + 1
                    if each.shape[2] > 0:
                        for number in range(positives):
                            each[s, t, found + number] = rank_old + rank_new - positives + number + 1
                    found += positives
                    precision += positives * found / (rank_old + rank_new)
            average[s, t], first[s, t] = precision / total, nearest


class MergeEngine:
    """The replay of one gallery under a merge rule, on the CPU.

    Args:
        gallery: whole, with a fitted rule.
    """

    threaded = True

    def __init__(self, gallery: EngineGallery) -> None:
        assert gallery.merge is not None
        self.gallery, self.merge = gallery, gallery.merge

    def figures(self, queries: Queries, ranks: bool = False) -> Figures:
        gallery, step = self.gallery, self.gallery.step.numpy()
        keys: list[Any] = [
            distances(queries.old, gallery.old, gallery.distance).numpy(),
            distances(queries.new, gallery.new, gallery.distance).numpy(),
        ]
        if self.merge.scales is not None:
            keys = [scale(distance) for scale, distance in zip(self.merge.scales, keys, strict=True)]
        kind = (queries.labels[:, None] == gallery.labels).numpy().astype(np.int8)
        kind[(queries.groups[:, None] == gallery.groups).numpy()] = IGNORED
        shape = (len(queries.labels), len(step), gallery.points)
        average, first = np.empty(shape), np.empty(shape, np.int64)
        relevant = (kind == 1).sum(1)
        each = np.full((*shape, relevant.max(initial=0) if ranks else 0), NO_RANK, np.int32)
        for q in range(len(kind)):
            old, new = (key[q].astype(np.float64) for key in keys)
            merged_figures(old, new, kind[q], step, gallery.points, self.merge.by_rank, average[q], first[q], each[q])
        precision, rank = (torch.from_numpy(values).permute(1, 2, 0) for values in (average, first))
        of_each = torch.from_numpy(each).permute(1, 2, 0, 3) if ranks else None
        return Figures(precision, rank, torch.from_numpy(relevant), of_each)

    def bytes_per_query(self, items: int, width: int) -> int:
        return 64 * items
