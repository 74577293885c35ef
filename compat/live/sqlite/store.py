"""The embedded store: SQLite holds the data, a FAISS index of each part's vectors in memory follows it."""

from __future__ import annotations

import json
import operator
import secrets
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace as changed
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from compat.errors import InputError
from compat.live import sql
from compat.live.checks import (
    check_adding,
    check_fields,
    check_item,
    check_meta,
    check_moment,
    check_phase,
    check_report,
    check_text,
    check_way,
)
from compat.live.items import (
    Candidates,
    Column,
    Counts,
    Entry,
    Item,
    Journal,
    Report,
    StoredGallery,
    Turn,
    Work,
    new_store,
    new_version,
)
from compat.live.process import is_dead
from compat.live.sqlite import generations
from compat.live.sqlite.backup import copy_store
from compat.live.sqlite.file import (
    SqliteConnection,
    check_unchanged,
    dump_json,
    pack,
    read_journal,
    replace_journal,
    unpack,
    unpack_many,
)
from compat.live.sqlite.heartbeats import Heartbeats
from compat.live.store import DEFAULT, Approximate, Ask, Capability, Conflict, Where
from compat.live.throttle import repeat_with_pauses

if TYPE_CHECKING:
    from compat.live.sqlite.indexes import SqliteIndexes

AT_ONCE = 2048  # rows collected before they are written
CHUNK = 500  # rows written in one background transaction
OPEN = "FROM {} l JOIN items i ON i.row = l.row WHERE l.failure IS NULL"
ADDING = """CREATE TEMP TABLE {} (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, content TEXT NOT NULL,
    meta TEXT NOT NULL, version INTEGER NOT NULL, old BLOB)"""
PUT = """INSERT INTO items (id, content, meta, version) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE
    SET content = excluded.content, meta = excluded.meta, version = excluded.version RETURNING row"""
UPSERT = """INSERT INTO {} (row, place, vector) VALUES (?, -1, ?) ON CONFLICT (row) DO UPDATE
    SET place = -1, vector = excluded.vector"""


