"""Nearest items in PostgreSQL: by a scan of a small part, by its table's index above."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from psycopg import Cursor
from psycopg.types.json import Jsonb

from compat.engine.exact import Distance
from compat.live.items import Candidates, Column, Journal
from compat.live.postgres.connection import PostgresConnection
from compat.live.postgres.values import to_json
from compat.live.sql import table_of
from compat.live.store import Ask, Where

OPERATOR = {"cosine": "<=>", "l2": "<->"}
WIDTHS = (40, 80, 160, 320, 640, 1000)  # values of pgvector's `ef_search`
FEW = 20_000  # vectors an index search visits at most, before a scan takes over
# force the index, with an iterative scan, and look up the joined rows
INDEXED = {
    "enable_seqscan": "off",
    "enable_sort": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_bitmapscan": "off",
    "hnsw.iterative_scan": "strict_order",
    "hnsw.max_scan_tuples": str(FEW),
}


ORTHOGONAL = 2**0.5  # distance of orthogonal unit vectors, and of a zero vector to all
TINY = 1e-300  # below any length but 0


class PostgresIndex(NamedTuple):
    """The items searched by a column.

    Attributes:
        table: table of their vectors, which may hold others.
        over: table of the items not migrated, to which the search is restricted; None: no restriction.
        distance: distance of the retrieval.
        extension: schema of pgvector.
        width: search width of the index; 0: do not use it.
    """

    table: str
    over: str | None
    distance: Distance
    extension: str
    width: int = 0

    def nearest(self, cursor: Cursor[Any], query: np.ndarray, k: int, where: Where) -> list[int]:
        """Return the rows of the k items nearest to a query (D,), by the index if it has a width, else by a scan.

        If the index finds fewer than k, as too many items are migrated or filtered out, the part is scanned.
        """
        joins, tests = f"JOIN {self.over} l ON l.row = v.row" if self.over else "", ["true"]
        if where:
            joins += " JOIN items i ON i.row = v.row"
            tests = ["coalesce(i.meta -> %s::text, 'null') = ANY(%s::jsonb[])" for _ in where]
        bound = [part for name, value in where.items() for part in (name, equal_values(value))]
        if self.width:
            width = max(self.width, min(2 * k, WIDTHS[-1]))
            cursor.execute(set_parameters({**INDEXED, "hnsw.ef_search": str(width)}))
        distant = f"(v.vector OPERATOR({self.extension}.{OPERATOR[self.distance]}) %s)"
        order = distant if self.width else f"{distant} + 0.0"  # a sum cannot use the index
        if not self.width and self.distance == "cosine":  # products cannot tell nearly equal vectors apart
            unit = f"({self.extension}.l2_normalize(v.vector) OPERATOR({self.extension}.<->) %s)"
            order = f"CASE WHEN {self.extension}.vector_norm(v.vector) > 0 THEN {unit} ELSE {ORTHOGONAL} END"
            query = query / max(float(np.linalg.norm(query.astype(np.float64))), TINY)
        select = f"SELECT v.row FROM {self.table} v {joins} WHERE {' AND '.join(tests)} ORDER BY {order} LIMIT %s"
        rows = [row for (row,) in cursor.execute(select, (*bound, query.astype(np.float32), k))]
        if self.width:
            cursor.execute(set_parameters({name: "on" for name, value in INDEXED.items() if value == "off"}))
            if len(rows) < k:
                return self._replace(width=0).nearest(cursor, query, k, where)
        return rows


def set_parameters(values: dict[str, str]) -> str:
    """Return a SELECT which sets parameters for the rest of a transaction."""
    return "SELECT " + ", ".join(f"set_config('{name}', '{value}', true)" for name, value in values.items())


def index_of(link: PostgresConnection, column: Column, journal: Journal) -> PostgresIndex | None:
    """Return a column's part, without an index; None if there is none."""
    name = table_of(column, journal)
    if name is None:
        return None
    over = None if column == "new" or journal.new_generation is None else f"lacking_{journal.new_generation}"
    return PostgresIndex(name, over, journal.distance, link.extension)


def search(link: PostgresConnection, cursor: Cursor[Any], ask: Ask, k: int, where: Where) -> Candidates:
    """Find the nearest items of a part, in the cursor's transaction."""
    part, count = index_of(link, ask.column, link.journal), len(ask.queries)
    if part is None:
        return Candidates([], [], np.empty((0, ask.queries.shape[1]), np.float32), np.full((count, 0), -1))
    part = part._replace(width=search_width(cursor, part, k))
    lists = [part.nearest(cursor, query, k, where) for query in ask.queries]
    rows = np.unique(np.array([row for found in lists for row in found], np.int64))
    select = (
        f"SELECT i.id, i.meta, v.vector FROM {part.table} v JOIN items i ON i.row = v.row"
        " WHERE v.row = ANY(%s) ORDER BY v.row"
    )
    known = cursor.execute(select, (rows.tolist(),)).fetchall() if len(rows) else []
    places = np.full((count, max(map(len, lists), default=0)), -1)
    for place, found in zip(places, lists, strict=True):
        place[: len(found)] = np.searchsorted(rows, found)
    vectors = np.array([vector for *_, vector in known], np.float32).reshape(len(known), ask.queries.shape[1])
    return Candidates([id for id, *_ in known], [meta for _, meta, _ in known], vectors, places)


def equal_values(value: Any) -> list[Jsonb]:
    """List the JSON values equal to a filter's value: 1 and true are equal in a filter, but not in JSON."""
    return [to_json(value), *(to_json(other) for other in (True, False, 1, 0) if other == value)]


def search_width(cursor: Cursor[Any], part: PostgresIndex, k: int) -> int:
    """Return the search width of a part's index; 0 if no index is good enough, or few items are left."""
    found = cursor.execute("SELECT ef, over, here FROM near WHERE part = %s", (part.table,)).fetchone()
    if found is None or k > WIDTHS[-1]:
        return 0
    ef, over, here = found
    return 0 if over == part.over and here == 0 else ef
