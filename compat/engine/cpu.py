"""The replay compiled for the CPU: chunks of queries in threads, matrix products in float32, counts exact."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from compat.engine import kernels
from compat.engine.exact import Figures, Gallery, Positives, Queries

TILE = 4096  # items of the gallery at a time: their rows stay in a core's cache
CELLS = 8192  # of a query's table of bins


class _Space(NamedTuple):
    """One space of the gallery: rows, their norms as the kernels want them, and the terms of the screening."""

    rows: Tensor
    norm: np.ndarray
    b: np.ndarray
    d: np.ndarray
    largest: float


class _Chunk(NamedTuple):
    """The positives of a chunk of queries in this gallery, and the queries' norms in both spaces."""

    items: np.ndarray
    found: np.ndarray
    norms: list[np.ndarray]
    old: np.ndarray
    new: np.ndarray


def squared_norms(rows: Tensor) -> np.ndarray:
    """Squares of the Euclidean norms, (N,) float64."""
    out = np.empty(len(rows))
    kernels.squared_norms(rows.numpy(), out)
    return out


class CpuEngine:
    """The replay of one gallery on the CPU, compiled with numba. Gives the counts of `TorchEngine`.

    A call runs in the calling thread and leaves the interpreter free: give each thread its own chunk.

    Args:
        gallery: whole or a shard, on the CPU, norms within `screenable`.
    """

    def __init__(self, gallery: Gallery) -> None:
        self.gallery = gallery
        self.cosine = gallery.distance == "cosine"
        self.spaces = [self._space(rows) for rows in (gallery.old, gallery.new)]
        self.labels, self.groups = gallery.labels.numpy(), gallery.groups.numpy()
        self.by_label, self.by_group = (np.argsort(v, kind="stable") for v in (self.labels, self.groups))
        self.sorted_labels, self.sorted_groups = self.labels[self.by_label], self.groups[self.by_group]
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

    def positives(self, queries: Queries) -> Positives:
        """As `TorchEngine.positives`."""
        chunk = self._positives(queries)
        step = np.full((len(self.step), *chunk.items.shape), self.gallery.points)
        present = np.arange(chunk.items.shape[1]) < chunk.found[:, None]
        step[:, present] = self.step[:, chunk.items[present]]
        arrays = (chunk.old, chunk.new, step, chunk.found)
        return Positives(*(torch.from_numpy(array) for array in arrays))

    def ranks(self, queries: Queries, thresholds: Tensor) -> Tensor:
        """As `TorchEngine.ranks`."""
        limits = thresholds.numpy()
        width = np.isfinite(limits).sum(1)
        bins = self._bins(queries, self._positives(queries), limits, width)
        shape = (len(self.orders), self.gallery.points, *limits.shape)
        out = np.empty(shape, np.int64)
        for order, ends, each in zip(self.orders, self.ends, out, strict=True):
            kernels.ranks(*bins, order, ends, limits.shape[1], each)
        return torch.from_numpy(out)

    def figures(self, queries: Queries) -> Figures:
        """`positives`, `ranks` and `compat.engine.exact.figures` in one, with no table of ranks kept."""
        chunk = self._positives(queries)
        thresholds = np.sort(np.concatenate([chunk.old, chunk.new], 1), 1)
        width = 2 * chunk.found
        bins = self._bins(queries, chunk, thresholds, width)
        shape = (len(self.orders), self.gallery.points, len(width))
        average, first = np.empty(shape), np.empty(shape, np.int64)
        for number, (order, ends) in enumerate(zip(self.orders, self.ends, strict=True)):
            found = (chunk.items, chunk.found, width, average[number], first[number])
            kernels.figures(*bins, order, ends, self.step[number], *found)
        return Figures(torch.from_numpy(average), torch.from_numpy(first))

    def _space(self, rows: Tensor) -> _Space:
        ones, zeros = np.ones(len(rows), np.float32), np.zeros(len(rows), np.float32)
        norm = self._norms(rows)
        if self.cosine:
            return _Space(rows, norm, zeros, norm.astype(np.float32), 1.0)
        return _Space(rows, norm, norm.astype(np.float32), ones, float(norm.max()))

    def _norms(self, rows: Tensor) -> np.ndarray:
        """As the kernels want them: inverse for cosine, 0 for a zero vector, and squared for l2."""
        squared = squared_norms(rows)
        if not self.cosine:
            return squared
        return np.divide(1, np.sqrt(squared), out=np.zeros_like(squared), where=squared > 0)

    def _positives(self, queries: Queries) -> _Chunk:
        labels = queries.labels.numpy()
        start, stop = (np.searchsorted(self.sorted_labels, labels, side=side) for side in ("left", "right"))
        widest = int((stop - start).max()) if len(labels) else 0
        items, count = np.zeros((len(labels), widest), np.int64), np.empty(len(labels), np.int64)
        kernels.positive_items(self.by_label, start, stop, self.groups, queries.groups.numpy(), items, count)
        norms = [self._norms(rows) for rows in queries[:2]]
        distance = np.empty((2, *items.shape), np.float32)
        for space, rows, norm, out in zip(self.spaces, queries[:2], norms, distance, strict=True):
            given = (rows.numpy(), space.rows.numpy(), norm, space.norm, self.cosine)
            kernels.positive_distances(*given, items, count, out)
        return _Chunk(items, count, norms, *distance)

    def _bins(
        self, queries: Queries, chunk: _Chunk, thresholds: np.ndarray, width: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The bin of every item for every query, (Q, G), in the old and in the new space."""
        rows, items = len(queries.labels), len(self.labels)
        kind = np.uint16 if thresholds.shape[1] < 2**15 else np.uint32
        groups = queries.groups.numpy()
        ignored = [np.searchsorted(self.sorted_groups, groups, side=side) for side in ("left", "right")]
        near, far = np.empty_like(thresholds), np.empty_like(thresholds)
        table, origin = np.empty((rows, CELLS), kind), np.empty(rows, np.float32)
        scale = np.empty_like(origin)
        cell, unsure = np.empty(TILE, np.uint16), np.empty(TILE + 1, np.uint16)
        error = np.zeros(rows)
        for space, query, length in zip(self.spaces, queries[:2], chunk.norms, strict=True):
            size = 1.0 if self.cosine else length + space.largest
            error = np.maximum(error, (query.shape[1] + 32) * 2.0**-24 * size)
        kernels.tables(thresholds, width, error, not self.cosine, near, far, table, origin, scale)
        found = []
        both = (self.spaces, queries[:2], chunk.norms, (chunk.old, chunk.new))
        for space, query, query_norm, exact in zip(*both, strict=True):
            a = np.ones(rows, np.float32) if self.cosine else query_norm.astype(np.float32)
            c = query_norm.astype(np.float32) if self.cosine else np.full(rows, 2, np.float32)
            bins = np.empty((rows, items), kind)
            product = torch.empty(rows * TILE)
            for first in range(0, items, TILE):
                tile = slice(first, first + TILE)
                part = space.rows[tile].float().T
                out = product[: rows * part.shape[1]].view(rows, part.shape[1])
                torch.mm(query.float(), part, out=out)
                kernels.assign(
                    out.numpy(), first, query.numpy(), space.rows.numpy(), query_norm, space.norm, self.cosine,
                    a, space.b[tile], c, space.d[tile], thresholds, width, near, far, table, origin, scale,
                    self.labels, queries.labels.numpy(), bins, cell, unsure,
                )  # fmt: skip
            kernels.overwrite(
                thresholds, width, chunk.items, chunk.found, exact, self.by_group, ignored[0], ignored[1], bins
            )
            found.append(bins)
        return found[0], found[1]
