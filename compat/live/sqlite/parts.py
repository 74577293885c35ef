"""One part of a gallery in memory: a FAISS index over rows that come and go, exact while it is small."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import faiss
import numpy as np
import torch

from compat.engine.exact import Distance, inverse_norms
from compat.live.store import DEFAULT, GROWTH, NEAREST, Approximate

FLAT: Any = faiss.SearchParameters  # whose stubs know no arguments
LISTS: Any = faiss.SearchParametersIVF
TRIED = 200  # vectors that recall is measured with
TRAINING = 64  # vectors per list


class Part:
    """Vectors by row number. What is removed is masked: no index has to support removal, and none is saved.

    Args:
        rows: (N,) that it begins with.
        vectors: (N, D) float32 of them.
        distance: of the retrieval; under "cosine" vectors are scaled to length 1, in float64.
        approximate: when, and how well.
    """

    def __init__(
        self, rows: np.ndarray, vectors: np.ndarray, distance: Distance, approximate: Approximate = DEFAULT
    ) -> None:
        self.distance, self.approximate = distance, approximate
        self.row_of = np.empty(0, np.int64)
        self.here = np.empty(0, bool)
        self.shown = np.empty(0, bool)
        self.slot_of = np.empty(0, np.int64)
        self.dim = vectors.shape[1]
        scaled = self.scaled(vectors)
        self.exact = len(rows) <= approximate.above
        self.built_for = len(rows)
        self.index = self._flat(vectors.shape[1]) if self.exact else self._lists(scaled)
        self.index.add(scaled)
        self.probes = 1 if self.exact else self._probes(scaled)
        self._number(rows)

    @classmethod
    def build(
        cls,
        chunks: Iterable[tuple[np.ndarray, np.ndarray]],
        count: int,
        dim: int,
        distance: Distance,
        approximate: Approximate = DEFAULT,
    ) -> Part:
        """A part of `count` rows that come in chunks: rows (N,) and vectors (N, D)."""
        parts = [*chunks, (np.empty(0, np.int64), np.empty((0, dim), np.float32))]
        rows, vectors = (np.concatenate(its) for its in zip(*parts, strict=True))
        return cls(rows, vectors, distance, approximate)

    @property
    def count(self) -> int:
        """Rows that are here, hidden ones among them."""
        return int(self.here.sum())

    @property
    def outgrown(self) -> bool:
        """Whether it should be built anew: masked vectors are most of it, or its size calls for another index."""
        if len(self.row_of) > 2 * self.count + 1000:
            return True
        if self.exact:
            return self.count > self.approximate.above
        return (
            not self.built_for / GROWTH < self.count < self.built_for * GROWTH or self.count <= self.approximate.above
        )

    def scaled(self, vectors: np.ndarray) -> np.ndarray:
        """As FAISS compares them, float32."""
        rows = torch.from_numpy(np.array(vectors, np.float32))
        return (
            (rows.double() * inverse_norms(rows)[:, None]).float().numpy()
            if self.distance == "cosine"
            else rows.numpy()
        )

    def remove(self, rows: np.ndarray) -> None:
        """Mask rows (N,); those that are not here do not matter."""
        slots = self._slots(rows)
        self.slot_of[self.row_of[slots]] = -1
        self.here[slots] = self.shown[slots] = False

    def hide(self, rows: np.ndarray) -> None:
        """Keep rows (N,) out of all answers until they are shown; those that are not here do not matter."""
        self.shown[self._slots(rows)] = False

    def show(self, rows: np.ndarray | None = None) -> None:
        """Let rows (N,) be found again; None: all that are here."""
        if rows is None:
            self.shown = self.here.copy()
        else:
            slots = self._slots(rows)
            self.shown[slots] = self.here[slots]

    def add(self, rows: np.ndarray, vectors: np.ndarray) -> None:
        """Add rows (N,) that are not here, with their vectors (N, D)."""
        if len(rows):
            self.index.add(self.scaled(vectors))
            self._number(rows)

    def search(self, queries: np.ndarray, k: int, allowed: np.ndarray | None = None) -> np.ndarray:
        """The rows nearest to queries (Q, D), (Q, min(k, N)) nearest first, -1 where there are no more.

        Args:
            queries: as the models give them.
            k: how many.
            allowed: (R,) whether a row is one that may be found, by row; None: all.
        """
        kept = self.shown
        if allowed is not None:
            kept = self.shown & np.pad(allowed, (0, max(len(self.slot_of) - len(allowed), 0)))[self.row_of]
        k = min(k, int(kept.sum()))
        if k == 0:
            return np.empty((len(queries), 0), np.int64)
        bits = np.packbits(kept, bitorder="little")
        selector = faiss.IDSelectorBitmap(len(kept), faiss.swig_ptr(bits))
        if self.exact:
            options = FLAT(sel=selector)
        else:
            share = k / kept.sum()  # of a filtered part more lists have to be looked at
            few = kept.sum() <= self.approximate.above or share > 0.01
            options = LISTS(sel=selector, nprobe=self.index.nlist if few else self.probes)
        slots = self.index.search(self.scaled(queries), k, params=options)[1]
        if not self.exact and (slots < 0).any():  # the lists that were looked at have too few that are kept
            slots = self.index.search(self.scaled(queries), k, params=LISTS(sel=selector, nprobe=self.index.nlist))[1]
        return np.where(slots >= 0, self.row_of[slots], -1)

    def _slots(self, rows: np.ndarray) -> np.ndarray:
        """Of rows (N,) those that are here, by slot."""
        slots = self.slot_of[rows[rows < len(self.slot_of)]]
        return slots[slots >= 0]

    def _number(self, rows: np.ndarray) -> None:
        first = len(self.row_of)
        self.row_of = np.concatenate([self.row_of, rows])
        self.here = np.concatenate([self.here, np.ones(len(rows), bool)])
        self.shown = np.concatenate([self.shown, np.ones(len(rows), bool)])
        if len(rows) and (last := int(rows.max())) >= len(self.slot_of):
            grown = np.full(2 * last + 1, -1, np.int64)
            grown[: len(self.slot_of)] = self.slot_of
            self.slot_of = grown
        self.slot_of[rows] = np.arange(first, first + len(rows))

    @property
    def _metric(self) -> int:
        return faiss.METRIC_INNER_PRODUCT if self.distance == "cosine" else faiss.METRIC_L2

    def _flat(self, dim: int) -> Any:
        return faiss.IndexFlat(dim, self._metric)

    def _lists(self, scaled: np.ndarray) -> Any:  # faiss's stubs lack what indexes have in Python
        """An inverted file, trained on some of the vectors; as many lists as the square root of their number."""
        dim, lists = scaled.shape[1], round(len(scaled) ** 0.5)
        index = faiss.IndexIVFFlat(self._flat(dim), dim, lists, self._metric)
        chosen = np.random.default_rng(0).permutation(len(scaled))[: TRAINING * lists]
        index.train(scaled[np.sort(chosen)])
        return index

    def _probes(self, scaled: np.ndarray) -> int:
        """The fewest lists, a power of 2, that find as many of the nearest items as they have to."""
        chosen = scaled[np.random.default_rng(1).permutation(len(scaled))[:TRIED]]
        exact = faiss.knn(chosen, scaled, NEAREST + 1, metric=self._metric)[1]
        probes = 1
        while probes < self.index.nlist:
            options = LISTS(nprobe=probes)
            ids = self.index.search(chosen, NEAREST + 1, params=options)[1]
            found = np.mean([len(np.intersect1d(a, b)) - 1 for a, b in zip(exact, ids, strict=True)]) / NEAREST
            if found >= (1 + self.approximate.recall) / 2:
                break
            probes *= 2
        return min(probes, self.index.nlist)
