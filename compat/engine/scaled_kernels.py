"""Compiled loops of the replay under scales of each query and completion ratio; see `compat.engine.scaled`.

In each space the items of a query are sorted into cells by raw distance, once for all ratios. A threshold falls into
one cell, whose items are compared with it; of the cells before it only the numbers of items in force are added. These
numbers change with the items that migrate alone.
"""

from __future__ import annotations

import numpy as np

from compat.engine.kernels import compiled

F64, I32, U32, U64 = np.float64, np.int32, np.uint32, np.uint64
IGNORED = 2
EACH = 8  # items of a cell, on average
ROUNDING = 1e-9  # of the cells' range and of a threshold, beyond the rounding of a raw threshold


@compiled
def _sort(distance, q, low, scale, special, kind, cells, cell, start, items, sorted_distance):
    """Sort the items of a query by cell; ignored ones are in the last cell, which is not searched.

    Args:
        low, scale: the least distance and the cells per distance.
        special: (N,) the items whose kind is not 0.
        cell: (G,) out, of each item.
        start: (cells + 2,) out, the first item's index of each cell and the end.
        items: (G,) out.
        sorted_distance: (G,) out, of these items.
    """
    for j in range(len(cell)):
        cell[j] = U32(I32((F64(distance[q, j]) - low) * scale))
    for j in special:
        if kind[q, j] == IGNORED:
            cell[j] = U32(cells)
    start[:] = 0
    for j in range(len(cell)):
        start[cell[j] + U64(2)] += U32(1)
    for c in range(2, cells + 2):
        start[c] += start[c - 1]
    for j in range(len(cell)):
        at = start[cell[j] + U64(1)]
        items[at], sorted_distance[at] = j, distance[q, j]
        start[cell[j] + U64(1)] = at + U32(1)


@compiled
def _thresholds(old, new, q, by_old, by_new, step, s, t, pairs, value, times):
    """Merge the positives' standardised distances, each once, and return their number.

    Args:
        by_old, by_new: (P,) the positives by old and by new distance.
        value: (P,) out, ascending.
        times: (P,) out, the number of positives at each.
    """
    i, j, count, found = 0, 0, 0, len(by_old)
    while True:
        while i < found and step[s, by_old[i]] <= t:
            i += 1
        while j < found and step[s, by_new[j]] > t:
            j += 1
        if i == found and j == found:
            return count
        a = (F64(old[q, by_old[i]]) - pairs[0, 0]) * pairs[0, 1] if i < found else np.inf
        b = (F64(new[q, by_new[j]]) - pairs[1, 0]) * pairs[1, 1] if j < found else np.inf
        least = min(a, b)
        if count == 0 or value[count - 1] != least:
            value[count], times[count] = least, 0
            count += 1
        times[count - 1] += 1
        if a <= b:
            i += 1
        else:
            j += 1


@compiled
def _add_counts(
    start, items, distance, low, scale, present, step, s, t, migrated, mean, inverse, value, width, counts
):  # fmt: skip
    """Add the number of a space's items in force at each threshold or closer.

    Args:
        start, items, distance, low, scale: see `_sort`.
        present: (cells,) the items in force in each cell.
        migrated: whether the items in force are the migrated ones.
        value: (width,) ascending standardised thresholds.
        counts: (width,) added to.
    """
    most, before, c = F64(len(present) - 1), I32(0), U64(0)
    for k in range(width):
        raw = value[k] / inverse + mean
        slack = ROUNDING * (abs(raw) + abs(low))
        first = U64(min(max((raw - slack - low) * scale - ROUNDING, 0.0), most))
        last = U64(min(max((raw + slack - low) * scale + ROUNDING, 0.0), most))
        while c < first:
            before += present[c]
            c += U64(1)
        here = I32(0)
        for at in range(start[first], start[last + U64(1)]):
            close = (F64(distance[at]) - mean) * inverse <= value[k]
            here += I32(close & ((step[s, items[at]] <= t) == migrated))
        counts[k] += before + here


