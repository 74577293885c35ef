"""Queries while the gallery is backfilled: both parts are searched, and their lists merged."""

from __future__ import annotations

import operator
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import torch

from compat.engine.exact import Distance, distances
from compat.errors import InputError
from compat.live.checks import check_fields
from compat.live.extraction import reason
from compat.live.histogram import Histogram
from compat.live.items import Candidates, Column, Journal
from compat.live.models import Embed, Models, embedded, passing
from compat.live.process import this_process
from compat.live.serving import Ways, new_model, old_model, ways
from compat.live.store import Ask, Conflict, Store, Where
from compat.live.transient import passes
from compat.merge import Merge

REMEMBERED = 512  # queries that the slowest in a hundred is of
TOLD_EVERY = 1.0  # seconds between two notes of it in the store


class Hit(NamedTuple):
    """An item that was found.

    Attributes:
        id: of the item.
        distance: on the scale of the merge rule; under reciprocal rank fusion the rank in its own list.
        part: "old" or "new".
        meta: of the item.
    """

    id: str
    distance: float
    part: str
    meta: Mapping[str, Any]


class Searcher:
    """Answers queries in whatever phase the store is; whoever writes to it meanwhile, no item is missing or twice.

    An answer is of one state of a store that has snapshots.

    Distances are computed anew from the stored vectors, in float64 and rounded to float32 as the replay does, so no
    store's convention matters. With k as the gallery's size, the ranking is the replay's.

    Args:
        store: the store.
        models: of the migration.

    Raises:
        InputError: other models than those of the migration that is under way.
    """

    def __init__(self, store: Store, models: Models) -> None:
        self.store, self.models = store, models
        self.known: tuple[tuple[Any, ...], Ways] | None = None
        self.took: deque[float] = deque(maxlen=REMEMBERED)
        self.histogram = Histogram("query")
        self.told, self.asked = 0.0, False
        if (journal := store.journal()).mode != "old":
            models.check(journal)
        self.checked: Mapping[str, str] | None = None

    def search(self, content: str, k: int = 10, where: Where | None = None) -> list[Hit]:
        """The k nearest items of a query.

        Args:
            content: of the query, as the models read it.
            k: how many.
            where: field -> value that items must have.

        Raises:
            InputError: k below 1 or no whole number, a field that the store does not know, a content that cannot be
                read, or other models than those of a migration that began since.
        """
        return self.search_many([content], k, where)[0]

    def search_many(self, contents: Sequence[str], k: int = 10, where: Where | None = None) -> list[list[Hit]]:
        """Likewise for several queries, all in one state of the store."""
        check_k(k)
        started = time.perf_counter()
        while True:
            journal = self.store.journal()
            check_fields(where, journal)
            if journal.mode != "old" and journal.fingerprint != self.checked:
                self.models.check(journal)
                self.checked = journal.fingerprint
            try:
                found, merge = self._found(contents, k, where, journal)
            except Conflict:
                continue
            break
        hits = [top(found, row, merge, journal.distance, k) for row in range(len(contents))]
        self._tell(time.perf_counter() - started)
        return hits

    def warm(self, contents: Sequence[str] = ()) -> None:
        """Load what queries need, so that the first one takes no longer than others.

        Args:
            contents: of queries to ask, so that the models are loaded too.
        """
        journal = self.store.journal()
        columns: list[Column] = ["new" if journal.mode == "new" else "old"]
        if journal.mode == "both":
            columns = [self._ways(journal).column, "new"]
        self.store.warm(columns)
        if contents:
            self.search_many(contents)

    def _found(
        self, contents: Sequence[str], k: int, where: Where | None, journal: Journal
    ) -> tuple[dict[str, tuple[np.ndarray, Candidates]], Merge | None]:
        """Of each part the queries as it sees them, and what they find."""
        if journal.mode == "both":
            its = self._ways(journal)
            with torch.inference_mode():
                old, new = its.query(*map(torch.from_numpy, self._embedded(contents, its.passes, journal)))
            asks = [Ask(its.column, old.numpy()), Ask("new", new.numpy())]
            merge: Merge | None = its.merge if its.merge.changes else None
        elif journal.mode == "new":
            after = new_model(self.models, journal)
            last = after is self.models.old
            known = read(after, contents, "old", journal.new_dim) if last else self._served(contents, journal)
            asks, merge = [Ask("new", known)], None
        else:
            asks, merge = [Ask("old", read(old_model(self.models, journal), contents, "old", journal.dim))], None
        found = self.store.search(asks, k, where, journal)
        parts = ["new" if ask.column == "new" else "old" for ask in asks]
        return {part: (ask.queries, its) for part, ask, its in zip(parts, asks, found, strict=True)}, merge

    def _ways(self, journal: Journal) -> Ways:
        if self.known is None or self.known[0] != journal.way:
            self.known = journal.way, ways(self.store, self.models, journal)
        return self.known[1]

    def _embedded(self, contents: Sequence[str], passes: Sequence[str], journal: Journal) -> list[np.ndarray]:
        """Queries by the models that they go through; of the other, zeros."""
        upgrade = self.models.between(journal.dim, journal.new_dim)
        rows = []
        for name, module in (("old", upgrade.old), ("new", upgrade.new)):
            model = getattr(self.models, name)
            if name not in passes:
                rows.append(np.zeros((len(contents), module.project.out_features), np.float32))
            elif model is None:
                raise InputError(f"models.{name}: none, expected one, as this method takes queries through both")
            else:
                rows.append(read(model, contents, name, module.project.out_features))
        return rows

    def _served(self, contents: Sequence[str], journal: Journal) -> np.ndarray:
        """Queries for a gallery that is migrated."""
        upgrade = self.models.between(journal.dim, journal.new_dim)
        blank, new = self._embedded(contents, ("new",), journal)
        with torch.inference_mode():
            return upgrade.query(torch.from_numpy(blank), torch.from_numpy(new))[1].numpy()

    def _tell(self, seconds: float) -> None:
        """Remember what a query took, and tell the store, so that workers know where they have to make way."""
        if self.asked:  # the first one loads what is searched
            self.took.append(seconds)
        self.asked = True
        self.histogram.add(seconds)
        if self.took and time.monotonic() - self.told > TOLD_EVERY:
            self.told = time.monotonic()
            with suppress(OSError, InputError):  # an answer does not depend on it
                self.store.beat(f"searcher {this_process()} {id(self)}", {"p99": self.p99, **self.histogram.figures})

    @property
    def p99(self) -> float:
        """Seconds that the slowest query in a hundred took lately."""
        return float(np.percentile(self.took, 99)) if self.took else 0.0


