"""The replay compiled for the CPU: chunks of queries in threads, matrix products in float32, counts exact."""

from __future__ import annotations

import math
import threading
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from compat.engine import counting, kernels
from compat.engine.exact import NOTHING_MORE, EngineGallery, Figures, Positives, Queries, Wanted
from compat.engine.relevant import list_items, relevant_index

TILE = 1024  # items of the gallery at a time: their rows stay in a core's cache
CELLS = (2048, 8192)  # of a query's table of bins: from and to so many, sixteen for each threshold


class _Space(NamedTuple):
    """One space of the gallery: rows, norms in the kernels' form, and the terms of the screening."""

    rows: Tensor
    norm: np.ndarray
    b: np.ndarray
    d: np.ndarray
    largest: float


class CpuChunk(NamedTuple):
    """A chunk of queries, the listed items of each in this gallery, and the queries' norms in both spaces."""

    queries: Queries
    items: np.ndarray
    found: np.ndarray
    grades: np.ndarray | None
    norms: list[np.ndarray]
    old: np.ndarray
    new: np.ndarray


class _Screening(NamedTuple):
    """The thresholds of a chunk of queries and their `kernels.tables`."""

    thresholds: np.ndarray
    width: np.ndarray
    near: np.ndarray
    far: np.ndarray
    table: np.ndarray
    origin: np.ndarray
    scale: np.ndarray