@compiled
def _scale(bounds, space, q, cells):
    spread = F64(bounds[space, 1, q]) - F64(bounds[space, 0, q])
    return F64(cells - 1) / spread if spread > 0.0 else 0.0


@compiled
def scaled_figures(old, new, bounds, kind, orders, ends, step, scales, average, first, each):
    """Compute average precision, first rank and each positive's rank, (S, T, Q) `average` and `first`.

    Args:
        old, new: (Q, G) float32 distances.
        bounds: (2, 2, Q) the least and the greatest of each query's old and new distances.
        kind: (Q, G) 1 for a positive, 0 for another item, 2 for an ignored one.
        orders: (S, G) the items in the order of their backfill.
        ends: (S, T) number of items backfilled at each completion ratio.
        step: (S, G) the first completion ratio after an item's backfill.
        scales: (S, T, Q, 2, 2), see `compat.engine.samples.standards`.
        each: (S, T, Q, P) of `NO_RANK`, or (S, T, Q, 0) to leave ranks out.
    """
    size = old.shape[1]
    cells = max(size // EACH, 1)
    cell_old, cell_new = np.empty(size, U32), np.empty(size, U32)
    items_old, items_new = np.empty(size, U32), np.empty(size, U32)
    sorted_old, sorted_new = np.empty(size, np.float32), np.empty(size, np.float32)
    start_old, start_new = np.empty(cells + 2, U32), np.empty(cells + 2, U32)
    present_old, present_new = np.empty(cells + 1, I32), np.empty(cells + 1, I32)
    for q in range(len(old)):
        special = np.flatnonzero(kind[q])
        positives = special[kind[q][special] != IGNORED]
        found = len(positives)
        if found == 0:
            average[:, :, q], first[:, :, q] = np.nan, 0
            continue
        low_old, low_new = F64(bounds[0, 0, q]), F64(bounds[1, 0, q])
        scale_old, scale_new = _scale(bounds, 0, q, cells), _scale(bounds, 1, q, cells)
        _sort(old, q, low_old, scale_old, special, kind, cells, cell_old, start_old, items_old, sorted_old)
        _sort(new, q, low_new, scale_new, special, kind, cells, cell_new, start_new, items_new, sorted_new)
        by_old, by_new = positives[np.argsort(old[q][positives])], positives[np.argsort(new[q][positives])]
        value, times, counts = np.empty(found), np.empty(found, np.int64), np.empty(found, np.int64)
        for s in range(len(orders)):
            for c in range(cells + 1):
                present_old[c], present_new[c] = start_old[c + 1] - start_old[c], 0
            done = 0
            for t in range(ends.shape[1]):
                for at in range(done, ends[s, t]):
                    item = orders[s, at]
                    present_old[cell_old[item]] -= I32(1)
                    present_new[cell_new[item]] += I32(1)
                done = ends[s, t]
                pairs = scales[s, t, q]
                width = _thresholds(old, new, q, by_old, by_new, step, s, t, pairs, value, times)
                counts[:width] = 0
                _add_counts(
                    start_old, items_old, sorted_old, low_old, scale_old, present_old[:cells], step, s, t, False,
                    pairs[0, 0], pairs[0, 1], value, width, counts,
                )  # fmt: skip
                _add_counts(
                    start_new, items_new, sorted_new, low_new, scale_new, present_new[:cells], step, s, t, True,
                    pairs[1, 0], pairs[1, 1], value, width, counts,
                )  # fmt: skip
                among, precision = 0, 0.0
                for k in range(width):
                    if each.shape[3] > 0:
                        for number in range(among, among + times[k]):
                            each[s, t, q, number] = counts[k] - times[k] - among + number + 1
                    among += times[k]
                    precision += times[k] * among / counts[k]
                average[s, t, q] = precision / found
                first[s, t, q] = counts[0] - times[0] + 1
