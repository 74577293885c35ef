"""Vectors in memory, stored once, and their exact distances."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import faiss
import numpy as np

BLOCK = 2**15  # vectors

at: Any = faiss.swig_ptr
kernels: Any = faiss  # its stubs are incomplete


class Blocks:
    """Vectors (N, D) float32 by slot, in blocks which never move: adding copies nothing, and threads can keep reading.

    Distances are squared and summed from differences, so those of nearly equal vectors keep their precision.

    Args:
        dim: D.
    """

    def __init__(self, dim: int) -> None:
        self.dim, self.count = dim, 0
        self.blocks: list[np.ndarray] = []

    def add(self, vectors: np.ndarray) -> None:
        """Append vectors (N, D)."""
        while len(vectors):
            start = self.count % BLOCK
            if start == 0:
                self.blocks.append(np.empty((BLOCK, self.dim), np.float32))
            some = vectors[: BLOCK - start]
            self.blocks[-1][start : start + len(some)] = some
            self.count += len(some)
            vectors = vectors[len(some) :]

    def take(self, slots: np.ndarray) -> np.ndarray:
        """Return a copy (N, D) of the vectors in sorted slots (N,)."""
        rows = np.empty((len(slots), self.dim), np.float32)
        for block, ids, place in self._pieces(slots):
            np.take(block, ids, 0, rows[place], "clip")
        return rows

    def distances(self, query: np.ndarray, slots: np.ndarray) -> np.ndarray:
        """Return the distances (N,) of a query (D,) to sorted slots (N,) int64."""
        found = np.empty(len(slots), np.float32)
        for block, ids, place in self._pieces(slots):
            kernels.fvec_L2sqr_by_idx(at(found[place]), at(query), at(block), at(ids), self.dim, 1, len(ids))
        return found

    def scan(self, queries: np.ndarray, k: int, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Find the k nearest of the kept slots by a full scan.

        Args:
            queries: (Q, D).
            k: number of slots, at most the number kept.
            kept: (N,) bool, for the first slots.

        Returns:
            Distances and slots (Q, k), nearest first; slot -1 if a distance overflows float32.
        """
        queries, bits = np.ascontiguousarray(queries), np.packbits(kept, bitorder="little")
        apart, slots = [], []
        for number, start in enumerate(range(0, len(kept), BLOCK)):
            few = bits[start // 8 : (start + BLOCK) // 8]
            count = min(BLOCK, len(kept) - start)
            most = min(k, int(np.count_nonzero(kept[start : start + count])))
            if most:
                shape = len(queries), most
                near, ids = np.empty(shape, np.float32), np.empty(shape, np.int64)
                chosen = faiss.IDSelectorBitmap(len(few), at(few))  # makes faiss compute differences
                args = at(queries), at(self.blocks[number]), self.dim, len(queries), count, most
                kernels.knn_L2sqr(*args, at(near), at(ids), None, chosen)
                apart.append(near)
                slots.append(np.where(ids < 0, -1, ids + start))  # overflowing distances have no slot
        return nearest(np.concatenate(apart, 1), np.concatenate(slots, 1), k)

    def _pieces(self, slots: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, slice]]:
        """Yield for sorted slots (N,), block by block: the block, the places in it, and the range of the slots."""
        edges = np.searchsorted(slots, np.arange(len(self.blocks) + 1) * BLOCK).tolist()
        for number, (start, end) in enumerate(pairwise(edges)):
            if start < end:
                yield self.blocks[number], slots[start:end] - number * BLOCK, slice(start, end)


def nearest(apart: np.ndarray, slots: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the k smallest of distances (..., N) and their slots, sorted, (..., k)."""
    if k < apart.shape[-1] // 4:
        some = np.argpartition(apart, k - 1, axis=-1)[..., :k]
        apart, slots = np.take_along_axis(apart, some, -1), np.take_along_axis(slots, some, -1)
    order = np.argsort(apart, axis=-1, kind="stable")[..., :k]
    return np.take_along_axis(apart, order, -1), np.take_along_axis(slots, order, -1)
