"""The replay under a merge rule other than raw distances: sorts and merges both lists of a query, compiled.

For each order and completion ratio the two sorted lists are walked side by side: the old space's with the items
before their backfill, the new space's with those after it. The next group of equal distances comes from the list
with the lower next key: the distance on the rule's scale, or the rank within the list.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from compat.engine.exact import NO_RANK, NOTHING_MORE, EngineGallery, Figures, Queries, Wanted, distances, listed_pairs
from compat.engine.kernels import compiled

IGNORED, LISTED = 2, 3  # kinds of items beside others (0) and positives (1)


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
            positives += kind[item] == 1
        at += 1
    return at, count, positives, value


@compiled
def _note(order, kind, step, moment, backfilled, start, stop, place, total, reach):
    """Note the number of items ranked so far for the listed ones of a group; return how many they are."""
    count = 0
    for at in range(start, stop):
        item = order[at]
        if (step[item] <= moment) == backfilled and place[item] >= 0:
            reach[place[item]] = total
            count += 1
    return count


@compiled
def merged_figures(old, new, kind, place, step, points, by_rank, average, first, each, reach):
    """Compute average precision, first rank and each positive's rank of one query, (S, T) `average` and `first`.

    Args:
        old, new: (G,) float64 keys of each space.
        kind: (G,) 1 for a positive, 0 for another item, 2 for an ignored one, 3 for one judged too low.
        place: (G,) of the listed items (kinds 1 and 3) in `reach`, -1 for others.
        step: (S, G) the first completion ratio after an item's backfill.
        points: T.
        by_rank: compare ranks within the lists in place of keys.
        each: (S, T, P) of `NO_RANK`, or (S, T, 0) to leave ranks out.
        reach: (S, T, P) likewise.
    """
    total, listed = 0, 0
    for item in range(len(kind)):
        total += kind[item] == 1
        listed += place[item] >= 0
    if reach.shape[2] == 0:
        listed = 0
    if total == 0:
        average[:], first[:] = np.nan, 0
        return
    order_old, order_new = np.argsort(old), np.argsort(new)
    for s in range(len(step)):
        for t in range(points):
            i, n_old, p_old, v_old = _next_group(order_old, old, kind, step[s], t, False, 0)
            j, n_new, p_new, v_new = _next_group(order_new, new, kind, step[s], t, True, 0)
            rank_old, rank_new, found, precision, nearest, noted = 0, 0, 0, 0.0, 0, 0
            i_before, j_before = 0, 0
            while (n_old or n_new) and (found < total or noted < listed):
                if by_rank:
                    a = np.float64(rank_old + n_old) if n_old else np.inf
                    b = np.float64(rank_new + n_new) if n_new else np.inf
                else:
                    a, b = v_old, v_new
                count, positives = 0, 0
                from_old, from_new, i_end, j_end = a <= b, b <= a, i, j
                if a <= b:
                    count, positives, rank_old = count + n_old, positives + p_old, rank_old + n_old
                    i, n_old, p_old, v_old = _next_group(order_old, old, kind, step[s], t, False, i)
                if b <= a:
                    count, positives, rank_new = count + n_new, positives + p_new, rank_new + n_new
                    j, n_new, p_new, v_new = _next_group(order_new, new, kind, step[s], t, True, j)
                if reach.shape[2] > 0:
                    reached = rank_old + rank_new
                    if from_old:
                        its = (step[s], t, False, i_before, i_end, place, reached, reach[s, t])
                        noted += _note(order_old, kind, *its)
                    if from_new:
                        its = (step[s], t, True, j_before, j_end, place, reached, reach[s, t])
                        noted += _note(order_new, kind, *its)
                i_before, j_before = i_end if from_old else i_before, j_end if from_new else j_before
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

    def figures(self, queries: Queries, wanted: Wanted = NOTHING_MORE) -> Figures:
        gallery, step = self.gallery, self.gallery.step.numpy()
        keys: list[Any] = [
            distances(queries.old, gallery.old, gallery.distance).numpy(),
            distances(queries.new, gallery.new, gallery.distance).numpy(),
        ]
        if self.merge.scales is not None:
            keys = [scale(distance) for scale, distance in zip(self.merge.scales, keys, strict=True)]
        ignored = queries.groups[:, None] == gallery.groups
        listed, graded = gallery.judged(queries.labels)
        listed &= ~ignored
        relevant = listed if graded is None else listed & (graded >= gallery.min_grade)
        kind = (listed * LISTED).where(~relevant, 1).masked_fill_(ignored, IGNORED).to(torch.int8).numpy()
        shape = (len(queries.labels), len(step), gallery.points)
        average, first = np.empty(shape), np.empty(shape, np.int64)
        rows, items = listed_pairs(listed, graded)
        count, place = listed.sum(1), torch.full(listed.shape, -1)
        place[rows, items] = torch.arange(len(rows)) - (count.cumsum(0) - count)[rows]
        width = int(count.max()) if len(listed) else 0
        each, reach = (np.full((*shape, width if asked else 0), NO_RANK, np.int32) for asked in wanted)
        for q, places in enumerate(place.numpy()):
            old, new = (key[q].astype(np.float64) for key in keys)
            out = (average[q], first[q], each[q], reach[q])
            merged_figures(old, new, kind[q], places, step, gallery.points, self.merge.by_rank, *out)
        precision, rank = (torch.from_numpy(values).permute(1, 2, 0) for values in (average, first))
        found = zip((each, reach), wanted, strict=True)
        more = [torch.from_numpy(values).permute(1, 2, 0, 3) if asked else None for values, asked in found]
        grades = None
        if graded is not None:
            grades = torch.full((len(kind), width), -1)
            grades[rows, place[rows, items]] = graded[rows, items]
        return Figures(precision, rank, relevant.sum(1), more[0], None, more[1], grades)

    def bytes_per_query(self, items: int, width: int) -> int:
        return 64 * items
