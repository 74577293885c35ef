"""The effect on mAP of backfilling one more item, for every item: compiled."""

from __future__ import annotations

import numpy as np

from compat.engine.exact import EngineGallery, Queries, distances
from compat.engine.kernels import compiled

CHUNK = 256  # queries at a time


@compiled
def add_gains(old, new, backfilled, relevant, ignored, gains):
    """Add to `gains` (G,) each item's effect on each query's average precision if it alone were backfilled now.

    Only distances of positives, now and after their own backfill, are thresholds: an item crossing none of them changes
    nothing. Prefix sums over the thresholds give the effect of crossing any run of them.

    Args:
        old, new: (Q, G) float32 distances before and after an item's backfill.
        backfilled: (G,) bool.
        relevant, ignored: (Q, G) bool.
        gains: (G,) float64, summed over the queries.
    """
    queries, items = old.shape
    now, bins = np.empty(items, np.float32), np.empty(items, np.int64)
    for q in range(queries):
        for j in range(items):
            now[j] = new[q, j] if backfilled[j] else old[q, j]
        found = np.flatnonzero(relevant[q] & ~ignored[q])
        count = len(found)
        if count == 0:
            continue
        limits = np.sort(np.concatenate((now[found], new[q][found])))
        width = len(limits)
        ranked, found_at, own = np.zeros(width + 1), np.zeros(width + 1), np.zeros(width)
        for j in range(items):
            bins[j] = np.searchsorted(limits, now[j])
            if not ignored[q, j]:
                ranked[bins[j]] += 1
        for positive in found:
            found_at[bins[positive]] += 1
            own[bins[positive]] += 1
        rank, positives = np.cumsum(ranked), np.cumsum(found_at)
        fewer, more = np.zeros(width + 1), np.zeros(width + 1)  # a non-relevant item leaves, or comes, before these
        lost, gained = np.zeros(width + 1), np.zeros(width + 1)  # a relevant one does
        for k in range(width):
            r, p, n = rank[k], positives[k], own[k]
            has = n > 0
            fewer[k + 1] = fewer[k] + (n * (p / (r - 1) - p / r) if has and r > p else 0.0)
            more[k + 1] = more[k] + (n * (p / (r + 1) - p / r) if has else 0.0)
            lost[k + 1] = lost[k] + (n * ((p - 1) / (r - 1) - p / r) if has and r > 1 else 0.0)
            gained[k + 1] = gained[k] + (n * ((p + 1) / (r + 1) - p / r) if has else 0.0)
        for j in range(items):
            if backfilled[j] or ignored[q, j]:
                continue
            a, b = bins[j], np.searchsorted(limits, new[q, j])
            if a == b:
                continue
            if not relevant[q, j]:
                gains[j] += (fewer[b] - fewer[a] if b > a else more[a] - more[b]) / count
            elif b < a:
                change = gained[a] - gained[b]
                change += (positives[b] + 1) / (rank[b] + 1) - positives[a] / rank[a]
                gains[j] += change / count
            else:
                change = lost[b] - lost[a]
                if rank[a] > 1:
                    change -= (positives[a] - 1) / (rank[a] - 1) - positives[a] / rank[a]
                change += positives[b] / rank[b] - positives[a] / rank[a]
                gains[j] += change / count


def backfill_gains(queries: Queries, gallery: EngineGallery, backfilled: np.ndarray) -> np.ndarray:
    """Compute the change of mAP by backfilling one item alone next, times the number of queries.

    Backfilled items get 0.

    Args:
        queries: on the CPU.
        gallery: likewise; its steps are not read.
        backfilled: (G,) bool.

    Returns:
        (G,) float64.
    """
    gains = np.zeros(len(gallery.old))
    for chunk in zip(*(values.split(CHUNK) for values in queries), strict=True):
        rows = Queries(*chunk)
        old = distances(rows.old, gallery.old, gallery.distance).numpy()
        new = distances(rows.new, gallery.new, gallery.distance).numpy()
        relevant = gallery.relevant(rows.labels).numpy()
        ignored = (rows.groups[:, None] == gallery.groups).numpy()
        add_gains(old, new, backfilled, relevant, ignored, gains)
    return gains
