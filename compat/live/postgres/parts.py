"""Nearest items in PostgreSQL: by a scan while a part is small, by an index above that, kept and measured aside."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from psycopg import Cursor
from psycopg.types.json import Jsonb

from compat.engine.exact import Distance
from compat.live.items import Column, Found, Journal
from compat.live.postgres.link import SNAPSHOT, Link, json
from compat.live.postgres.schema import drop, forget
from compat.live.sql import belongs
from compat.live.store import GROWTH, NEAREST, Approximate, Ask, Where

OPERATOR = {"cosine": "<=>", "l2": "<->"}
CLASS = {"cosine": "vector_cosine_ops", "l2": "vector_l2_ops"}
WIDEST = 2000  # dimensions that pgvector's index takes; parts of more are scanned
WIDTHS = (40, 80, 160, 320, 640, 1000)  # candidates that a search of the index keeps, pgvector's `ef_search`
SCANNED = {"enable_indexscan": "off", "enable_seqscan": "on", "enable_sort": "on"}
TRIED = 50  # vectors that recall is measured with
VALID = "EXISTS (SELECT 1 FROM pg_index WHERE indexrelid = to_regclass('near_' || part) AND indisvalid)"
# a server that only follows another, or whoever changes indexes now; a vacuum too: then the next look does it
BUSY = """SELECT pg_is_in_recovery() OR EXISTS (SELECT 1 FROM pg_locks WHERE relation = 'items'::regclass
    AND mode = 'ShareUpdateExclusiveLock' AND pid <> pg_backend_pid())"""
LOOK_EVERY = 30.0  # seconds between two looks at how large the parts are


def search(cursor: Cursor[Any], ask: Ask, k: int, where: Where, journal: Journal, extension: str) -> Found:
    """The nearest items of a part, in the transaction of the cursor."""
    width = searched_with(cursor, ask.column, k, journal)
    lists = [nearest(cursor, ask.column, query, k, where, journal.distance, width, extension) for query in ask.queries]
    rows = np.unique(np.array([row for found in lists for row in found], np.int64))
    select = f"SELECT id, meta, {ask.column} FROM items WHERE row = ANY(%s) ORDER BY row"
    known = cursor.execute(select, (rows.tolist(),)).fetchall() if len(rows) else []
    places = np.full((len(lists), max(map(len, lists), default=0)), -1)
    for place, found in zip(places, lists, strict=True):
        place[: len(found)] = np.searchsorted(rows, found)
    vectors = np.array([vector for *_, vector in known], np.float32).reshape(len(known), ask.queries.shape[1])
    return Found([id for id, *_ in known], [meta for _, meta, _ in known], vectors, places)


def alike(value: Any) -> list[Jsonb]:
    """All that is equal to a value: JSON's 1 and true differ, where a filter's do not."""
    return [json(value), *(json(other) for other in (True, False, 1, 0) if other == value)]


def searched_with(cursor: Cursor[Any], column: Column, k: int, journal: Journal) -> int:
    """The width that a part's index is searched with; 0 if there is none that is good enough."""
    dim = journal.dim_of(column)
    found = cursor.execute("SELECT ef FROM near WHERE part = %s AND dim = %s", (column, dim)).fetchone()
    return found[0] if found is not None and 2 * k <= WIDTHS[-1] else 0


def nearest(
    cursor: Cursor[Any],
    column: Column,
    query: np.ndarray,
    k: int,
    where: Where,
    distance: Distance,
    width: int,
    extension: str,
) -> list[int]:
    """Rows of the k items of a part that are nearest to a query (D,), by a scan, or by the index if it has a width.

    An index that finds too few, as a filter leaves too little of what it goes through, is no answer: then by a scan.
    """
    of, tests = f"{column}::{extension}.vector({len(query)})" if width else column, [belongs(column)]
    if width:
        tests.append(f"{extension}.vector_dims({column}) = {len(query)}")
    tests += ["coalesce(meta -> %s::text, 'null') = ANY(%s::jsonb[])" for _ in where]
    bound = [part for name, value in where.items() for part in (name, alike(value))]
    for name, value in (settings(width, k) if width else SCANNED).items():
        cursor.execute("SELECT set_config(%s, %s, true)", (name, value))
    distant = f"{of} OPERATOR({extension}.{OPERATOR[distance]}) %s"
    select = f"SELECT row FROM items WHERE {' AND '.join(tests)} ORDER BY {distant} LIMIT %s"
    rows = [row for (row,) in cursor.execute(select, (*bound, query.astype(np.float32), k))]
    if width and len(rows) < k:
        return nearest(cursor, column, query, k, where, distance, 0, extension)
    return rows


def settings(width: int, k: int) -> dict[str, str]:
    """For the rest of a transaction: no way to the nearest items but by their index, which goes on until it has k."""
    found = {"hnsw.iterative_scan": "strict_order", "hnsw.ef_search": str(max(width, min(2 * k, WIDTHS[-1])))}
    return {"enable_indexscan": "on", "enable_seqscan": "off", "enable_sort": "off", **found}


