"""Compiled loops of the CPU engine, from the bins of all items to ranks and average precision."""

from __future__ import annotations

import numpy as np

from compat.engine.exact import NO_RANK
from compat.engine.kernels import compiled, summing


@compiled
def _count(bins, q, counts):
    """Count into four arrays in turn, so that no increment waits for the one before it."""
    items = bins.shape[1]
    for j in range(0, items - 3, 4):
        for way in range(4):
            counts[way, bins[q, j + way]] += np.int32(1)
    for j in range(items - items % 4, items):
        counts[0, bins[q, j]] += np.int32(1)


@compiled
def _tally(old, new, q, order, start, stop, leaving, arriving):
    """Count into two arrays in turn, as `_count` does."""
    for k in range(start, stop - 1, 2):
        item, other = order[k], order[k + 1]
        leaving[0, old[q, item]] += np.int32(1)
        arriving[0, new[q, item]] += np.int32(1)
        leaving[1, old[q, other]] += np.int32(1)
        arriving[1, new[q, other]] += np.int32(1)
    if (stop - start) & 1:
        leaving[0, old[q, order[stop - 1]]] += np.int32(1)
        arriving[0, new[q, order[stop - 1]]] += np.int32(1)


@compiled
def ranks(bins_old, bins_new, order, ends, widest, out):
    """Count the items at each threshold or closer for one order, (T, Q, W) int64 `out`."""
    for q in range(len(bins_old)):
        current = np.zeros(widest + 1, np.int64)
        for j in range(bins_old.shape[1]):
            current[bins_old[q, j]] += 1
        at = 0
        for t in range(len(ends)):
            for k in range(at, ends[t]):
                current[bins_old[q, order[k]]] -= 1
                current[bins_new[q, order[k]]] += 1
            at = ends[t]
            total = 0
            for k in range(widest):
                total += current[k]
                out[t, q, k] = total


@summing
def _sum_of_precisions(ranks, own, count, among):
    """Sum the precisions; each rank has items in its lower, positives in its upper half.

    They are gathered into `among`, for wide divisions.
    """
    for k in range(count):
        among[k] = ranks[own[k]]
    total = 0.0
    for k in range(count):
        total += np.float64(np.int32(among[k] >> 32)) / np.float64(np.int32(among[k] & 0xFFFFFFFF))
    return total


@compiled
def _ranks_of_positives(ranks, positives, bins, each, t, q):
    """Write the positives' ranks, ascending, into `each`: the j-th is j plus the others up to its bin."""
    number = 0
    for k in range(bins):
        for _ in range(positives[k]):
            each[t, q, number] = (ranks[k] & 0xFFFFFFFF) - (ranks[k] >> 32) + number + 1
            number += 1
    each[t, q, number:] = NO_RANK


@compiled
def figures(bins_old, bins_new, order, ends, step, items, count, width, average, first, each):
    """Compute average precision, first rank and each positive's rank for one order, (T, Q) `average` and `first`.

    Args:
        bins_old, bins_new: (Q, G).
        order: (N,) items in the order of their backfill.
        ends: (T,) number of items backfilled at each completion ratio.
        step: (G,) the first completion ratio after an item's backfill.
        items: (Q, P) the positives.
        count: (Q,) number of positives.
        width: (Q,) thresholds.
        each: (T, Q, P), or (T, Q, 0) to leave ranks out.
    """
    points, room = len(ends), 2 * items.shape[1] + 1
    base, positives = np.empty((4, room), np.int32), np.empty(room, np.int32)
    leaving, arriving = np.empty((2, room), np.int32), np.empty((2, room), np.int32)
    ranks, among = np.empty(room, np.int64), np.empty(room, np.int64)
    own, head, following = np.empty(room, np.uint32), np.empty(points + 1, np.int32), np.empty(room, np.int32)
    for q in range(len(bins_old)):
        n, found = width[q], count[q]
        if found == 0:
            average[:, q], first[:, q], each[:, q] = np.nan, 0, NO_RANK
            continue
        base[:, : n + 1], positives[: n + 1] = 0, 0
        leaving[:, : n + 1], arriving[:, : n + 1] = 0, 0
        head[:] = -1
        _count(bins_old, q, base)
        for k in range(n):
            base[0, k] += base[1, k] + base[2, k] + base[3, k]
        for k in range(found):
            own[k] = bins_old[q, items[q, k]]
            positives[own[k]] += 1
            moment = step[items[q, k]]
            following[k], head[moment] = head[moment], k
        at = 0
        for t in range(points):
            _tally(bins_old, bins_new, q, order, at, ends[t], leaving, arriving)
            at = ends[t]
            k = head[t]
            while k >= 0:
                positives[own[k]] -= 1
                own[k] = bins_new[q, items[q, k]]
                positives[own[k]] += 1
                k = following[k]
            for k in range(n):
                present = base[0, k] - leaving[0, k] - leaving[1, k] + arriving[0, k] + arriving[1, k]
                ranks[k] = np.int64(present) + (np.int64(positives[k]) << 32)
            total = np.int64(0)
            for k in range(n):
                total += ranks[k]
                ranks[k] = total
            nearest = own[0]
            for k in range(found):
                nearest = min(nearest, own[k])
            average[t, q] = _sum_of_precisions(ranks, own, found, among) / found
            first[t, q] = (ranks[nearest] & 0xFFFFFFFF) - (ranks[nearest] >> 32) + 1
            if each.shape[2] > 0:
                _ranks_of_positives(ranks, positives, n, each, t, q)
