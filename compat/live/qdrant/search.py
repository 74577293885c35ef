"""Nearest items of a part in Qdrant (experimental).

Two parts cannot be read at one moment. But under one migration's names items only move from the old part to the new
one, even during a rollback, which ends at once by dropping the names. So the old part is read first: an item is found
in one part or in both, never in none, and the searcher keeps the new part's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from compat.live.items import Candidates
from compat.live.qdrant.connection import READ, QdrantConnection, models
from compat.live.qdrant.points import JournalPoint, all_of, has_vector, raw_name, scale
from compat.live.store import Ask

AT_ONCE = 64  # queries of one request


def search(
    link: QdrantConnection, state: JournalPoint, ask: Ask, k: int, filters: Sequence[Any], above: int
) -> Candidates:
    """Find the k nearest items for each query of an ask.

    Args:
        link: connection to them.
        state: state with the names of the columns.
        ask: queries and column.
        k: number of items.
        filters: conditions on items.
        above: number of items above which a server's index is used.
    """
    name, dim = getattr(state, ask.column), ask.queries.shape[1]
    if name is None or len(ask.queries) == 0:
        return Candidates([], [], np.empty((0, dim), np.float32), np.empty((len(ask.queries), 0), np.int64))
    part = all_of([*has_vector(name), *filters], [] if ask.column == "new" else has_vector(state.new))
    params = None  # the engine in a folder is always exact
    if link.folder is None:
        exact = link("count", link.collection, part, exact=False).count <= above
        params = models.SearchParams(exact=exact)
    kept = raw_name(name, state.journal.distance)
    wanted: dict[str, Any] = {"limit": k, "with_payload": ["id", "meta"], "with_vector": [kept]}
    wanted |= {"using": name, "filter": part, "params": params}
    lists: list[Any] = []
    for start in range(0, len(ask.queries), AT_ONCE):
        rows = scale(ask.queries[start : start + AT_ONCE], state.journal.distance)
        requests = [models.QueryRequest(query=row.tolist(), **wanted) for row in rows]
        lists += [answer.points for answer in link("query_batch_points", link.collection, requests, **READ)]
    points = {point.id: point for some in lists for point in some}
    at = {id: row for row, id in enumerate(points)}
    nearest = np.full((len(lists), max(map(len, lists))), -1)
    for row, some in enumerate(lists):
        nearest[row, : len(some)] = [at[point.id] for point in some]
    return Candidates(
        [point.payload["id"] for point in points.values()],
        [point.payload["meta"] for point in points.values()],
        np.array([point.vector[kept] for point in points.values()], np.float32).reshape(len(points), dim),
        nearest,
    )