class Keeper:
    """Keeps an index for each part that is large, by a thread and a connection of its own.

    It is made when a part outgrows the limit, searched only once it was measured to be good enough, made anew when the
    part has doubled or halved, and dropped when the part is small again. Of several processes one does it.

    Args:
        url: of the store.
        approximate: from how many items on, and how well.
    """

    def __init__(self, url: str, approximate: Approximate) -> None:
        self.approximate = approximate
        self.link = Link(url)
        self.thread: threading.Thread | None = None
        self.looked = -LOOK_EVERY

    def look(self, columns: Sequence[Column]) -> None:
        """See to the parts of these columns, every now and then, and without keeping the caller waiting."""
        busy = self.thread is not None and self.thread.is_alive()
        if not busy and time.monotonic() - self.looked >= LOOK_EVERY:
            self.looked = time.monotonic()
            self.thread = threading.Thread(target=self._keep_quietly, args=(columns,), daemon=True)
            self.thread.start()

    def close(self) -> None:
        """Break off what it does; the index that it leaves is not searched, and the next look drops it."""
        if self.thread is not None and self.thread.is_alive():
            if (connection := self.link.open) is not None:
                connection.cancel()
            self.thread.join()

    def keep(self, columns: Sequence[Column]) -> None:
        """See to the parts of these columns now."""
        with self.link.lock:
            try:
                with self.link.transaction() as cursor:
                    busy = cursor.execute(BUSY).fetchone()
                if busy == (False,):
                    for column in columns:
                        self._keep(self.link, column)
            finally:
                self.link.close()

    def _keep_quietly(self, columns: Sequence[Column]) -> None:
        try:
            self.keep(columns)
        except (OSError, ValueError):  # the next look is another chance; until then parts are scanned
            self.looked = time.monotonic()

    def _keep(self, link: Link, column: Column) -> None:
        with link.transaction() as cursor:
            journal = link.journal
            dim, above = journal.dim_of(column), self.approximate.above
            cursor.execute(f"SELECT count(*) FROM items WHERE {belongs(column)}")
            items = cursor.fetchone()[0]  # type: ignore[index]
            known = cursor.execute(f"SELECT dim, items FROM near WHERE part = %s AND {VALID}", (column,)).fetchone()
        wanted = items > above and 0 < dim <= WIDEST
        if wanted and known is not None and known[0] == dim and known[1] / GROWTH <= items <= known[1] * GROWTH:
            return
        if not wanted:
            return forget(link, [column]) if known is not None else None
        if known is not None and known[0] == dim:
            remake(link, column)
        else:
            make(link, column, dim, journal.distance)
        width = measure(link, column, journal, self.approximate.recall)
        with link.transaction() as cursor:
            cursor.execute("LOCK TABLE items IN ACCESS SHARE MODE")
            cursor.execute("DELETE FROM near WHERE part = %s", (column,))
            insert = f"INSERT INTO near SELECT * FROM (SELECT %s AS part, %s, %s, %s) WHERE {VALID}"
            cursor.execute(insert, (column, dim, items, width))


def make(link: Link, column: Column, dim: int, distance: Distance) -> None:
    """Make a part's index while the store is read and written. Vectors of another dimension do not disturb it."""
    forget(link, [column])
    link.outside(
        f'CREATE INDEX CONCURRENTLY near_{column} ON "{link.schema}".items USING hnsw'
        f" (({column}::{link.extension}.vector({dim})) {link.extension}.{CLASS[distance]})"
        f" WHERE {belongs(column)} AND {link.extension}.vector_dims({column}) = {dim}"
    )


def remake(link: Link, column: Column) -> None:
    """Make it anew without what is no longer in the part; the one that is there is searched until then."""
    drop(link, f"near_{column}_ccnew", f"near_{column}_ccold")  # of one that was cut short
    link.outside(f'REINDEX INDEX CONCURRENTLY "{link.schema}".near_{column}')


def measure(link: Link, column: Column, journal: Journal, recall: float) -> int:
    """The least width with which the index loses at most half of what it may of the nearest items; 0 if none does."""
    one = f"SELECT {column} FROM items WHERE row >= %s AND {belongs(column)} ORDER BY row LIMIT 1"
    with link.transaction(SNAPSHOT) as cursor:
        last = cursor.execute("SELECT max(row) FROM items").fetchone()[0] or 0  # type: ignore[index]
        rows = np.random.default_rng(1).integers(0, last + 1, TRIED).tolist()
        tried = [found[0] for row in rows if (found := cursor.execute(one, (row,)).fetchone())]
        exact = [nearest(cursor, column, query, NEAREST, {}, journal.distance, 0, link.extension) for query in tried]
        for width in WIDTHS:
            lists = [
                nearest(cursor, column, query, NEAREST, {}, journal.distance, width, link.extension) for query in tried
            ]
            found = [len(np.intersect1d(a, b)) / max(len(a), 1) for a, b in zip(lists, exact, strict=True)]
            if np.mean(found) >= (1 + recall) / 2:
                return width
    return 0