class SqliteStore:
    """A store in one file, without a server, for several processes at once.

    Every write is one transaction, durable on return (`synchronous=FULL`); after a kill it is there completely or not
    at all. A search first applies the changes committed since the last one, from a log kept by triggers, and then sees
    one state of the file. Heartbeats are in a file of their own, `<path>-beats`.

    A read-only store answers queries and refuses writes; in a read-only folder the file must have no pending
    write-ahead log. A deleted or replaced file is detected before the next answer. A process stopped within a
    transaction blocks writes, which then fail, but no queries.

    Args:
        path: path of the file.
        approximate: when and how well to search approximately.
    """

    capabilities: ClassVar[frozenset[Capability]] = frozenset({"compare and set", "snapshot", "many workers"})

    def __init__(self, path: str | Path, approximate: Approximate = DEFAULT) -> None:
        self.path, self.approximate = Path(path), approximate
        self.link, self.heartbeats = SqliteConnection(self.path), Heartbeats(self.path)
        self.transaction = self.link.transaction
        self.loaded: SqliteIndexes | None = None

    @property
    def indexes(self) -> SqliteIndexes:
        """Indexes, imported on first search, as reads and writes need no torch."""
        if self.loaded is None:
            from compat.live.sqlite.indexes import SqliteIndexes

            self.loaded = SqliteIndexes(self.path, self.approximate)
        return self.loaded

    def create(self, journal: Journal) -> None:
        self.link.make(changed(journal, store=journal.store or new_store()))

    def add(self, items: Iterable[Item]) -> int:
        """Collect the items in a temporary table first, so a slow source of items blocks no writer."""
        journal, left, count = self.journal(), iter(items), 0
        check_adding(journal)
        name = f"adding_{secrets.token_hex(8)}"
        with self.link.staging_table(ADDING, name) as (stage, here):
            while some := list(islice(left, AT_ONCE)):
                for item in some:
                    check_item(item, journal)
                rows = ((i.id, i.content, dump_json(i.meta), i.version or new_version(), pack(i.old)) for i in some)
                stage(rows)
                count += len(some)
            with here(), self.transaction() as cursor:
                if (now := read_journal(cursor)).dim != journal.dim:
                    raise InputError(f"add: dimension is now {now.dim}, expected {journal.dim} as before")
                self._add(cursor, name, now)
        return count

    def _add(self, cursor: sqlite3.Cursor, name: str, journal: Journal) -> None:
        check_adding(journal)
        if twice := cursor.execute(f"SELECT id FROM {name} JOIN items USING (id)").fetchone():
            raise InputError(f"id: {twice[0]!r} twice, expected each item once")
        cursor.execute(
            f"INSERT INTO items (id, content, meta, version) SELECT id, content, meta, version FROM {name}"
            " ORDER BY number"
        )
        old, missing, new = (
            sql.table_of("old", journal),
            sql.lacking_table("old", journal),
            sql.lacking_table("new", journal),
        )
        of = f"FROM {name} a JOIN items i USING (id)"
        cursor.execute(f"INSERT INTO {missing} SELECT i.row, -1, NULL {of} WHERE a.old IS NULL")
        cursor.execute(f"INSERT INTO {old} SELECT i.row, -1, a.old {of} WHERE a.old IS NOT NULL")
        if new:
            cursor.execute(f"INSERT INTO {new} SELECT i.row, -1, NULL {of}")

    def journal(self) -> Journal:
        return self.link.journal()

    def amend(self, before: Journal, after: Journal, fit: bytes | None = None) -> None:
        with self.transaction() as cursor:
            replace_journal(cursor, before, after)
            if fit is not None:
                row = (after.migration, after.learned, fit)
                if cursor.execute("INSERT OR IGNORE INTO fits VALUES (?, ?, ?)", row).rowcount == 0:
                    raise Conflict

    def fit(self, journal: Journal) -> bytes | None:
        with self.transaction("DEFERRED") as cursor:
            select = "SELECT content FROM fits WHERE migration = ? AND learned = ?"
            found = cursor.execute(select, (journal.migration, journal.learned)).fetchone()
        return None if found is None else found[0]

    def history(self, count: int) -> list[Entry]:
        with self.transaction("DEFERRED") as cursor:
            rows = cursor.execute("SELECT at, who, version, changes FROM history ORDER BY seq DESC LIMIT ?", (count,))
            return [Entry(at, who, version, json.loads(changes)) for at, who, version, changes in rows]

    def put(self, item: Item, during: Journal) -> None:
        with self.transaction() as cursor:
            journal = read_journal(cursor)
            check_phase(journal, during)
            check_item(item, journal)
            (row,) = cursor.execute(PUT, (item.id, item.content, dump_json(item.meta), item.version)).fetchone()
            for column, vector in (("old", item.old), ("new", item.new)):
                self._set(cursor, journal, column, row, pack(vector))  # type: ignore[arg-type]
            if bridge := sql.table_of("bridge", journal):
                cursor.execute(f"DELETE FROM {bridge} WHERE row = ?", (row,))
                if item.bridge is not None:
                    cursor.execute(f"INSERT INTO {bridge} VALUES (?, ?)", (row, pack(item.bridge)))

    def _set(self, cursor: sqlite3.Cursor, journal: Journal, column: Column, row: int, vector: bytes | None) -> None:
        """Write a vector of a generation or its absence; the item has no place in the order."""
        if (vectors := sql.table_of(column, journal)) is None:
            return
        if vector is not None:
            cursor.execute(UPSERT.format(vectors), (row, vector))
            return
        cursor.execute(f"DELETE FROM {vectors} WHERE row = ?", (row,))
        cursor.execute(f"INSERT OR REPLACE INTO {sql.lacking_table(column, journal)} VALUES (?, -1, NULL)", (row,))

    def describe(self, id: str, meta: Mapping[str, Any]) -> bool:
        check_meta(id, meta)
        with self.transaction() as cursor:
            cursor.execute("UPDATE items SET meta = ? WHERE id = ?", (dump_json(meta), id))
            return cursor.rowcount == 1

    def delete(self, id: str) -> bool:
        with self.transaction() as cursor:
            cursor.execute("DELETE FROM items WHERE id = ?", (check_text("id", id),))
            return cursor.rowcount == 1

    def get(self, id: str) -> Item | None:
        with self.transaction("DEFERRED") as cursor:
            found = self._items(cursor, "WHERE i.id = ?", (check_text("id", id),))
        return found[0] if found else None

    def exchange(self, report: Report, count: int, lease: float, below: int | None = None) -> Turn:
        now = time.time()
        if report.figures:
            with suppress(OSError):  # figures are not worth a batch
                self.beat(report.worker, report.figures)
        with self.transaction() as cursor:
            journal = read_journal(cursor)
            ours = journal.migration == report.migration
            written = 0
            if ours and journal.accepts_vectors:
                check_report(report, journal.new_dim)
                written = self._write_report(cursor, report, journal)
            cursor.execute("DELETE FROM claims WHERE worker = ? OR until < ?", (report.worker, now))
            for (worker,) in cursor.execute("SELECT DISTINCT worker FROM claims").fetchall():
                if is_dead(worker):
                    cursor.execute("DELETE FROM claims WHERE worker = ?", (worker,))
            if (queue := sql.lacking_table("new", journal)) is None:
                return Turn(written, [], cursor.execute("SELECT 1 FROM items LIMIT 1").fetchone() is not None)
            limit, of = 2**62 if below is None else below, f"{OPEN.format(queue)} AND l.place < ?"
            left = cursor.execute(f"SELECT 1 {of} LIMIT 1", (limit,)).fetchone() is not None
            if not ours or journal.phase != "running" or count < 1:
                return Turn(written, [], left)
            work = cursor.execute(
                f"SELECT i.row, i.id, i.version, i.content {of} AND l.row NOT IN (SELECT row FROM claims)"
                " ORDER BY l.place, l.row LIMIT ?",
                (limit, count),
            ).fetchall()
            claims = ((row, report.worker, now + lease) for row, *_ in work)
            cursor.executemany("INSERT INTO claims VALUES (?, ?, ?)", claims)
            return Turn(written, [Work(*rest) for _, *rest in work], left)

    def _write_report(self, cursor: sqlite3.Cursor, report: Report, journal: Journal) -> int:
        """Write a worker's report, and return the number of vectors written."""
        vectors, queue = sql.table_of("new", journal), sql.lacking_table("new", journal)
        done = [(pack(vector), id, version) for id, version, vector in report.done]
        move = (
            f"INSERT INTO {vectors} SELECT i.row, l.place, ? FROM items i JOIN {queue} l ON l.row = i.row"
            " WHERE i.id = ? AND i.version = ?"
        )
        written = cursor.executemany(move, done).rowcount if done else 0
        dead = [(reason, id, version) for id, version, reason in report.failed]
        item = "(SELECT row FROM items WHERE id = ? AND version = ?)"
        cursor.executemany(f"UPDATE {queue} SET failure = ? WHERE row = {item}", dead)
        return written

    def pending(self, count: int, after: Work | None = None) -> list[Work]:
        place, id = (-2, "") if after is None else (after.place, after.id)
        with self.transaction("DEFERRED") as cursor:
            queue = sql.lacking_table("new", read_journal(cursor))
            if queue is None:
                return []
            select = (
                f"SELECT i.id, i.version, i.content, l.place {OPEN.format(queue)}"
                " AND l.place >= ? AND (l.place > ? OR i.id > ?) ORDER BY l.place, i.id LIMIT ?"
            )
            return [Work(*row) for row in cursor.execute(select, (place, place, id, count))]

    def retry(self) -> int:
        with self.transaction() as cursor:
            if (queue := sql.lacking_table("new", read_journal(cursor))) is None:
                return 0
            return cursor.execute(f"UPDATE {queue} SET failure = NULL WHERE failure IS NOT NULL").rowcount

    def beat(self, name: str, figures: Mapping[str, float]) -> None:
        self.heartbeats.write(name, figures)

    def beats(self, since: float) -> dict[str, Mapping[str, float]]:
        return self.heartbeats.read(since)

    def counts(self) -> Counts:
        with self.transaction("DEFERRED") as cursor:
            journal = read_journal(cursor)

            def count(of: str) -> int:
                return cursor.execute(f"SELECT count(*) FROM {of}").fetchone()[0]

            total, without_old, queue = (
                count("items"),
                sql.lacking_table("old", journal),
                sql.lacking_table("new", journal),
            )
            if queue is None:
                return Counts(total, 0, total, 0, count(str(without_old)))
            failed = count(f"{queue} WHERE failure IS NOT NULL")
            pending = count(f"{queue} WHERE failure IS NULL")
            unserved = failed + pending
            if journal.bridged:
                unserved = count(
                    f"{queue} l WHERE NOT EXISTS (SELECT 1 FROM bridge_{journal.migration} b WHERE b.row = l.row)"
                )
            elif without_old:
                unserved = count(f"{queue} JOIN {without_old} USING (row)")
        return Counts(total, total - pending - failed, pending, failed, unserved)

    def without_old(self, count: int) -> list[Work]:
        with self.transaction("DEFERRED") as cursor:
            if (without_old := sql.lacking_table("old", read_journal(cursor))) is None:
                return []
            select = f"SELECT id, version, content FROM {without_old} JOIN items USING (row) LIMIT ?"
            return [Work(*row) for row in cursor.execute(select, (count,))]

    def sample(self, count: int) -> list[Item]:
        with self.transaction("DEFERRED") as cursor:
            if (vectors := sql.table_of("new", read_journal(cursor))) is None:
                return []
            first, last = cursor.execute(f"SELECT min(row), max(row) FROM {vectors}").fetchone()
            if first is None:
                return []

            def after(row: int, limit: int) -> list[int]:
                select = f"SELECT row FROM {vectors} WHERE row >= ? ORDER BY row LIMIT ?"
                return [found for (found,) in cursor.execute(select, (row, limit))]

            some = sql.draw_rows(first, last, count, after) if count else []
            return [item for row in some for item in self._items(cursor, "WHERE i.row = ?", (row,))]

    def misplaced(self, count: int, rows: int | None = None) -> list[str]:
        with self.transaction("DEFERRED") as cursor:
            journal = read_journal(cursor)
            some = sql.items_table(cursor.execute("SELECT max(row) FROM items").fetchone()[0], rows)
            selects = [sql.select_misplaced(column, journal, some) for column in ("old", "new")]
            found = [cursor.execute(f"{one} LIMIT ?", (count,)).fetchall() for one in selects if one]
        return [id for some in found for (id,) in some][:count]

    def scan(self, column: Column) -> Iterator[tuple[list[str], np.ndarray]]:
        last = 0
        while True:
            with self.transaction("DEFERRED") as cursor:
                journal = read_journal(cursor)
                if (select := sql.select_part(column, journal)) is None:
                    return
                some = cursor.execute(f"{select} AND v.row > ? ORDER BY v.row LIMIT ?", (last, AT_ONCE)).fetchall()
            if not some:
                return
            rows, ids, blobs = zip(*some, strict=True)
            last = rows[-1]
            yield list(ids), unpack_many(ids, blobs, journal.dim_of(column))

    def backup(self, path: str | Path) -> Journal:
        """Copy a consistent state of the store to a new file, with an id of its own; users can write meanwhile.

        Raises:
            InputError: the file exists.
        """
        return copy_store(self.link, Path(path))

    def failures(self, count: int) -> list[Item]:
        with self.transaction("DEFERRED") as cursor:
            if sql.lacking_table("new", read_journal(cursor)) is None:
                return []
            return self._items(cursor, "WHERE l.failure IS NOT NULL ORDER BY l.row LIMIT ?", (count,))

    def claims(self) -> dict[str, tuple[int, float]]:
        with self.transaction("DEFERRED") as cursor:
            rows = cursor.execute("SELECT worker, count(*), min(until) FROM claims GROUP BY worker").fetchall()
        return {worker: (count, until - time.time()) for worker, count, until in rows}

    def gallery(self, new: bool = False, old: bool = True) -> StoredGallery:
        ids: list[str] = []
        parts: list[tuple[np.ndarray, ...]] = []
        with self.transaction("DEFERRED") as cursor:
            journal = read_journal(cursor)
            dims = journal.dim if old else 0, journal.new_dim if new else 0
            blank, missing = b"", np.full(dims[1], np.nan, np.float32).tobytes()
            if select := sql.select_gallery(journal, new, old):
                cursor.execute(select)
                while some := cursor.fetchmany(AT_ONCE):
                    names, versions, places, before, after = zip(*some, strict=True)
                    ids += names
                    its = unpack_many(names, before if old else [blank] * len(names), dims[0])
                    others = unpack_many(names, [vector or missing for vector in after], dims[1])
                    parts.append((np.array(versions, np.int64), np.array(places, np.int64), its, others))
        empty = np.empty(0, np.int64), np.empty(0, np.int64)
        parts.append((*empty, *(np.empty((0, dim), np.float32) for dim in dims)))
        return StoredGallery(ids, *(np.concatenate(part) for part in zip(*parts, strict=True)))

    def place(self, ids: Sequence[str], before: Journal, after: Journal) -> None:
        """Prepare the order in a table of its own, chunk by chunk, and publish it by renaming the table."""
        place, name = {check_text("id", id): n for n, id in enumerate(ids)}, f"staged_{secrets.token_hex(8)}"
        with self.transaction() as cursor:
            check_unchanged(cursor, before)
            generations.stage(cursor, name)
        last, found = 0, "SELECT row, id FROM items WHERE row > ? ORDER BY row LIMIT ?"

        def some() -> bool:
            nonlocal last
            with self.transaction() as cursor:
                check_unchanged(cursor, before)  # otherwise another plan was faster and dropped this table
                if rows := cursor.execute(found, (last, CHUNK)).fetchall():
                    last = rows[-1][0]
                    placed = ((row, place.get(id, -1)) for row, id in rows)
                    cursor.executemany(f"INSERT OR REPLACE INTO {name} (row, place) VALUES (?, ?)", placed)
            return bool(rows)

        try:
            repeat_with_pauses(some)
            with self.transaction() as cursor:
                check_unchanged(cursor, before)
                generations.make(cursor, after.migration, name)
                replace_journal(cursor, before, after)
                for other in generations.abandoned_tables(cursor):
                    generations.drop(cursor, other)
                cursor.execute("DELETE FROM fits")
                cursor.execute("DELETE FROM claims")
        except BaseException:
            with suppress(OSError, InputError), self.transaction() as cursor:
                generations.drop(cursor, name)
            raise

    def fill(self, column: Column, rows: Iterable[tuple[str, int, np.ndarray]], during: Journal) -> int:
        values = [(pack(vector), check_text("id", id), version) for id, version, vector in rows]
        with self.transaction() as cursor:
            check_moment(journal := read_journal(cursor), during)
            if not values or (name := sql.table_of(column, journal)) is None:
                return 0
            into = "(row, vector) SELECT row, ?" if column == "bridge" else "(row, place, vector) SELECT row, -1, ?"
            write = (
                f"INSERT INTO {name} {into} FROM items WHERE id = ? AND version = ?"
                " ON CONFLICT (row) DO UPDATE SET vector = excluded.vector"
            )
            return cursor.executemany(write, values).rowcount

    def search(
        self, asks: Sequence[Ask], k: int, where: Where | None = None, during: Journal | None = None
    ) -> list[Candidates]:
        with self.transaction("DEFERRED") as cursor:
            check_way(journal := read_journal(cursor), during)
            allowed = None
            if filters := check_fields(where, journal):
                allowed = self.indexes.allowed_rows(cursor, filters)
            return [self.indexes.search(cursor, ask, operator.index(k), allowed, journal) for ask in asks]

    def warm(self, columns: Sequence[Column]) -> None:
        with self.transaction("DEFERRED") as cursor:
            parts = self.indexes.warm(cursor, columns, read_journal(cursor))
        for part in parts:
            part.wait()

    def revert(self, before: Journal, after: Journal) -> None:
        self._replace_if_complete("old", before, after)

    def drop_old(self, before: Journal, after: Journal) -> None:
        self._replace_if_complete("new", before, after)

    def advance(self, before: Journal, after: Journal) -> None:
        self.amend(before, after)

    def _replace_if_complete(self, column: Column, before: Journal, after: Journal) -> None:
        """Replace the journal, if every item has a vector of a column."""
        with self.transaction() as cursor:
            missing = sql.lacking_table(column, before)
            replace_journal(cursor, before, after)
            if cursor.execute(f"SELECT 1 FROM {missing} JOIN items USING (row) LIMIT 1").fetchone():
                raise Conflict

    def sweep(self, rows: int = CHUNK) -> bool:
        with self.transaction() as cursor:
            return generations.sweep(cursor, read_journal(cursor), rows)

    def size(self) -> int:
        files = (Path(f"{self.path}{end}") for end in ("", "-wal", "-shm", "-beats"))
        return sum(file.stat().st_size for file in files if file.is_file())

    def close(self) -> None:
        with self.link.lock:
            if self.loaded is not None:
                self.loaded.close()
            self.link.close()

    def _items(self, cursor: sqlite3.Cursor, where: str, values: Sequence[Any]) -> list[Item]:
        rows = cursor.execute(f"{sql.select_items(read_journal(cursor))} {where}", values).fetchall()
        return [
            Item(id, text, json.loads(meta), version, unpack(id, old), unpack(id, bridge), unpack(id, new), why)
            for id, text, meta, version, old, bridge, new, why in rows
        ]