def check_k(k: object) -> None:
    """Raises InputError for what is no number of items."""
    try:
        count = operator.index(k)  # type: ignore[arg-type]
    except TypeError as error:
        raise InputError(f"k: {k!r}, expected a whole number") from error
    if count < 1:
        raise InputError(f"k: {k}, expected at least 1")


def read(model: Embed, contents: Sequence[str], name: str, dim: int) -> np.ndarray:
    """Embeddings of queries (Q, D).

    Raises:
        InputError: one that the model cannot read, or embeddings that are not of this many dimensions.
        ConnectionError, TimeoutError: of a model that is a service.
    """
    try:
        rows = embedded(model, contents, name, dim)
    except (InputError, ConnectionError, TimeoutError):
        raise
    except Exception as error:  # whatever a model raises
        if passes(error, passing(model)):
            raise ConnectionError(f"models.{name}: {reason(error)}, expected a model that answers") from error
        raise InputError(f"content: {reason(error)}, expected queries that the {name} model reads") from error
    if not np.isfinite(rows).all():
        content = contents[int(np.flatnonzero(~np.isfinite(rows).all(1))[0])]
        raise InputError(f"content: {content!r} is NaN or infinite to the {name} model, expected finite embeddings")
    return rows


def top(
    found: Mapping[str, tuple[np.ndarray, Candidates]], row: int, merge: Merge | None, distance: Distance, k: int
) -> list[Hit]:
    """The first k of a query's lists, merged; of equally far items the new part's first, then by id."""
    hits: list[Hit] = []
    for part in ("new", "old"):
        if part not in found:
            continue
        queries, its = found[part]
        at = its.nearest[row][its.nearest[row] >= 0]
        if len(at) == 0:
            continue
        apart = distances(torch.from_numpy(queries[row][None]), torch.from_numpy(its.vectors[at]), distance)[0].numpy()
        if merge is not None and merge.by_rank:
            apart = np.searchsorted(np.sort(apart), apart, side="right")
        elif merge is not None and merge.scales is not None:
            apart = merge.scales[part == "new"](apart)
        hits += [Hit(its.ids[n], float(d), part, its.meta[n]) for n, d in zip(at, apart, strict=True)]
    first = {hit.id: hit for hit in reversed(hits)}
    kept = (hit for hit in hits if first[hit.id] is hit)
    return sorted(kept, key=lambda hit: (hit.distance, hit.part == "old", hit.id))[:k]
