"""Search one space of a gallery for the nearest items, by a faiss index of some of its rows."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np
import torch
from torch import Tensor

from compat.engine.exact import Distance, inverse_norms, norms
from compat.errors import InputError

MEMORY = 2**28  # bytes of a chunk's candidates, and as many of their embeddings
ROWS = 2**16  # gallery rows converted at a time
GPU_LIMIT = 2048  # largest number of nearest items faiss finds on a GPU


class IndexedSpace:
    """Queries and gallery of one space, (Q, D) and (G, D), with a faiss index of some of the gallery's rows.

    `wanted` is the number of items per search.
    """

    def __init__(
        self, queries: Tensor, gallery: Tensor, distance: Distance, index: str, search: str, wanted: int
    ) -> None:
        self.queries, self.gallery, self.distance = queries.cpu(), gallery.cpu(), distance
        self.query_norms, self.gallery_norms = norms(self.queries), norms(self.gallery)
        self.largest = max(float(self.query_norms.max()), float(self.gallery_norms.max())) or 1.0
        self.items = torch.empty(0, dtype=torch.int64)
        metric = faiss.METRIC_INNER_PRODUCT if distance == "cosine" else faiss.METRIC_L2
        try:
            self.index = faiss.index_factory(gallery.shape[1], index, metric)
            if not self.index.is_trained:
                self.index.train(np.concatenate([self._vectors(rows) for rows in self.gallery.split(ROWS)]))
            self.index.add(self._vectors(self.gallery[:1]))
        except RuntimeError as error:
            known = "a faiss index_factory string such as Flat, IVF1024,Flat or HNSW32"
            raise InputError(f"index: {index!r} ({_reason(error)}), expected {known}") from error
        try:
            parameters: Any = faiss.ParameterSpace()  # its stub lacks the call with a string
            parameters.set_index_parameters(self.index, search)
            self.index.search(self._vectors(self.queries[:1]), 1)
        except (RuntimeError, TypeError) as error:
            raise InputError(f"search: {search!r} ({_reason(error)}), expected parameters of {index}") from error
        self.index.reset()
        if wanted <= GPU_LIMIT:
            self.index = _on_gpus(self.index)

    def reset(self) -> None:
        """Empty the index."""
        self.index.reset()
        self.items = self.items[:0]

    def add(self, items: Tensor) -> None:
        """Add these rows of the gallery, (N,)."""
        for some in items.split(ROWS) if len(items) else ():
            self.index.add(self._vectors(self.gallery[some]))
        self.items = torch.cat([self.items, items])

    def search(self, rows: Tensor, wanted: int) -> tuple[Tensor, Tensor]:
        """Search for the nearest items of these queries (N,): float32 distances and gallery rows, (N, wanted) each.

        Fewer columns if the index has fewer items; an infinite distance for missing ones.
        """
        _, found = self.index.search(self._vectors(self.queries[rows]), min(wanted, len(self.items)))
        labels = torch.from_numpy(found)
        items = self.items[labels.clamp_min(0)]
        return self._pair_distances(rows, items).masked_fill(labels < 0, torch.inf), items

    def _pair_distances(self, rows: Tensor, items: Tensor) -> Tensor:
        """Compute `compat.engine.exact.distances` from queries (N,) to each one's own items (N, K): (N, K) float32."""
        result = torch.empty(items.shape)
        step = max(1, MEMORY // (32 * items.shape[1] * self.gallery.shape[1]))
        for out, row, item in zip(result.split(step), rows.split(step), items.split(step), strict=True):
            query, gallery = self.queries[row].double()[:, None], self.gallery[item].double()
            if self.distance == "l2":
                out.copy_((query - gallery).square().sum(2).sqrt())
            else:
                inverse = (
                    torch.where(n > 0, 1 / n, 0.0) for n in (self.query_norms[row, None], self.gallery_norms[item])
                )
                apart = 1 - (query * gallery).sum(2) * next(inverse) * next(inverse)
                out.copy_(apart.where(apart > 1e-12, 0.0))
        return result

    def _vectors(self, rows: Tensor) -> np.ndarray:
        """Prepare rows (N, D) for faiss, float32: of unit length for cosine, of at most that for l2."""
        scale = inverse_norms(rows)[:, None] if self.distance == "cosine" else 1 / self.largest
        return (rows.double() * scale).float().numpy()


def _on_gpus(index: faiss.Index) -> faiss.Index:
    """Move the index to all GPUs; return it unchanged without a GPU or a GPU index in faiss."""
    if not hasattr(faiss, "index_cpu_to_all_gpus") or getattr(faiss, "get_num_gpus", int)() == 0:
        return index
    try:
        return faiss.index_cpu_to_all_gpus(index)
    except RuntimeError:
        return index


def _reason(error: Exception) -> str:
    return " ".join(str(error).rsplit(": ", 1)[-1].split())
