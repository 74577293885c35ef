"""Queries during a backfill: both parts are searched and their results merged."""

from __future__ import annotations

import operator
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from compat.engine.exact import Distance, distances
from compat.engine.samples import standardised
from compat.errors import InputError
from compat.live.checks import check_fields
from compat.live.extraction import describe_error
from compat.live.histogram import Histogram
from compat.live.items import Candidates, Column, Journal
from compat.live.models import Embed, Models, embed, passing
from compat.live.process import this_process
from compat.live.serving import ServingPlan, new_model, old_model, serving_plan
from compat.live.store import Ask, Conflict, Store, Where
from compat.live.transient import is_transient
from compat.merge import Merge

REMEMBERED = 512  # recent queries for the 99th percentile
TOLD_EVERY = 1.0  # seconds between two heartbeats


class Hit(NamedTuple):
    """An item found by a query.

    Attributes:
        id: id of the item.
        distance: distance on the scale of the merge rule; under reciprocal rank fusion, the rank in its own list.
        part: "old" or "new".
        meta: meta of the item.
    """

    id: str
    distance: float
    part: str
    meta: Mapping[str, Any]


class Searcher:
    """Answers queries in any phase; whatever is written meanwhile, no item is missing or returned twice.

    With a store which has snapshots, an answer reflects one state.

    Distances are recomputed from the stored vectors in float64 and rounded to float32, as in the replay, so they do not
    depend on the store. With k equal to the gallery's size the ranking is the replay's.

    Args:
        store: the store.
        models: models of the migration.

    Raises:
        InputError: other models than those of the migration under way.
    """

    def __init__(self, store: Store, models: Models) -> None:
        self.store, self.models = store, models
        self.plan: tuple[tuple[Any, ...], ServingPlan] | None = None
        self.latencies: deque[float] = deque(maxlen=REMEMBERED)
        self.histogram = Histogram("query")
        self.last_beat, self.warmed_up = 0.0, False
        if (journal := store.journal()).mode != "old":
            models.check(journal)
        self.checked: Mapping[str, str] | None = None

    def search(self, content: str, k: int = 10, where: Where | None = None) -> list[Hit]:
        """Return the k nearest items of a query.

        Args:
            content: content of the query, as the models read it.
            k: number of items.
            where: field -> value which items must have.

        Raises:
            InputError: k below 1 or not an integer, an unknown field, an unreadable content, or other models than those
                of a migration begun since.
        """
        return self.search_many([content], k, where)[0]

    def search_many(self, contents: Sequence[str], k: int = 10, where: Where | None = None) -> list[list[Hit]]:
        """Answer several queries in one state of the store; see `search`."""
        check_k(k)
        started = time.perf_counter()
        while True:
            journal = self.store.journal()
            check_fields(where, journal)
            if journal.mode != "old" and journal.fingerprint != self.checked:
                self.models.check(journal)
                self.checked = journal.fingerprint
            try:
                found, merge, scales = self._search(contents, k, where, journal)
            except Conflict:
                continue
            break
        rows = range(len(contents))
        each = [None] * len(contents) if scales is None else scales
        hits = [merge_hits(found, row, merge, journal.distance, k, each[row]) for row in rows]
        self._record(time.perf_counter() - started)
        return hits

    def warm(self, contents: Sequence[str] = ()) -> None:
        """Load everything queries need, so the first one takes no longer than the next.

        Args:
            contents: queries to ask, which loads the models too.
        """
        journal = self.store.journal()
        columns: list[Column] = ["new" if journal.mode == "new" else "old"]
        if journal.mode == "both":
            columns = [(its := self._plan(journal)).column, "new"]
            if its.sample is not None:
                its.sample.update()
        self.store.warm(columns)
        if contents:
            self.search_many(contents)

    def _search(
        self, contents: Sequence[str], k: int, where: Where | None, journal: Journal
    ) -> tuple[dict[str, tuple[np.ndarray, Candidates]], Merge | None, Tensor | None]:
        """Return the queries and candidates of each part, the merge rule, and each query's scales (Q, 2, 2), if any."""
        scales = None
        if journal.mode == "both":
            its = self._plan(journal)
            with torch.inference_mode():
                old, new = its.query(*map(torch.from_numpy, self._embed(contents, its.passes, journal)))
            asks = [Ask(its.column, old.numpy()), Ask("new", new.numpy())]
            merge: Merge | None = its.merge if its.merge.changes else None
            scales = None if its.sample is None else its.sample.scales(old, new)
        elif journal.mode == "new":
            after = new_model(self.models, journal)
            last = after is self.models.old
            known = (
                embed_queries(after, contents, "old", journal.new_dim) if last else self._new_queries(contents, journal)
            )
            asks, merge = [Ask("new", known)], None
        else:
            query_old = embed_queries(old_model(self.models, journal), contents, "old", journal.dim)
            asks, merge = [Ask("old", query_old)], None
        found = self.store.search(asks, k, where, journal)
        parts = ["new" if ask.column == "new" else "old" for ask in asks]
        lists = {part: (ask.queries, its) for part, ask, its in zip(parts, asks, found, strict=True)}
        return lists, merge, scales

    def _plan(self, journal: Journal) -> ServingPlan:
        if self.plan is None or self.plan[0] != journal.serving_key:
            self.plan = journal.serving_key, serving_plan(self.store, self.models, journal)
        return self.plan[1]

    def _embed(self, contents: Sequence[str], passes: Sequence[str], journal: Journal) -> list[np.ndarray]:
        """Embed queries with the models they pass through; zeros for the other model."""
        upgrade = self.models.upgrade_for(journal.dim, journal.new_dim)
        rows = []
        for name, module in (("old", upgrade.old), ("new", upgrade.new)):
            model = getattr(self.models, name)
            if name not in passes:
                rows.append(np.zeros((len(contents), module.project.out_features), np.float32))
            elif model is None:
                raise InputError(f"models.{name}: none, expected one, as this method takes queries through both")
            else:
                rows.append(embed_queries(model, contents, name, module.project.out_features))
        return rows

    def _new_queries(self, contents: Sequence[str], journal: Journal) -> np.ndarray:
        """Embed queries for a fully migrated gallery."""
        upgrade = self.models.upgrade_for(journal.dim, journal.new_dim)
        blank, new = self._embed(contents, ("new",), journal)
        with torch.inference_mode():
            return upgrade.query(torch.from_numpy(blank), torch.from_numpy(new))[1].numpy()

    def _record(self, seconds: float) -> None:
        """Record a query's duration, and report it to the store for the workers."""
        if self.warmed_up:  # the first query loads the indexes
            self.latencies.append(seconds)
        self.warmed_up = True
        self.histogram.add(seconds)
        if self.latencies and time.monotonic() - self.last_beat > TOLD_EVERY:
            self.last_beat = time.monotonic()
            with suppress(OSError, InputError):  # the answer does not depend on it
                self.store.beat(f"searcher {this_process()} {id(self)}", {"p99": self.p99, **self.histogram.figures})

    @property
    def p99(self) -> float:
        """99th percentile of recent query durations, in seconds."""
        return float(np.percentile(self.latencies, 99)) if self.latencies else 0.0


