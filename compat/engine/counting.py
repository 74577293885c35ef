"""Compiled loops of the CPU engine, from the bins of all items to ranks and average precision."""

from __future__ import annotations

import numpy as np

from compat.engine.exact import NO_RANK
from compat.engine.kernels import U64, compiled

I32 = np.int32
AT_ONCE = 8  # completion ratios whose precisions are divided and summed together


@compiled
def _count(bins, q, counts):
    """Count into four arrays in turn, so that no increment waits for the one before it."""
    items = U64(bins.shape[1])
    rest = items - items % U64(4)
    for j in range(U64(0), rest, U64(4)):
        counts[0, bins[q, j]] += I32(1)
        counts[1, bins[q, j + U64(1)]] += I32(1)
        counts[2, bins[q, j + U64(2)]] += I32(1)
        counts[3, bins[q, j + U64(3)]] += I32(1)
    for j in range(rest, items):
        counts[0, bins[q, j]] += I32(1)


@compiled
def _tally(old, new, q, order, start, stop, counts):
    """Move the items order[start : stop] from their old to their new bins, in four arrays in turn as `_count`."""
    last = stop - (stop - start) % U64(2)
    for k in range(start, last, U64(2)):
        item, other = order[k], order[k + U64(1)]
        counts[0, old[q, item]] -= I32(1)
        counts[1, new[q, item]] += I32(1)
        counts[2, old[q, other]] -= I32(1)
        counts[3, new[q, other]] += I32(1)
    for k in range(last, stop):
        counts[0, old[q, order[k]]] -= I32(1)
        counts[1, new[q, order[k]]] += I32(1)


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


@compiled
def _rank(counts, positives, ranks, bins):
    """Write the items (lower half) and positives (upper half) up to each bin into `ranks`."""
    for k in range(bins):
        present = I32(counts[0, k] + counts[1, k] + counts[2, k] + counts[3, k])
        ranks[k] = np.int64(present) + (np.int64(positives[k]) << 32)
    total = np.int64(0)
    for k in range(bins):
        total += ranks[k]
        ranks[k] = total


@compiled
def _sums_of_precisions(among, count, precision, total):
    """Sum the precisions of `count` positives at each of `AT_ONCE` completion ratios.

    They are divided together, in vector registers; each sum is in the order of the positives, on every processor.
    """
    for k in range(U64(count * AT_ONCE)):
        precision[k] = np.float64(I32(among[k] >> 32)) / np.float64(I32(among[k] & 0xFFFFFFFF))
    total[:] = 0
    for k in range(U64(count)):
        for t in range(AT_ONCE):
            total[t] += precision[k * U64(AT_ONCE) + U64(t)]


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
def figures(bins_old, bins_new, order, ends, step, items, low, count, width, average, first, each, reach):
    """Compute average precision, first rank and each positive's rank for one order, (T, Q) `average` and `first`.

    A query's listed items from the place `low` to `count` are its positives; those before are judged too low.

    Args:
        bins_old, bins_new: (Q, G).
        order: (N,) items in the order of their backfill.
        ends: (T,) number of items backfilled at each completion ratio.
        step: (G,) the first completion ratio after an item's backfill.
        items: (Q, P) the listed items.
        low: (Q,) place of the first positive.
        count: (Q,) number of listed items.
        width: (Q,) thresholds.
        each: (T, Q, P), or (T, Q, 0) to leave ranks out.
        reach: (T, Q, P), the number of items at each listed one's distance or closer, or (T, Q, 0).
    """
    points, room = len(ends), 2 * items.shape[1] + 1
    counts, positives, ranks = np.empty((4, room), np.int32), np.empty(room, np.int32), np.empty(room, np.int64)
    among, precision = np.ones(AT_ONCE * room, np.int64), np.empty(AT_ONCE * room)
    own, head, following = np.empty(room, np.uint32), np.empty(points + 1, np.int32), np.empty(room, np.int32)
    total = np.empty(AT_ONCE)
    for q in range(len(bins_old)):
        n, lowest, found = width[q], low[q], count[q]
        if lowest == found:
            average[:, q], first[:, q], each[:, q], reach[:, q] = np.nan, 0, NO_RANK, NO_RANK
            continue
        counts[:, : n + 1], positives[: n + 1] = 0, 0
        head[:] = -1
        _count(bins_old, q, counts)
        for k in range(found):
            own[k] = bins_old[q, items[q, k]]
            positives[own[k]] += k >= lowest
            moment = step[items[q, k]]
            following[k], head[moment] = head[moment], k
        at = 0
        for t in range(points):
            _tally(bins_old, bins_new, q, order, U64(at), U64(ends[t]), counts)
            at = ends[t]
            k = head[t]
            while k >= 0:
                positives[own[k]] -= k >= lowest
                own[k] = bins_new[q, items[q, k]]
                positives[own[k]] += k >= lowest
                k = following[k]
            _rank(counts, positives, ranks, n)
            nearest, place = own[lowest], t % AT_ONCE
            for k in range(lowest, found):
                nearest = min(nearest, own[k])
                among[(k - lowest) * AT_ONCE + place] = ranks[own[k]]
            first[t, q] = (ranks[nearest] & 0xFFFFFFFF) - (ranks[nearest] >> 32) + 1
            if each.shape[2] > 0:
                _ranks_of_positives(ranks, positives, n, each, t, q)
            if reach.shape[2] > 0:
                for k in range(found):
                    reach[t, q, k] = ranks[own[k]] & 0xFFFFFFFF
                reach[t, q, found:] = NO_RANK
            if place == AT_ONCE - 1 or t == points - 1:
                _sums_of_precisions(among, found - lowest, precision, total)
                for k in range(place + 1):
                    average[t - place + k, q] = total[k] / (found - lowest)
