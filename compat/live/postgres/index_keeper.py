"""HNSW indexes of large tables of vectors: built, measured and rebuilt while items come and go."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from psycopg import Cursor

from compat.live.items import Column, Journal
from compat.live.postgres.connection import SNAPSHOT, PostgresConnection
from compat.live.postgres.index import WIDTHS, PostgresIndex, index_of
from compat.live.store import GROWTH, NEAREST, Approximate

CLASS = {"cosine": "vector_cosine_ops", "l2": "vector_l2_ops"}
WIDEST = 2000  # maximum dimension of pgvector's index; larger parts are scanned
TRIED = 50  # vectors for measuring recall, half of them the latest
GROWN = 1.1  # growth of the table after which recall is measured again
LATEST = 10  # the last 1/10 of a table's blocks has the latest vectors
LOOK_EVERY = 30.0  # seconds between two checks of the parts' sizes
# a standby server, or an index change or vacuum in progress: left to the next check
BUSY = """SELECT pg_is_in_recovery() OR EXISTS (SELECT 1 FROM pg_locks WHERE relation = %s::regclass
    AND mode = 'ShareUpdateExclusiveLock' AND pid <> pg_backend_pid())"""
VALID = "EXISTS (SELECT 1 FROM pg_index WHERE indexrelid = to_regclass(%s) AND indisvalid)"
KNOWN = f"SELECT items, ef FROM near WHERE part = %s AND {VALID}"
NOTE = f"INSERT INTO near SELECT * FROM (SELECT %s, %s::bigint, %s::int, %s, %s::bigint) WHERE {VALID}"


class IndexKeeper:
    """Maintains an index for each large table of vectors, in a thread with its own connection.

    An index is built when the table exceeds the limit, and used once its measured recall suffices. It is measured again
    when the table has grown by a tenth, and rebuilt when its recall no longer suffices. It stays during a migration, as
    it still finds the remaining items. Of several processes only one maintains it.

    Args:
        url: address of the store.
        approximate: number of items above which an index is built, and its recall.
    """

    def __init__(self, url: str, approximate: Approximate) -> None:
        self.approximate = approximate
        self.link = PostgresConnection(url)
        self.thread: threading.Thread | None = None
        self.last_start = -LOOK_EVERY

    def start_if_due(self, columns: Sequence[Column]) -> None:
        """Maintain the indexes of these columns in the thread, if the last time is long enough ago."""
        busy = self.thread is not None and self.thread.is_alive()
        if not busy and time.monotonic() - self.last_start >= LOOK_EVERY:
            self.last_start = time.monotonic()
            self.thread = threading.Thread(target=self.keep_quietly, args=(columns,), daemon=True)
            self.thread.start()

    def close(self) -> None:
        """Cancel the thread's work; a partial index is not used, and the next run drops it."""
        if self.thread is not None and self.thread.is_alive():
            if (connection := self.link.open) is not None:
                connection.cancel()
            self.thread.join()

    def keep(self, columns: Sequence[Column]) -> None:
        """Maintain the indexes of these columns now."""
        with self.link.lock:
            try:
                for column in columns:
                    self._keep(column)
            finally:
                self.link.close()

    def keep_quietly(self, columns: Sequence[Column]) -> None:
        """Maintain the indexes, ignoring errors; parts are then scanned."""
        try:
            self.keep(columns)
        except (OSError, ValueError):  # the next check retries
            self.last_start = time.monotonic()

    def _keep(self, column: Column) -> None:
        link, above = self.link, self.approximate.above
        with link.transaction(SNAPSHOT) as cursor:
            journal, part = link.journal, index_of(link, column, link.journal)
            if part is None or cursor.execute(BUSY, (part.table,)).fetchone() != (False,):
                return
            index = f"near_{part.table}"
            known = cursor.execute(KNOWN, (part.table, index)).fetchone()
            items = count_rows(cursor, part.table)
            here = count_rows(cursor, part.over) if part.over else items
        if items <= above or journal.dim_of(column) > WIDEST:
            return drop(link, part.table) if known is not None else None
        if known is None:
            build(link, part.table, journal)
        measured, width = known or (0, 0)
        if not items / GROWN <= measured <= items * GROWTH:
            measured, width = items, measure(link, part, self.approximate.recall)
            if known is not None and width == 0:
                rebuild(link, part.table)
                width = measure(link, part, self.approximate.recall)
        with link.transaction() as cursor:
            cursor.execute("DELETE FROM near WHERE part = %s", (part.table,))
            cursor.execute(NOTE, (part.table, measured, width, part.over, here if here > above else 0, index))