def check_k(k: object) -> None:
    """Check a number of items.

    Raises:
        InputError: not an integer, or below 1.
    """
    try:
        count = operator.index(k)  # type: ignore[arg-type]
    except TypeError as error:
        raise InputError(f"k: {k!r}, expected a whole number") from error
    if count < 1:
        raise InputError(f"k: {k}, expected at least 1")


def embed_queries(model: Embed, contents: Sequence[str], name: str, dim: int) -> np.ndarray:
    """Embed queries, (Q, D).

    Raises:
        InputError: an unreadable query, or embeddings of another dimension.
        ConnectionError: a service which does not answer.
        TimeoutError: a service which does not answer in time.
    """
    try:
        rows = embed(model, contents, name, dim)
    except (InputError, ConnectionError, TimeoutError):
        raise
    except Exception as error:  # a model may raise anything
        if is_transient(error, passing(model)):
            raise ConnectionError(f"models.{name}: {describe_error(error)}, expected a model which answers") from error
        raise InputError(f"content: {describe_error(error)}, expected queries which the {name} model reads") from error
    if not np.isfinite(rows).all():
        content = contents[int(np.flatnonzero(~np.isfinite(rows).all(1))[0])]
        raise InputError(f"content: {content!r} is NaN or infinite to the {name} model, expected finite embeddings")
    return rows


def merge_hits(
    found: Mapping[str, tuple[np.ndarray, Candidates]],
    row: int,
    merge: Merge | None,
    distance: Distance,
    k: int,
    scales: Tensor | None = None,
) -> list[Hit]:
    """Merge a query's lists and return the first k hits; at equal distance the new part comes first, then by id.

    Distances are standardised by the query's scales (2, 2), if it has any.
    """
    hits: list[Hit] = []
    for part in ("new", "old"):
        if part not in found:
            continue
        queries, its = found[part]
        at = its.nearest[row][its.nearest[row] >= 0]
        if len(at) == 0:
            continue
        apart = distances(torch.from_numpy(queries[row][None]), torch.from_numpy(its.vectors[at]), distance)[0].numpy()
        if scales is not None:
            apart = standardised(torch.from_numpy(apart)[None], scales[[int(part == "new")]])[0].numpy()
        elif merge is not None and merge.by_rank:
            apart = np.searchsorted(np.sort(apart), apart, side="right")
        elif merge is not None and merge.scales is not None:
            apart = merge.scales[part == "new"](apart)
        hits += [Hit(its.ids[n], float(d), part, its.meta[n]) for n, d in zip(at, apart, strict=True)]
    first = {hit.id: hit for hit in reversed(hits)}
    kept = (hit for hit in hits if first[hit.id] is hit)
    return sorted(kept, key=lambda hit: (hit.distance, hit.part == "old", hit.id))[:k]
