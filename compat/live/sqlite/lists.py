"""Inverted lists over the vectors of a part, which are searched until looking further finds nothing nearer."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

import faiss
import numpy as np

from compat.live.sqlite.blocks import Blocks, at, kernels, nearest
from compat.live.store import NEAREST, Approximate

TRAINING = 32  # vectors per list
LEAST = 4  # lists, and
FEWEST = 2000  # vectors that are looked at before the first check
ROUNDS = 10  # of k-means
AT_ONCE = 2**10  # vectors that are compared with all centres at a time
TRIED = 100  # vectors of each kind that recall is measured with


@dataclass(frozen=True)
class Lists:
    """Slots by the nearest of some centres. It is never changed, so that queries go on while another is made of it.

    Attributes:
        centres: (L, D) float32.
        slots: of each list (n,) int32, sorted.
        listed: slots below it are in a list, and no others.
        trained: how many there were when all centres were made.
        probes: lists that are looked at before it is checked whether more are needed.
        recall: share of the nearest items to find.
    """

    centres: np.ndarray
    slots: list[np.ndarray]
    listed: int
    trained: int
    recall: float
    probes: int = LEAST

    def search(self, query: np.ndarray, k: int, kept: np.ndarray, blocks: Blocks) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest to a query (D,) of all that are kept, most of them found: distances and slots (k,).

        What is in no list is looked at whole. Then lists are, those of the nearest centres first, until there are as
        many candidates as `probes` lists have, FEWEST at least, and twice as many change next to nothing: what is far
        from all centres, or has few neighbours that are kept, is looked for in more of them.

        Args:
            query: as the blocks have vectors.
            k: at most as many as are kept.
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
        """Take up slots below a count, in lists of their own too: what comes last may be like nothing before.

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
        """Look at as many lists, a power of 2, as each kind of query needs: late vectors, any vectors, real queries.

        It costs a scan for at most 4 * TRIED queries.

        Args:
            blocks: the vectors.
            kept: (N,) bool, of which more than NEAREST are.
            queries: (Q, D) that were asked lately.
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
        """Distances of a query (D,) to the centres, (L,)."""
        found = np.empty(len(self.centres), np.float32)
        kernels.fvec_L2sqr_ny(at(found), at(query), at(self.centres), *self.centres.shape[::-1])
        return found


def train_lists(blocks: Blocks, slots: np.ndarray, count: int, approximate: Approximate) -> Lists:
    """Lists of slots (n,) int32 below a count, as many as the square root of their number."""
    centres = train_centres(blocks, slots, round(len(slots) ** 0.5))
    lists = [np.empty(0, np.int32)] * len(centres)
    for number, some in assign(blocks, centres, slots):
        lists[number] = np.concatenate([lists[number], some])
    return Lists(centres, lists, count, len(slots), approximate.recall)


def train_centres(blocks: Blocks, slots: np.ndarray, count: int) -> np.ndarray:
    """Centres (count, D) of a sample of slots (n,), by k-means."""
    chosen = np.random.default_rng(0).choice(len(slots), min(len(slots), TRAINING * count), replace=False)
    some = blocks.take(slots[np.sort(chosen)])
    middle = some.mean(0, dtype=np.float64).astype(np.float32)  # products lose the digits of what is far from 0
    some -= middle
    means = faiss.Kmeans(blocks.dim, count, niter=ROUNDS, min_points_per_centroid=1, max_points_per_centroid=TRAINING)
    means.train(some)
    return means.centroids + middle


def assign(blocks: Blocks, centres: np.ndarray, slots: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Slots (n,) int32 by the nearest of the centres (L, D): its number, and (m,) sorted."""
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
    """End the thread that builds if the program has come to its end."""
    if not threading.main_thread().is_alive():
        raise SystemExit