def count_rows(cursor: Cursor[Any], table: str) -> int:
    return (cursor.execute(f"SELECT count(*) FROM {table}").fetchone() or (0,))[0]


def build(link: PostgresConnection, table: str, journal: Journal) -> None:
    """Build a table's index while the store is in use."""
    drop(link, table)
    link.execute_alone(
        f'CREATE INDEX CONCURRENTLY IF NOT EXISTS near_{table} ON "{link.schema}".{table}'
        f" USING hnsw (vector {link.extension}.{CLASS[journal.distance]})"
    )


def rebuild(link: PostgresConnection, table: str) -> None:
    """Rebuild an index without deleted entries; the present one serves until then."""
    drop(link, table, "_ccnew", "_ccold")
    link.execute_alone(f'REINDEX INDEX CONCURRENTLY "{link.schema}".near_{table}')


def drop(link: PostgresConnection, table: str, *ends: str) -> None:
    """Drop a table's index and remains of interrupted builds, or only those with such suffixes.

    Raises:
        Undone: another process is working on it, or holds a lock on the table for too long.
    """
    with link.transaction() as cursor:
        cursor.execute("SET LOCAL lock_timeout = '100ms'")
        cursor.execute(f"LOCK TABLE {table} IN SHARE UPDATE EXCLUSIVE MODE")
        for end in ends or ("", "_ccnew", "_ccold"):
            cursor.execute(f"DROP INDEX IF EXISTS near_{table}{end}")
        if not ends:
            cursor.execute("DELETE FROM near WHERE part = %s", (table,))


def measure(link: PostgresConnection, part: PostgresIndex, recall: float) -> int:
    """Return the least search width at which the index loses at most half of the allowed recall; 0 if none does.

    Vectors of the whole table and the latest ones are measured separately.
    """
    whole = part._replace(over=None)

    def step(cursor: Cursor[Any]) -> int:
        tried = [some for some in (draw_vectors(cursor, part.table), draw_latest(cursor, part.table)) if some]
        exact = [[whole.nearest(cursor, query, NEAREST, {}) for query in some] for some in tried]
        for width in WIDTHS:
            its = whole._replace(width=width)
            lists = [[its.nearest(cursor, query, NEAREST, {}) for query in some] for some in tried]
            if min((mean_recall(a, b) for a, b in zip(lists, exact, strict=True)), default=0.0) >= (1 + recall) / 2:
                return width
        return 0

    return link.read(step)


def mean_recall(lists: list[list[int]], exact: list[list[int]]) -> float:
    """Return the mean share of the exact nearest rows which were found."""
    return float(np.mean([len(np.intersect1d(a, b)) / max(len(b), 1) for a, b in zip(lists, exact, strict=True)]))


def draw_vectors(cursor: Cursor[Any], table: str) -> list[np.ndarray]:
    """Draw vectors of a table from random rows on."""
    last = (cursor.execute(f"SELECT max(row) FROM {table}").fetchone() or (0,))[0] or 0
    one = f"SELECT vector FROM {table} WHERE row >= %s ORDER BY row LIMIT 1"
    rows = np.random.default_rng(1).integers(0, last + 1, TRIED // 2).tolist()
    return [found[0] for row in rows if (found := cursor.execute(one, (row,)).fetchone())]


def draw_latest(cursor: Cursor[Any], table: str) -> list[np.ndarray]:
    """Draw some of the latest vectors: the server writes them to the end of a table's file."""
    size = "SELECT pg_relation_size(%s::regclass) / current_setting('block_size')::int"
    blocks = (cursor.execute(size, (table,)).fetchone() or (0,))[0]
    one = f"SELECT vector FROM {table} WHERE ctid >= format('(%%s,0)', %s::bigint)::tid LIMIT 1 OFFSET %s"
    generator = np.random.default_rng(2)
    some = [
        (int(generator.integers(blocks - blocks // LATEST - 1, blocks)), int(generator.integers(8)))
        for _ in range(TRIED // 2)
    ]
    return [found[0] for where in some if (found := cursor.execute(one, where).fetchone())]
