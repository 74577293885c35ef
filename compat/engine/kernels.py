"""Compiled loops of the CPU engine. `compat.engine.exact` explains the algorithm.

The loops differ from it in one thing: a float32 matrix product puts most items into their bin. Its error is
bounded (`screening error`), so an item is certain unless a threshold is within it; then its distance is computed
again in float64, as the distances of the positives are. The counts are those of float64 distances throughout.

No array is sliced in an inner loop: numba would count references there, in turn with every other thread.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

F32, U64 = np.float32, np.uint64


def compiler(**options: Any) -> Callable[[Any], Any]:
    """Return a decorator compiling a loop, once for all processes where there is a cache folder."""

    def decorate(function: Any) -> Any:
        try:
            return njit(nogil=True, cache=True, error_model="numpy", **options)(function)
        except RuntimeError:  # neither beside the code nor in the user's home
            warnings.warn(
                "compiled loops cannot be kept, so each process compiles them anew, expected NUMBA_CACHE_DIR to name a "
                "folder that can be written",
                stacklevel=1,
            )
            return njit(nogil=True, error_model="numpy", **options)(function)

    return decorate


compiled = compiler()
inlined = compiler(forceinline=True)  # a call with some arrays costs as much as a short loop
summing = compiler(forceinline=True, fastmath={"reassoc", "contract"})  # lets sums run in vector registers


@summing
def _dot(a, i, b, j):
    total = 0.0
    for k in range(a.shape[1]):
        total += np.float64(a[i, k]) * np.float64(b[j, k])
    return total


@summing
def _squared_difference(a, i, b, j):
    total = 0.0
    for k in range(a.shape[1]):
        difference = np.float64(a[i, k]) - np.float64(b[j, k])
        total += difference * difference
    return total


@compiled
def squared_norms(rows, out):
    """Write the squared Euclidean norms of rows (N, D), in float64, into `out` (N,)."""
    for i in range(len(rows)):
        out[i] = _dot(rows, i, rows, i)


@inlined
def _angle(product, inverse_norm, other):
    apart = 1.0 - product * inverse_norm * other
    return F32(apart if apart > 1e-12 else 0.0)


@compiled
def positive_distances(query, gallery, query_norm, gallery_norm, cosine, items, count, out):
    """Write the distances of each query's positives (Q, P) into `out`, infinite beyond its count.

    They are those of `compat.engine.exact.distances`; the norms are inverse ones, for cosine.
    """
    for q in range(len(query)):
        for p in range(count[q]):
            item = items[q, p]
            if cosine:
                out[q, p] = _angle(_dot(query, q, gallery, item), query_norm[q], gallery_norm[item])
            else:
                out[q, p] = F32(math.sqrt(_squared_difference(query, q, gallery, item)))
        for p in range(count[q], out.shape[1]):
            out[q, p] = np.inf


@inlined
def _lower_bound(thresholds, q, width, x):
    """Find the first threshold not below x, of one or more; shifts take no branch, which would be taken by chance."""
    low, size = U64(0), U64(1)
    bit = U64(0)
    while size <= width:
        size <<= U64(1)
        bit += U64(1)
    while bit > U64(0):
        bit -= U64(1)
        probe = low + (U64(1) << bit)
        low += U64((thresholds[q, min(probe, width) - U64(1)] < x) & (probe <= width)) << bit
    return low


@compiled
def tables(thresholds, width, error, squared, near, far, table, origin, scale):
    """Build for each query a table over its range of distances: the bin of the items there, or a mark for uncertain.

    Args:
        thresholds: (Q, W) ascending.
        width: (Q,) number of thresholds.
        error: (Q,) screening error, of the distance or its square.
        squared: whether items are screened by their squared distance.
        near, far: (Q, W + 1) out, the screened distances between which an item may be on either side of a threshold;
            infinite after the last.
        table: (Q, B) out, bin numbers; with the highest bit set, the lowest possible bin.
        origin, scale: (Q,) out, an item at x is in cell (x - origin) * scale + 2.
    """
    queries, cells = table.shape
    one = table.dtype.type(1)
    uncertain = one << table.dtype.type(8 * table.itemsize - 1)
    mask = U64(uncertain) - U64(1)
    for q in range(queries):
        n = width[q]
        for k in range(n):
            t = np.float64(thresholds[q, k])
            x = t * t if squared else t
            slack = error[q] + x * 2.0**-21
            near[q, k], far[q, k] = F32(x - slack), F32(x + slack)
        near[q, n], far[q, n] = np.inf, np.inf
        low = near[q, 0] if n else F32(0.0)
        high = far[q, n - 1] if n else F32(0.0)
        origin[q] = low
        scale[q] = F32(cells - 5) / max(high - low, F32(1e-30))
        table[q] = 0
        for k in range(n):
            first = int((near[q, k] - low) * scale[q] + F32(1.98))
            last = min(int((far[q, k] - low) * scale[q] + F32(2.02)), cells - 2)
            for cell in range(first, last + 1):
                table[q, cell] |= uncertain
            table[q, last + 1] += one
        below = U64(0)  # thresholds below a cell
        for cell in range(U64(cells)):
            found = U64(table[q, cell])
            below += found & mask
            table[q, cell] = below | (found & ~mask)


@compiled
def _cells(product, q, b, d, constant, factor, scale, last, cell):
    for j in range(product.shape[1]):
        v = constant + b[j] * scale - product[q, j] * factor * d[j]
        v = v if v > F32(0) else F32(0)
        v = v if v < last else last
        cell[j] = np.uint16(np.int32(v))


@compiled
def _look_up(table, q, cell, uncertain, bins, first, unsure):
    first, items = U64(first), U64(len(cell))
    for j in range(items):
        bins[q, first + j] = table[q, cell[j]]
    n = U64(0)
    for j in range(items):
        unsure[n] = j
        n += U64(bins[q, first + j] >= uncertain)
    return n


@compiled
def _narrow(product, q, b, d, a, c, near, far, mask, labels, label, bins, first, unsure, n, left, count):
    """Compare with the thresholds themselves; append uncertain items to `left`, except those with the query's label.

    The first step takes no branch, as most cells have one threshold, on either side of which an item may be.
    """
    items = U64(product.shape[1])
    for k in range(n):
        j = np.int64(unsure[k])
        x = a[q] + b[j] - product[q, j] * c[q] * d[j]
        at = U64(bins[q, first + j] & mask)
        at += U64(far[q, at] < x)
        while far[q, at] < x:
            at += U64(1)
        bins[q, first + j] = at
        left[count] = U64(q) * items + U64(j)
        count += U64(near[q, at] <= x) & U64(labels[first + j] != label)
    return count


@compiled
def _settle(query, gallery, query_norm, gallery_norm, cosine, thresholds, width, bins, first, tile, left, count):
    """Compute the items left uncertain by the screening again, in float64."""
    for k in range(count):
        pair = np.int64(left[k])
        q = pair // tile
        item = first + pair - q * tile
        if cosine:
            x = _angle(_dot(query, q, gallery, item), query_norm[q], gallery_norm[item])
        else:
            x = F32(math.sqrt(_squared_difference(query, q, gallery, item)))
        at = U64(bins[q, item])
        while at < U64(width[q]) and thresholds[q, at] < x:
            at += U64(1)
        bins[q, item] = at


@compiled
def assign(
    product, first, query, gallery, query_norm, gallery_norm, cosine, a, b, c, d, thresholds, width, near, far, table,
    origin, scale, labels, query_labels, bins, cell, unsure, left,
):  # fmt: skip
    """Assign the bins of a tile of the gallery, items first to first + N, in one space.

    Args:
        product: (Q, N) float32 products of queries and items; x = a + b - product * c * d is screened.
        a, c: (Q,) float32.
        b, d: (N,) float32.
        bins: (Q, G) out.
        cell, unsure, left: (N,) and (N + 1,) uint16 and (Q * N + 1,) uint32, work arrays.
    """
    uncertain = table.dtype.type(1) << table.dtype.type(8 * table.itemsize - 1)
    mask = uncertain - table.dtype.type(1)
    cell = cell[: product.shape[1]]
    count = U64(0)
    for q in range(len(product)):
        constant = F32((np.float64(a[q]) - origin[q]) * scale[q] + 2.0)
        _cells(product, q, b, d, constant, c[q] * scale[q], scale[q], F32(table.shape[1] - 1), cell)
        n = _look_up(table, q, cell, uncertain, bins, first, unsure)
        count = _narrow(
            product, q, b, d, a, c, near, far, mask, labels, query_labels[q], bins, first, unsure, n, left, count
        )
    _settle(
        query, gallery, query_norm, gallery_norm, cosine, thresholds, width, bins, first, product.shape[1], left, count
    )  # fmt: skip


@compiled
def overwrite(thresholds, width, items, count, distance, by_group, start, stop, bins):
    """Put positives into the bins of their exact distances, and take ignored items out of every counted bin."""
    for q in range(len(bins)):
        for k in range(count[q]):
            bins[q, items[q, k]] = _lower_bound(thresholds, q, U64(width[q]), distance[q, k])
        for k in range(start[q], stop[q]):
            bins[q, by_group[k]] = width[q]