class _Room(threading.local):
    """Arrays reused by a thread's chunks: allocating memory would cost as much as the computation."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}

    def array(self, name: str, shape: tuple[int, ...], kind: Any) -> np.ndarray:
        """Return an uninitialised array of this shape."""
        size, kept = math.prod(shape), self.arrays.get(name)
        if kept is None or kept.size < size or kept.dtype != kind:
            kept = self.arrays[name] = np.empty(size, kind)
        return kept[:size].reshape(shape)


def squared_norms(rows: Tensor) -> np.ndarray:
    """Return the squared Euclidean norms, (N,) float64."""
    out = np.empty(len(rows))
    kernels.squared_norms(rows.numpy(), out)
    return out


def _tensor(values: np.ndarray | None) -> Tensor | None:
    return None if values is None else torch.from_numpy(values)


class CpuEngine:
    """The replay of one gallery on the CPU, compiled with numba: `compat.engine.base.Countable`.

    Gives the counts of `TorchEngine`. A call runs in the calling thread and leaves the interpreter free: give each
    thread its own chunk.

    Args:
        gallery: whole or a shard, on the CPU, norms within `screenable`.
    """

    threaded = True

    def __init__(self, gallery: EngineGallery) -> None:
        self.gallery, self.room = gallery, _Room()
        self.cosine = gallery.distance == "cosine"
        self.spaces = [self._space(rows) for rows in (gallery.old, gallery.new)]
        self.index, self.groups = relevant_index(gallery), gallery.groups.numpy()
        self.by_group = np.argsort(self.groups, kind="stable")
        self.sorted_groups = self.groups[self.by_group]
        self.step = gallery.step.numpy()
        orders = np.argsort(self.step, axis=1, kind="stable")
        self.orders = [
            order[: (step < gallery.points).sum()].astype(np.uint32)
            for order, step in zip(orders, self.step, strict=True)
        ]
        moments = np.arange(gallery.points)
        self.ends = [
            np.searchsorted(step[order], moments, side="right")
            for order, step in zip(self.orders, self.step, strict=True)
        ]

    def measure(self, queries: Queries) -> CpuChunk:
        start, stop = self.index.spans(queries.labels.numpy())
        widest = int((stop - start).max()) if len(start) else 0
        items, count = np.zeros((len(start), widest), np.int64), np.empty(len(start), np.int64)
        grades = np.full((len(start), widest if len(self.index.grades) else 0), -1)
        groups = (self.groups, queries.groups.numpy())
        list_items(self.index.items, self.index.grades, start, stop, *groups, items, grades, count)
        listed = int(count.max()) if len(count) else 0  # fewer where groups leave some out
        items, grades = (np.ascontiguousarray(values[:, :listed]) for values in (items, grades))
        norms = [self._norms(rows) for rows in queries[:2]]
        distance = np.empty((2, *items.shape), np.float32)
        for space, rows, norm, out in zip(self.spaces, queries[:2], norms, distance, strict=True):
            given = (rows.numpy(), space.rows.numpy(), norm, space.norm, self.cosine)
            kernels.positive_distances(*given, items, count, out)
        judged = None if self.gallery.relevance is None else grades
        return CpuChunk(queries, items, count, judged, norms, *distance)

    def positives(self, measured: CpuChunk) -> Positives:
        items, found = measured.items, measured.found
        step = np.full((len(self.step), *items.shape), self.gallery.points)
        present = np.arange(items.shape[1]) < found[:, None]
        step[:, present] = self.step[:, items[present]]
        old, new, steps, count = map(torch.from_numpy, (measured.old, measured.new, step, found))
        return Positives(old, new, steps, count, _tensor(measured.grades))

    def ranks(self, measured: CpuChunk, thresholds: Tensor) -> Tensor:
        limits = thresholds.numpy()
        bins = self._bins(measured, limits, np.isfinite(limits).sum(1))
        out = np.empty((len(self.orders), self.gallery.points, *limits.shape), np.int64)
        for order, ends, each in zip(self.orders, self.ends, out, strict=True):
            counting.ranks(*bins, order, ends, limits.shape[1], each)
        return torch.from_numpy(out)

    def figures(self, queries: Queries, wanted: Wanted = NOTHING_MORE) -> Figures:
        """Compute `compat.engine.exact.figures` without keeping a table of ranks."""
        measured = self.measure(queries)
        thresholds = np.sort(np.concatenate([measured.old, measured.new], 1), 1)
        width, low = 2 * measured.found, np.zeros_like(measured.found)
        if measured.grades is not None:
            low = ((measured.grades >= 0) & (measured.grades < self.gallery.min_grade)).sum(1)
        bins = self._bins(measured, thresholds, width)
        shape = (len(self.orders), self.gallery.points, len(width))
        average, first = np.empty(shape), np.empty(shape, np.int64)
        listed = measured.items.shape[1]
        each = self.room.array("ranks", (*shape, listed if wanted.ranks else 0), np.int32)
        reach = self.room.array("reach", (*shape, listed if wanted.reach else 0), np.int32)
        for s, (order, ends) in enumerate(zip(self.orders, self.ends, strict=True)):
            found = (measured.items, low, measured.found, width, average[s], first[s], each[s], reach[s])
            counting.figures(*bins, order, ends, self.step[s], *found)
        precision, rank, relevant = (torch.from_numpy(array) for array in (average, first, measured.found - low))
        more = [torch.from_numpy(v) if asked else None for v, asked in zip((each, reach), wanted, strict=True)]
        return Figures(precision, rank, relevant, more[0], None, more[1], _tensor(measured.grades))

    def bytes_per_query(self, items: int, width: int) -> int:
        return 8 * items + 32 * width + 2**15

    def _labels(self, measured: CpuChunk) -> tuple[np.ndarray, np.ndarray]:
        """Return labels of items (G,) and queries (Q,): the screening need not settle the items with a query's label.

        Under judgements a label is the last query of the chunk that lists the item, which is enough for most of them.
        """
        if self.gallery.labels is not None:
            return self.gallery.labels.numpy(), measured.queries.labels.numpy()
        queries = np.arange(len(measured.items))
        labels = np.full(len(self.gallery.old), -1)
        listed = np.arange(measured.items.shape[1]) < measured.found[:, None]
        labels[measured.items[listed]] = np.broadcast_to(queries[:, None], listed.shape)[listed]
        return labels, queries

    def _space(self, rows: Tensor) -> _Space:
        ones, zeros = np.ones(len(rows), np.float32), np.zeros(len(rows), np.float32)
        norm = self._norms(rows)
        if self.cosine:
            return _Space(rows, norm, zeros, norm.astype(np.float32), 1.0)
        return _Space(rows, norm, norm.astype(np.float32), ones, float(norm.max()))

    def _norms(self, rows: Tensor) -> np.ndarray:
        """Return norms in the kernels' form: inverse for cosine, 0 for a zero vector, squared for l2."""
        squared = squared_norms(rows)
        if not self.cosine:
            return squared
        return np.divide(1, np.sqrt(squared), out=np.zeros_like(squared), where=squared > 0)

    def _bins(self, measured: CpuChunk, thresholds: np.ndarray, width: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return every item's bin for every query, (Q, G), in the old and the new space; until the next chunk."""
        queries, norms = measured.queries, measured.norms
        rows, items = len(queries.labels), len(self.groups)
        kind = np.uint16 if thresholds.shape[1] < 2**15 else np.uint32
        error = np.zeros(rows)
        for space, query, length in zip(self.spaces, queries[:2], norms, strict=True):
            size = 1.0 if self.cosine else length + space.largest
            error = np.maximum(error, (query.shape[1] + 32) * 2.0**-24 * size)
        limits = (rows, thresholds.shape[1] + 1)
        near, far = (self.room.array(name, limits, np.float32) for name in ("near", "far"))
        cells = min(max(CELLS[0], 16 * thresholds.shape[1]), CELLS[1])
        table = self.room.array("table", (rows, cells), kind)
        origin, scale = np.empty(rows, np.float32), np.empty(rows, np.float32)
        kernels.tables(thresholds, width, error, not self.cosine, near, far, table, origin, scale)
        screening = _Screening(thresholds, width, near, far, table, origin, scale)
        groups = queries.groups.numpy()
        between = np.searchsorted(self.sorted_groups, groups), np.searchsorted(self.sorted_groups, groups, "right")
        found, labels = [], self._labels(measured)
        both = (("old", "new"), self.spaces, queries[:2], norms, (measured.old, measured.new))
        for name, space, query, norm, exact in zip(*both, strict=True):
            bins = self.room.array(name, (rows, items), kind)
            self._assign(space, query, norm, labels, screening, bins)
            kernels.overwrite(thresholds, width, measured.items, measured.found, exact, self.by_group, *between, bins)
            found.append(bins)
        return found[0], found[1]

    def _assign(
        self,
        space: _Space,
        query: Tensor,
        norm: np.ndarray,
        labels: tuple[np.ndarray, np.ndarray],
        screening: _Screening,
        bins: np.ndarray,
    ) -> None:
        """Assign the bins of all items in one space, a tile at a time while its products are in the cache."""
        rows, items = bins.shape
        a = np.ones(rows, np.float32) if self.cosine else norm.astype(np.float32)
        c = norm.astype(np.float32) if self.cosine else np.full(rows, 2, np.float32)
        cell, unsure = np.empty(TILE, np.uint16), np.empty(TILE + 1, np.uint16)
        left = self.room.array("left", (rows * TILE + 1,), np.uint32)
        single = query.float()
        for first in range(0, items, TILE):
            tile = slice(first, first + TILE)
            part = space.rows[tile].float().T
            product = self.room.array("product", (rows, part.shape[1]), np.float32)
            torch.mm(single, part, out=torch.from_numpy(product))
            kernels.assign(
                product, first, query.numpy(), space.rows.numpy(), norm, space.norm, self.cosine, a, space.b[tile], c,
                space.d[tile], *screening, *labels, bins, cell, unsure, left,
            )  # fmt: skip
