"""Indexes of the embedded store in memory: one for each searched column, kept up to date with the file."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np

from compat.live.items import Candidates, Column, Journal
from compat.live.sql import table_of
from compat.live.sqlite.facets import Facets
from compat.live.sqlite.file import second_connection, unpack_many
from compat.live.sqlite.index import SqliteIndex
from compat.live.store import Approximate, Ask

AT_ONCE = 500  # values bound in one statement
CHUNK = 2**12  # vectors read at a time
MANY = 10_000  # changes beyond the part's size after which it is loaded again


class ColumnIndex:
    """An index, its table, the table whose items it hides, and the last change applied.

    Attributes:
        index: the vectors.
        name: name of their table.
        hidden: table of new embeddings, whose items belong to another part; None: no such table.
        whole: whether the index holds the vectors of hidden items too.
        seq: number of the last change applied.
    """

    def __init__(self, index: SqliteIndex, name: str, hidden: str | None, whole: bool, seq: int) -> None:
        self.index, self.name, self.hidden, self.whole, self.seq = index, name, hidden, whole, seq


class SqliteIndexes:
    """Indexes by column; an outgrown index is rebuilt by a thread and replaced when ready.

    Args:
        path: path of the file.
        approximate: see `SqliteIndex`.
    """

    def __init__(self, path: Path, approximate: Approximate) -> None:
        self.path, self.approximate = path, approximate
        self.columns: dict[Column, ColumnIndex] = {}
        self.builders: dict[Column, threading.Thread] = {}
        self.built: dict[Column, ColumnIndex] = {}
        self.facets = Facets()

    def allowed_rows(self, cursor: sqlite3.Cursor, where: Mapping[str, Any]) -> np.ndarray:
        """Return which rows pass a filter, by row number."""
        return self.facets.rows(cursor, where)

    def search(
        self, cursor: sqlite3.Cursor, ask: Ask, k: int, allowed: np.ndarray | None, journal: Journal
    ) -> Candidates:
        """Find the nearest items of a part, in the cursor's transaction."""
        name, dim = table_of(ask.column, journal), ask.queries.shape[1]
        if name is None:
            return Candidates([], [], np.empty((0, dim), np.float32), np.empty((len(ask.queries), 0), np.int64))
        nearest = self.current(cursor, ask.column, journal).index.search(ask.queries, k, allowed)
        rows, at = np.unique(nearest[nearest >= 0], return_inverse=True)
        places = np.full(nearest.shape, -1)
        places[nearest >= 0] = at
        known: dict[int, tuple[str, str, bytes]] = {}
        for start in range(0, len(rows), AT_ONCE):
            some = rows[start : start + AT_ONCE].tolist()
            marks = ", ".join("?" * len(some))
            select = (
                f"SELECT i.row, id, meta, vector FROM items i JOIN {name} v ON v.row = i.row WHERE i.row IN ({marks})"
            )
            known |= {row: rest for row, *rest in cursor.execute(select, some)}
        kept = [known[row] for row in rows.tolist()]
        ids = [id for id, *_ in kept]
        vectors = unpack_many(ids, [vector for *_, vector in kept], journal.dim_of(ask.column))
        return Candidates(ids, [json.loads(meta) for _, meta, _ in kept], vectors, places)

    def current(self, cursor: sqlite3.Cursor, column: Column, journal: Journal) -> ColumnIndex:
        """Return a column's index in the state of the file which the cursor sees."""
        if column in self.builders and not self.builders[column].is_alive():
            built = self.built.get(column)
            if built is None or built.seq <= last_change(cursor):  # otherwise it is ahead of this state
                del self.builders[column]
                if built is not None:
                    self.columns[column] = self.built.pop(column)
        view, name = self.columns.get(column), table_of(column, journal)
        if view is None or view.name != name:
            view = self._renamed(name)
        if view is None or not follow(cursor, view, hidden_table(column, journal)):
            view = load(cursor, column, journal, self.approximate)
        served = {table_of(each, journal) for each in get_args(Column)}
        self.columns = {each: its for each, its in self.columns.items() if its.name in served} | {column: view}
        if view.index.outgrown and column not in self.builders:
            thread = threading.Thread(target=self._build, args=(column, journal), daemon=True)
            self.builders[column] = thread
            thread.start()
        return view

    def warm(self, cursor: sqlite3.Cursor, columns: Sequence[Column], journal: Journal) -> list[SqliteIndex]:
        """Load the indexes of these columns and start building their lists."""
        parts = [self.current(cursor, column, journal).index for column in columns if table_of(column, journal)]
        for part in parts:
            part.update_lists()
        return parts

    def _renamed(self, name: str | None) -> ColumnIndex | None:
        """Return the index of a table which served as another column before, as new embeddings become old ones."""
        return next((view for view in self.columns.values() if view.name == name), None)

    def _build(self, column: Column, journal: Journal) -> None:
        with second_connection(self.path) as base:
            base.execute("BEGIN")
            self.built[column] = load(base.cursor(), column, journal, self.approximate)

    def close(self) -> None:
        """Wait for threads, and drop all indexes."""
        for thread in self.builders.values():
            thread.join()
        self.columns, self.builders, self.built, self.facets = {}, {}, {}, Facets()


