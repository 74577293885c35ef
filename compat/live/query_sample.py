"""The sample of migrated items by which `compat.merge.QueryZScore` standardises each query's distances, in a store."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from compat.engine.exact import KeptSample, Queries
from compat.engine.samples import standards
from compat.live.items import Journal, Work
from compat.live.store import Store
from compat.merge import QueryZScore, lowest

Searched: TypeAlias = Callable[[np.ndarray], Tensor]
FIRST = Work("", 0, "", place=0)  # before all items with a place


class QuerySample:
    """A sample which follows a migration.

    It is that of the replay with as many items migrated as precede the first pending one in the order. Of these, items
    deleted, written anew or failed are left out; one that was read before is kept. The ids by place are read once.

    Args:
        store: the store.
        rule: the merge rule.
        searched: maps old embeddings (N, D_old) to the vectors by which they are searched.
        journal: journal of the migration under way.
    """

    def __init__(self, store: Store, rule: QueryZScore, searched: Searched, journal: Journal) -> None:
        self.store, self.rule, self.searched, self.journal = store, rule, searched, journal
        self.priority = rule.priorities(journal.items)
        self.entering = entering(self.priority, rule.size)
        self.ids: dict[int, str] | None = None
        self.known: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self.current: tuple[int, KeptSample | None] = (-1, None)

    def scales(self, old: Tensor, new: Tensor) -> Tensor | None:
        """Return the queries' scales for the old and the new part, (Q, 2, 2), see `standards`; None: raw distances."""
        if (sample := self.update()) is None:
            return None
        labels = torch.zeros(len(old), dtype=torch.int64)
        return standards([sample], Queries(old, new, labels, labels), self.journal.distance)[0, 0]

    def update(self) -> KeptSample | None:
        """Read the items which have entered the sample since, and return it; None: too few are migrated."""
        pending = self.store.pending(1, FIRST)
        migrated = pending[0].place if pending else self.journal.items
        if migrated != self.current[0]:
            self.current = migrated, self._read(migrated)
        return self.current[1]

    def _read(self, migrated: int) -> KeptSample | None:
        if migrated < self.rule.fewest:
            return None
        some = self.entering[: np.searchsorted(self.entering, migrated)]
        places = some[lowest(self.priority[some], self.rule.size)].tolist()
        if self.ids is None:
            stored, wanted = self.store.gallery(old=False), set(self.entering.tolist())
            self.ids = {
                place: id for id, place in zip(stored.ids, stored.place.tolist(), strict=True) if place in wanted
            }
        for place in places:
            if place not in self.known and place in self.ids:
                item = self.store.get(self.ids[place])
                if item is not None and item.old is not None and item.new is not None:
                    self.known[place] = item.old, item.new
        pairs = [self.known[place] for place in places if place in self.known]
        if len(pairs) < self.rule.fewest:
            return None
        old, new = (np.stack(rows) for rows in zip(*pairs, strict=True))
        groups = torch.ones(len(pairs), dtype=torch.int64)  # no query's
        return KeptSample(
            self.searched(old), torch.from_numpy(new), groups, torch.ones(1, len(pairs), dtype=torch.bool)
        )


def entering(priority: np.ndarray, size: int) -> np.ndarray:
    """Return the places (N,), ascending, which are ever among the `size` lowest of those before and including them."""
    kept: list[float] = []
    found = []
    for place, value in enumerate(priority.tolist()):
        if len(kept) < size:
            heapq.heappush(kept, -value)
        elif -value > kept[0]:
            heapq.heapreplace(kept, -value)
        else:
            continue
        found.append(place)
    return np.array(found, np.int64)
