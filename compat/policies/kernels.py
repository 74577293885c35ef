"""Compiled loops: the results of queries at a moment of a backfill, and their average precision."""

from __future__ import annotations

import numpy as np

from compat.engine.kernels import compiled


@compiled
def scaled(distance, line):
    """Compute `compat.merge.Scale` of two points; `line` is x0, y0 and slope."""
    return line[1] + (np.float64(distance) - line[0]) * line[2]


@compiled
def nearest(old, new, old_items, new_items, ignored, line, migrated, out):
    """Merge each query's two sorted lists, of unmigrated and of migrated items, up to (Q, K) `out`."""
    queries, items = old.shape
    for q in range(queries):
        i, j = 0, 0
        for k in range(out.shape[1]):
            while i < items and (migrated[old_items[q, i]] or ignored[q, old_items[q, i]]):
                i += 1
            while j < items and (not migrated[new_items[q, j]] or ignored[q, new_items[q, j]]):
                j += 1
            a, b = np.inf, np.inf
            if i < items:
                a = scaled(old[q, old_items[q, i]], line[0])
            if j < items:
                b = scaled(new[q, new_items[q, j]], line[1])
            if i < items and (a <= b or j >= items):
                out[q, k] = old_items[q, i]
                i += 1
            elif j < items:
                out[q, k] = new_items[q, j]
                j += 1
            else:
                out[q, k] = -1


@compiled
def thresholds(old, new, relevant, line, limits):
    """Sort the distances of each query's positives in both spaces into the start of its row of (Q, W) `limits`."""
    for q in range(old.shape[0]):
        at = 0
        for j in range(old.shape[1]):
            if relevant[q, j]:
                limits[q, at] = scaled(old[q, j], line[0])
                limits[q, at + 1] = scaled(new[q, j], line[1])
                at += 2
        limits[q, :at].sort()


@compiled
def assign(distance, order, ignored, limits, found, line, bins):
    """Assign each item's bin: the number of smaller distances of positives; the last bin for ignored items."""
    last = limits.shape[1] - 1
    for q in range(distance.shape[0]):
        at = 0
        for j in range(distance.shape[1]):
            item = order[q, j]
            key = scaled(distance[q, item], line)
            while at < 2 * found[q] and limits[q, at] < key:
                at += 1
            bins[q, item] = last if ignored[q, item] else at


@compiled
def count(bins, relevant, items, positives):
    """Count all items, and the positives, in each bin, (Q, W)."""
    for q in range(bins.shape[0]):
        for j in range(bins.shape[1]):
            items[q, bins[q, j]] += 1
            if relevant[q, j]:
                positives[q, bins[q, j]] += 1


@compiled
def move(bins_old, bins_new, relevant, rows, items, positives):
    """Move items (N,) from their old bins to their new ones."""
    for q in range(bins_old.shape[0]):
        for row in rows:
            a, b = bins_old[q, row], bins_new[q, row]
            items[q, a] -= 1
            items[q, b] += 1
            if relevant[q, row]:
                positives[q, a] -= 1
                positives[q, b] += 1


@compiled
def precision(items, positives, found):
    """Sum the average precisions of the queries with a positive."""
    total = 0.0
    for q in range(items.shape[0]):
        if found[q] == 0:
            continue
        rank, among, own = 0, 0, 0.0
        for k in range(2 * found[q]):
            rank += items[q, k]
            if positives[q, k] > 0:
                among += positives[q, k]
                own += positives[q, k] * (among / rank)
        total += own / found[q]
    return total