def last_change(cursor: sqlite3.Cursor) -> int:
    """Return the number of the last change in the file; numbers are never reused."""
    return cursor.execute("SELECT coalesce(max(seq), 0) FROM changes").fetchone()[0]


def hidden_table(column: Column, journal: Journal) -> str | None:
    """Return the table whose items are not in a column's part."""
    return None if column == "new" else table_of("new", journal)


def load(cursor: sqlite3.Cursor, column: Column, journal: Journal, approximate: Approximate) -> ColumnIndex:
    """Load a column's index from the file."""
    seq, dim = last_change(cursor), journal.dim_of(column)
    name, hidden = str(table_of(column, journal)), hidden_table(column, journal)
    unless = f" WHERE v.row NOT IN (SELECT row FROM {hidden})" if hidden else ""
    whole = not hidden or cursor.execute(f"SELECT 1 FROM {hidden} LIMIT 1").fetchone() is None

    def chunks() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        cursor.execute(f"SELECT v.row, id, vector FROM {name} v JOIN items i ON i.row = v.row{unless}")
        while some := cursor.fetchmany(CHUNK):
            rows, ids, blobs = zip(*some, strict=True)
            yield np.array(rows, np.int64), unpack_many(ids, blobs, dim)

    return ColumnIndex(SqliteIndex.build(chunks(), dim, journal.distance, approximate), name, hidden, whole, seq)


def follow(cursor: sqlite3.Cursor, view: ColumnIndex, hidden: str | None) -> bool:
    """Apply the changes committed since; False if loading again is faster."""
    if view.hidden != hidden:
        if not view.whole:
            return False
        view.index.show(None)
        view.hidden = hidden
        if hidden:
            rows = cursor.execute(f"SELECT row FROM {hidden}").fetchall()
            view.index.hide(np.array(rows, np.int64).reshape(-1))
    seq = last_change(cursor)
    if seq == view.seq:
        return True
    first = cursor.execute("SELECT min(seq) FROM changes").fetchone()[0]
    if seq - view.seq > view.index.count + MANY or view.seq < first - 1:
        return False
    apply_changes(cursor, view)
    view.seq = seq
    return True


def apply_changes(cursor: sqlite3.Cursor, view: ColumnIndex) -> None:
    """Apply the logged changes of an index's table, and of the table whose items it hides."""
    covered = f"EXISTS (SELECT 1 FROM {view.hidden} n WHERE n.row = c.row)" if view.hidden else "0"
    changed = cursor.execute(
        f"SELECT c.row, c.own, {covered}, i.id, v.vector FROM (SELECT row, max(part = :own) AS own FROM changes"
        " WHERE seq > :seq AND part IN (:own, :over) GROUP BY row) c"
        f" LEFT JOIN {view.name} v ON v.row = c.row LEFT JOIN items i ON i.row = c.row",
        {"own": view.name, "over": view.hidden or view.name, "seq": view.seq},
    ).fetchall()
    hidden = [row for row, own, covers, *_ in changed if covers and not own]
    view.index.hide(np.array(hidden, np.int64))
    others = [line for line in changed if line[1] or not line[2]]
    here = [(row, id, vector) for row, _, covers, id, vector in others if vector is not None and not covers]
    view.whole = view.whole and not any(covers and own for _, own, covers, *_ in changed)
    view.index.remove(np.array([row for row, *_ in others], np.int64))
    rows, ids, blobs = zip(*here, strict=True) if here else [()] * 3
    view.index.add(np.array(rows, np.int64), unpack_many(ids, blobs, view.index.dim))
