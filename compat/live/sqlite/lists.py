"""Inverted lists over the vectors of a part; a search stops when further lists add nothing nearer."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

import faiss
import numpy as np

from compat.live.sqlite.blocks import Blocks, at, kernels, nearest
from compat.live.store import NEAREST, Approximate

TRAINING = 32  # vectors per list
LEAST = 4  # minimum number of lists, and
FEWEST = 2000  # minimum number of vectors before the first check
ROUNDS = 10  # iterations of k-means
AT_ONCE = 2**10  # vectors compared with all centres at a time
TRIED = 100  # vectors of each kind for measuring recall


@dataclass(frozen=True)
class Lists:
    """Slots by nearest centre; immutable, so queries continue while another is built from it.

    Attributes:
        centres: (L, D) float32.
        slots: sorted slots (n,) int32 of each list.
        listed: exactly the slots below this are in lists.
        trained: number of slots when all centres were trained.
        probes: number of lists searched before the first check for more.
        recall: target share of nearest items to find.
    """

    centres: np.ndarray
    slots: list[np.ndarray]
    listed: int
    trained: int
    recall: float
    probes: int = LEAST

    def search(self, query: np.ndarray, k: int, kept: np.ndarray, blocks: Blocks) -> tuple[np.ndarray, np.ndarray]:
        """Find most of the k nearest kept slots of a query (D,): distances and slots (k,).

        Slots in no list are scanned. Lists are searched by distance of their centres until there are as many candidates
        as `probes` lists hold (at least FEWEST) and doubling them changes almost nothing. A query far from all centres,
        or with few kept neighbours, thus searches more lists.

        Args:
            query: in the form of the blocks' vectors.
            k: at most the number of kept slots.
            kept: (N,) bool.
            blocks: the vectors.
        """
        order = np.argsort(self._to_centres(query), kind="stable")
        slots = np.flatnonzero(kept[self.listed :]) + self.listed
        apart, slots = nearest(blocks.distances(query, slots), slots, k)
        enough = max(self.probes * self.listed / len(order), 2 * k, FEWEST)
        allowed = (1 - self.recall) / 2 * k
        seen = checked = changes = looked = 0
        while looked < len(order):
            some = np.concatenate([self.slots[n] for n in order[looked : looked + max(self.probes, looked)]])
            looked += max(self.probes, looked)
            some = np.sort(some[kept[some]]).astype(np.int64)
            more = blocks.distances(query, some)
            seen += len(some)
            changes += min(k, int(np.count_nonzero(more < apart[-1]))) if len(apart) == k else len(some)
            apart, slots = nearest(np.concatenate([apart, more]), np.concatenate([slots, some]), k)
            if seen >= max(enough, 2 * checked):
                if checked and changes <= allowed:
                    break
                checked, changes = seen, 0
        return apart, slots

    def extend(self, blocks: Blocks, count: int) -> Lists:
        """Add the slots below a count, with new centres too, as late vectors may resemble no earlier one.

        Args:
            blocks: the vectors.
            count: N.
        """
        more = np.arange(self.listed, count, dtype=np.int32)
        size = max(self.listed // len(self.centres), 1)
        centres = np.concatenate([self.centres, train_centres(blocks, more, max(len(more) // size, 1))])
        slots = self.slots + [np.empty(0, np.int32)] * (len(centres) - len(self.centres))
        for number, some in assign(blocks, centres, more):
            slots[number] = np.concatenate([slots[number], some])
        return replace(self, centres=centres, slots=slots, listed=count)

    def tune(self, blocks: Blocks, kept: np.ndarray, queries: np.ndarray) -> Lists:
        """Raise `probes`, by powers of 2, until late vectors, any vectors and real queries reach the recall.

        This costs a scan for at most 4 * TRIED queries.

        Args:
            blocks: the vectors.
            kept: (N,) bool, more than NEAREST of them true.
            queries: (Q, D) recent queries.
        """
        slots = np.flatnonzero(kept)
        chance = np.random.default_rng(0)
        late = slots[-max(len(slots) // 10, TRIED) :]
        drawn = (np.sort(chance.permutation(some)[:TRIED]) for some in (late, slots))
        kinds = [(blocks.take(some), 1) for some in drawn]  # a vector finds itself
        kinds += [(queries, 0)] * (len(queries) > 0)
        far = [blocks.scan(some, NEAREST + own, kept)[0][:, -1:] * (1 + 1e-5) for some, own in kinds]
        lists = replace(self, probes=LEAST)
        for (some, own), limit in zip(kinds, far, strict=True):
            while lists.probes < len(lists.centres):
                exit_with_program()
                apart = np.stack([lists.search(query, NEAREST + own, kept, blocks)[0] for query in some])
                if ((apart <= limit).sum(1) - own).mean() / NEAREST >= (1 + self.recall) / 2:
                    break
                lists = replace(lists, probes=2 * lists.probes)
        return lists

    def _to_centres(self, query: np.ndarray) -> np.ndarray:
        """Return the distances of a query (D,) to the centres, (L,)."""
        found = np.empty(len(self.centres), np.float32)
        kernels.fvec_L2sqr_ny(at(found), at(query), at(self.centres), *self.centres.shape[::-1])
        return found


def train_lists(blocks: Blocks, slots: np.ndarray, count: int, approximate: Approximate) -> Lists:
    """Train lists of slots (n,) int32 below a count, as many as the square root of their number."""
    centres = train_centres(blocks, slots, round(len(slots) ** 0.5))
    lists = [np.empty(0, np.int32)] * len(centres)
    for number, some in assign(blocks, centres, slots):
        lists[number] = np.concatenate([lists[number], some])
    return Lists(centres, lists, count, len(slots), approximate.recall)


def train_centres(blocks: Blocks, slots: np.ndarray, count: int) -> np.ndarray:
    """Train centres (count, D) on a sample of slots (n,), by k-means."""
    chosen = np.random.default_rng(0).choice(len(slots), min(len(slots), TRAINING * count), replace=False)
    some = blocks.take(slots[np.sort(chosen)])
    middle = some.mean(0, dtype=np.float64).astype(np.float32)  # products lose precision far from 0
    some -= middle
    means = faiss.Kmeans(blocks.dim, count, niter=ROUNDS, min_points_per_centroid=1, max_points_per_centroid=TRAINING)
    means.train(some)
    return means.centroids + middle


def assign(blocks: Blocks, centres: np.ndarray, slots: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Assign slots (n,) int32 to the nearest of centres (L, D); return pairs of centre number and sorted slots (m,)."""
    middle = centres.mean(0)
    index = faiss.IndexFlatL2(blocks.dim)
    index.add(centres - middle)
    number = np.empty(len(slots), np.int32)
    for start in range(0, len(slots), AT_ONCE):
        exit_with_program()
        some = blocks.take(slots[start : start + AT_ONCE])
        some -= middle
        number[start : start + AT_ONCE] = index.search(some, 1)[1][:, 0]
    order = np.argsort(number, kind="stable")
    numbers, starts = np.unique(number[order], return_index=True)
    return list(zip(numbers.tolist(), np.split(slots[order], starts[1:]), strict=True))


def exit_with_program() -> None:
    """End a building thread when the program ends."""
    if not threading.main_thread().is_alive():
        raise SystemExit
