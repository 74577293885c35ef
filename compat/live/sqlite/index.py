"""One part of a gallery in memory: a changing set of rows, searched exactly while it is small, else by lists."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable

import faiss
import numpy as np
import torch

from compat.engine.exact import Distance, inverse_norms
from compat.live.sqlite.blocks import Blocks
from compat.live.sqlite.lists import Lists, train_lists
from compat.live.store import DEFAULT, GROWTH, NEAREST, Approximate

ASKED = 200  # real queries for measuring recall
AT_ONCE = 2**10  # vectors scaled at a time
CHANGED = 0.1  # share of changed rows after which recall is measured again


class SqliteIndex:
    """Vectors by row number, stored once in memory, with about 20 bytes per row of bookkeeping.

    Removed and hidden rows are masked. A thread builds lists and measures recall; until then, and for rows in no list
    yet, vectors are scanned.

    Args:
        rows: (N,) initial rows.
        vectors: (N, D) their vectors.
        distance: distance of the retrieval.
        approximate: when and how well to search approximately.
    """

    def __init__(
        self, rows: np.ndarray, vectors: np.ndarray, distance: Distance, approximate: Approximate = DEFAULT
    ) -> None:
        self.distance, self.approximate = distance, approximate
        self.dim = vectors.shape[1]
        self.blocks = Blocks(self.dim + (distance == "cosine"))
        self.middle: np.ndarray | None = None
        self.power: int | None = None
        self.row_of = np.empty(0, np.int64)
        self.slot_of = np.empty(0, np.int32)
        self.present, self.visible = np.empty(0, bool), np.empty(0, bool)
        self.lists: Lists | None = None
        self.builder: threading.Thread | None = None
        self.asked: deque[np.ndarray] = deque(maxlen=ASKED)
        self.changes = self.queries = 0
        self.measured = 0, ASKED // 2  # changes and queries at the last measurement
        self.add(rows, vectors)

    @classmethod
    def build(
        cls,
        chunks: Iterable[tuple[np.ndarray, np.ndarray]],
        dim: int,
        distance: Distance,
        approximate: Approximate = DEFAULT,
    ) -> SqliteIndex:
        """Make an index of rows (N,) and vectors (N, D) which come in chunks; no chunk is kept."""
        part = cls(np.empty(0, np.int64), np.empty((0, dim), np.float32), distance, approximate)
        for rows, vectors in chunks:
            part.add(rows, vectors)
        return part

    @property
    def count(self) -> int:
        """Number of rows, including hidden ones."""
        return int(np.count_nonzero(self.present))

    @property
    def outgrown(self) -> bool:
        """Whether most vectors were removed, so the index should be loaded again."""
        return self.blocks.count > 2 * self.count + 1000

    @property
    def exact(self) -> bool:
        """Whether every vector is scanned."""
        return self.lists is None

    def add(self, rows: np.ndarray, vectors: np.ndarray) -> None:
        """Add rows (N,) which are not present, with their vectors (N, D)."""
        if len(rows) == 0:
            return
        first, end = self.blocks.count, self.blocks.count + len(rows)
        for start in range(0, len(rows), AT_ONCE):
            self.blocks.add(self.scale(vectors[start : start + AT_ONCE]))
        self.row_of = grow(self.row_of, end, 0)
        self.present, self.visible = grow(self.present, end, False), grow(self.visible, end, False)
        self.slot_of = grow(self.slot_of, int(rows.max()) + 1, -1)
        self.row_of[first:end], self.slot_of[rows] = rows, np.arange(first, end)
        self.present[first:end] = self.visible[first:end] = True
        self.changes += len(rows)

    def remove(self, rows: np.ndarray) -> None:
        """Remove rows (N,); absent ones are ignored."""
        slots = self._slots_of(rows)
        self.slot_of[self.row_of[slots]] = -1
        self.present[slots] = self.visible[slots] = False
        self.changes += len(slots)

    def hide(self, rows: np.ndarray) -> None:
        """Exclude rows (N,) from answers until they are shown; absent ones are ignored."""
        slots = self._slots_of(rows)
        self.visible[slots] = False
        self.changes += len(slots)

    def show(self, rows: np.ndarray | None = None) -> None:
        """Include rows (N,) in answers again; None: all present ones."""
        if rows is None:
            self.changes += int(np.count_nonzero(self.present) - np.count_nonzero(self.visible))
            self.visible = self.present.copy()
        else:
            slots = self._slots_of(rows)
            self.visible[slots] = self.present[slots]
            self.changes += len(slots)

    def search(self, queries: np.ndarray, k: int, allowed: np.ndarray | None = None) -> np.ndarray:
        """Return the rows nearest to queries (Q, D), (Q, min(k, N)), nearest first.

        Args:
            queries: embeddings of the models.
            k: number of rows.
            allowed: (R,) whether each row may be found; None: all.
        """
        kept = self.visible[: self.blocks.count]
        if allowed is not None:
            missing = max(len(self.slot_of) - len(allowed), 0)
            kept = kept & np.pad(allowed, (0, missing))[self.row_of[: len(kept)]]
        count = int(np.count_nonzero(kept))
        k = min(k, count)
        if k == 0 or len(queries) == 0:
            return np.empty((len(queries), k), np.int64)
        if self.queries:  # a process with one query builds nothing
            self.update_lists()
        scaled = self.scale(queries)
        self.asked.extend(scaled[-ASKED:].copy())
        self.queries += len(queries)
        lists = self.lists
        if lists is None or count <= self.approximate.above or k > count / 100:
            slots = self.blocks.scan(scaled, k, kept)[1]
        else:
            slots = np.stack([lists.search(query, k, kept, self.blocks)[1] for query in scaled])
        return np.where(slots >= 0, self.row_of[slots], -1)

    def update_lists(self) -> None:
        """Start the thread which builds or extends lists or measures recall, if due."""
        count, lists = self.blocks.count, self.lists
        few = np.count_nonzero(self.visible) <= self.approximate.above
        if few or (self.builder is not None and self.builder.is_alive()):
            return
        changes, queries = self.measured
        measure = self.changes - changes > CHANGED * self.count or self.queries >= 2 * queries
        if lists is None or measure or count - lists.listed > self.approximate.above // 10:
            if lists is None or measure:
                self.measured = self.changes, max(self.queries, ASKED // 2)
            args = self.present[:count].copy(), self.visible[:count].copy(), measure, np.array(self.asked)
            self.builder = threading.Thread(target=self._build, args=args)
            self.builder.start()

    def wait(self) -> None:
        """Wait for the thread."""
        if self.builder is not None:
            self.builder.join()

    def scale(self, vectors: np.ndarray) -> np.ndarray:
        """Scale vectors for the distance: under cosine to length 1, with zero vectors equally far from all; float32.

        Under cosine a mean is subtracted before rounding, so nearly equal vectors keep their precision. Under L2 they
        are multiplied by a power of 2, so the squares of huge and tiny values are finite.
        """
        if self.distance == "l2":
            if self.power is None:
                self.power = -int(np.frexp(np.abs(vectors).max())[1])
            return np.ldexp(np.ascontiguousarray(vectors, np.float32), self.power)
        rows = torch.from_numpy(np.array(vectors, np.float32))
        inverse = inverse_norms(rows)
        unit = (rows.double() * inverse[:, None]).numpy()
        if self.middle is None:
            self.middle = unit.mean(0)
        return np.concatenate([unit - self.middle, inverse.numpy()[:, None] == 0], 1, dtype=np.float32)

    def _slots_of(self, rows: np.ndarray) -> np.ndarray:
        """Return the slots of the present ones of rows (N,)."""
        slots = self.slot_of[rows[rows < len(self.slot_of)]]
        return slots[slots >= 0]

    def _build(self, here: np.ndarray, shown: np.ndarray, measure: bool, asked: np.ndarray) -> None:
        """Build lists from a state of the vectors, in the thread; they serve when ready."""
        faiss.omp_set_num_threads(1)  # the others are left to queries
        slots, lists = np.flatnonzero(here).astype(np.int32), self.lists
        for anew in (False, True):
            if lists is None or anew or not lists.trained / GROWTH < len(slots) < lists.trained * GROWTH:
                lists, measure = train_lists(self.blocks, slots, len(here), self.approximate), True
            elif lists.listed < len(here):
                lists = lists.extend(self.blocks, len(here))
            if measure and np.count_nonzero(shown) > NEAREST:
                lists = lists.tune(self.blocks, shown, asked)
            if lists.probes <= len(lists.centres) // 4 or len(slots) < lists.trained * (1 + CHANGED):
                break  # otherwise the lists are bad: train again
        self.lists = lists


def grow(array: np.ndarray, count: int, blank: int) -> np.ndarray:
    """Return an array with room for `count` values, growing by a quarter more than needed."""
    if count <= len(array):
        return array
    grown = np.full(count + count // 4, blank, array.dtype)
    grown[: len(array)] = array
    return grown
