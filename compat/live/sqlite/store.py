"""The embedded store: SQLite is the truth, each part's vectors are in memory in a FAISS index that follows it."""

from __future__ import annotations

import json
import operator
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from compat.errors import InputError
from compat.live.checks import check_fields, check_item, check_meta, check_moment, check_report
from compat.live.items import Column, Counts, Found, Gallery, Item, Journal, Pending, Report, Turn, Work, new_version
from compat.live.process import is_dead
from compat.live.sql import PENDING, WHOLE, drawn
from compat.live.sqlite.file import Link, dumped, packed, read_journal, replace, stacked, unpacked
from compat.live.store import DEFAULT, Approximate, Ask, Capability, Conflict, Where

if TYPE_CHECKING:
    from compat.live.sqlite.views import Views

WITH = "SELECT row FROM facets WHERE field = ? AND value = ?"
WITHOUT = "SELECT row FROM (SELECT row FROM items EXCEPT SELECT row FROM facets WHERE field = ?)"
AT_ONCE = 2048  # rows that are read before they are written
OLD_BEATS = 86_400.0  # seconds after which figures of a process are forgotten


class SqliteStore:
    """A store in one file, and no server. Several processes may work on it at once.

    Every write is one transaction, on disk when it returns (`synchronous=FULL`); of a process that is killed, by
    whatever, it is there whole or not at all. A search first takes up what was committed since the last one, from a log
    of changes that triggers keep, and then sees one state of the file.

    Args:
        path: of the file.
        approximate: when a part is searched approximately, and how well.
    """

    capabilities: ClassVar[frozenset[Capability]] = frozenset({"compare and set", "snapshot", "many workers"})

    def __init__(self, path: str | Path, approximate: Approximate = DEFAULT) -> None:
        self.path, self.approximate = Path(path), approximate
        self.link = Link(self.path)
        self.transaction = self.link.transaction

    @cached_property
    def views(self) -> Views:
        """Imported when something is searched for: what only reads or writes the file needs no torch."""
        from compat.live.sqlite.views import Views

        return Views(self.path, self.approximate)

    def create(self, journal: Journal) -> None:
        self.link.make(journal)

    def add(self, items: Iterable[Item]) -> int:
        journal, last = self.journal(), ""

        def rows() -> Iterator[tuple[Any, ...]]:
            nonlocal last
            for item in items:
                last = item.id
                check_item(item, journal)
                yield item.id, item.content, dumped(item.meta), item.version or new_version(), packed(item.old)

        with self.transaction() as cursor:
            try:
                cursor.executemany("INSERT INTO items (id, content, meta, version, old) VALUES (?, ?, ?, ?, ?)", rows())
            except sqlite3.IntegrityError as error:
                raise InputError(f"id: {last!r} twice, expected each item once") from error
            return cursor.rowcount

    def journal(self) -> Journal:
        return self.link.journal()

    def amend(self, before: Journal, after: Journal) -> None:
        with self.transaction() as cursor:
            replace(cursor, before, after)

    def put(self, item: Item, during: Journal) -> None:
        with self.transaction() as cursor:
            journal = read_journal(cursor)
            if (journal.migration, journal.phase) != (during.migration, during.phase):
                raise Conflict
            check_item(item, journal)
            vectors = packed(item.old), packed(item.bridge), packed(item.new)
            cursor.execute(
                "INSERT INTO items (id, content, meta, version, old, bridge, new) VALUES (?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET content = excluded.content, meta = excluded.meta, place = -1,"
                " version = excluded.version, failure = NULL, old = excluded.old, bridge = excluded.bridge,"
                " new = excluded.new",
                (item.id, item.content, dumped(item.meta), item.version, *vectors),
            )

    def describe(self, id: str, meta: Mapping[str, Any]) -> bool:
        check_meta(id, meta)
        with self.transaction() as cursor:
            cursor.execute("UPDATE items SET meta = ? WHERE id = ?", (dumped(meta), id))
            return cursor.rowcount == 1

    def delete(self, id: str) -> bool:
        with self.transaction() as cursor:
            cursor.execute("DELETE FROM items WHERE id = ?", (id,))
            return cursor.rowcount == 1

    def get(self, id: str) -> Item | None:
        found = self._items("WHERE id = ?", (id,))
        return found[0] if found else None

    def exchange(self, report: Report, count: int, lease: float, below: int | None = None) -> Turn:
        now = time.time()
        with self.transaction() as cursor:
            journal = read_journal(cursor)
            ours = journal.migration == report.migration
            written = 0
            if ours and journal.takes_in:
                check_report(report, journal.new_dim)
                done = [(packed(vector), id, version) for id, version, vector in report.done]
                dead = [(reason, id, version) for id, version, reason in report.dead]
                update = "UPDATE items SET {} WHERE id = ? AND version = ? AND new IS NULL"
                written = cursor.executemany(update.format("new = ?, failure = NULL"), done).rowcount if done else 0
                cursor.executemany(update.format("failure = ?"), dead)
            cursor.execute("DELETE FROM claims WHERE worker = ? OR until < ?", (report.worker, now))
            for (worker,) in cursor.execute("SELECT DISTINCT worker FROM claims").fetchall():
                if is_dead(worker):
                    cursor.execute("DELETE FROM claims WHERE worker = ?", (worker,))
            if report.figures:
                beat = (report.worker, now, dumped(report.figures))
                cursor.execute("INSERT OR REPLACE INTO beats VALUES (?, ?, ?)", beat)
            limit = 2**62 if below is None else below
            left = cursor.execute(f"SELECT 1 FROM items WHERE {PENDING} AND place < ? LIMIT 1", (limit,)).fetchone()
            if not ours or journal.phase != "running" or count < 1:
                return Turn(written, [], left is not None)
            work = cursor.execute(
                f"SELECT row, id, version, content FROM items WHERE {PENDING} AND place < ?"
                " AND row NOT IN (SELECT row FROM claims) ORDER BY place, row LIMIT ?",
                (limit, count),
            ).fetchall()
            claims = ((row, report.worker, now + lease) for row, *_ in work)
            cursor.executemany("INSERT INTO claims VALUES (?, ?, ?)", claims)
            return Turn(written, [Work(*rest) for _, *rest in work], left is not None)

    def pending(self, count: int, after: Pending | None = None) -> list[Pending]:
        place, id = (-2, "") if after is None else (after.place, after.id)
        select = (
            f"SELECT id, version, content, place FROM items WHERE {PENDING}"
            " AND place >= ? AND (place > ? OR id > ?) ORDER BY place, id LIMIT ?"
        )
        with self.transaction("DEFERRED") as cursor:
            return [Pending(*row) for row in cursor.execute(select, (place, place, id, count))]

    def retry(self) -> int:
        with self.transaction() as cursor:
            return cursor.execute("UPDATE items SET failure = NULL WHERE new IS NULL AND failure IS NOT NULL").rowcount

    def beat(self, name: str, figures: Mapping[str, float]) -> None:
        with self.transaction() as cursor:
            now = time.time()
            cursor.execute("DELETE FROM beats WHERE at < ?", (now - OLD_BEATS,))
            cursor.execute("INSERT OR REPLACE INTO beats VALUES (?, ?, ?)", (name, now, dumped(figures)))

    def beats(self, since: float) -> dict[str, Mapping[str, float]]:
        with self.transaction("DEFERRED") as cursor:
            rows = cursor.execute("SELECT name, figures FROM beats WHERE at > ?", (time.time() - since,)).fetchall()
        return {name: json.loads(figures) for name, figures in rows}

    def counts(self) -> Counts:
        with self.transaction("DEFERRED") as cursor:
            total, pending, failed, bare = (
                cursor.execute(f"SELECT count(*) FROM items {where}").fetchone()[0]
                for where in (
                    "",
                    f"WHERE {PENDING}",
                    "WHERE new IS NULL AND failure IS NOT NULL",
                    "WHERE new IS NULL AND old IS NULL",
                )
            )
        return Counts(total, total - pending - failed, pending, failed, bare)

    def without_old(self, count: int) -> list[Work]:
        with self.transaction("DEFERRED") as cursor:
            select = "SELECT id, version, content FROM items WHERE old IS NULL LIMIT ?"
            return [Work(*row) for row in cursor.execute(select, (count,))]

    def sample(self, count: int) -> list[Item]:
        """Found from random rows on."""
        with self.transaction("DEFERRED") as cursor:
            ends = "SELECT min(row), max(row) FROM items INDEXED BY migrated WHERE new IS NOT NULL"
            first, last = cursor.execute(ends).fetchone()
        if first is None:
            return []
        found = (
            self._items("INDEXED BY migrated WHERE row >= ? AND new IS NOT NULL ORDER BY row LIMIT 1", (row,))
            for row in drawn(first, last, count)
        )
        return list({item.id: item for some in found for item in some}.values())

    def failures(self, count: int) -> list[Item]:
        return self._items("WHERE new IS NULL AND failure IS NOT NULL ORDER BY row LIMIT ?", (count,))

    def claims(self) -> dict[str, tuple[int, float]]:
        with self.transaction("DEFERRED") as cursor:
            rows = cursor.execute("SELECT worker, count(*), min(until) FROM claims GROUP BY worker").fetchall()
        return {worker: (count, until - time.time()) for worker, count, until in rows}

    def gallery(self, new: bool = False) -> Gallery:
        with self.transaction("DEFERRED") as cursor:
            journal = read_journal(cursor)
            select = f"SELECT id, version, place, old, {'new' if new else 'NULL'} FROM items WHERE old IS NOT NULL"
            found = cursor.execute(f"{select} ORDER BY row").fetchall()
        ids, versions, places, old, after = zip(*found, strict=True) if found else [()] * 5
        missing = np.full(journal.new_dim if new else 0, np.nan, np.float32).tobytes()
        rows = stacked(ids, [vector or missing for vector in after], journal.new_dim if new else 0)
        return Gallery(
            list(ids),
            np.array(versions, np.int64),
            np.array(places, np.int64),
            stacked(ids, old, journal.dim),
            rows,
        )

    def place(self, ids: Sequence[str], before: Journal, after: Journal) -> None:
        place = {id: n for n, id in enumerate(ids)}
        with self.transaction() as cursor:
            replace(cursor, before, after)
            found, last = "SELECT row, id FROM items WHERE row > ? ORDER BY row LIMIT ?", 0
            while some := cursor.execute(found, (last, AT_ONCE)).fetchall():  # as the file has them: each page once
                last = some[-1][0]
                cursor.executemany("UPDATE items SET place = ? WHERE row = ?", ((place.get(i, -1), n) for n, i in some))

    def fill(self, column: Column, rows: Iterable[tuple[str, int, np.ndarray]], during: Journal) -> int:
        with self.transaction() as cursor:
            check_moment(read_journal(cursor), during)
            values = ((packed(vector), id, version) for id, version, vector in rows)
            return cursor.executemany(f"UPDATE items SET {column} = ? WHERE id = ? AND version = ?", values).rowcount

    def search(self, asks: Sequence[Ask], k: int, where: Where | None = None) -> list[Found]:
        with self.transaction("DEFERRED") as cursor:
            journal = read_journal(cursor)
            allowed = None
            if filters := check_fields(where, journal):
                tests = " INTERSECT ".join(WITHOUT if value is None else WITH for value in filters.values())
                bound = [part for pair in filters.items() for part in pair if part is not None]
                found = cursor.execute(tests, bound).fetchall()
                allowed = np.array(found, np.int64).reshape(-1)
            return [self.views.found(cursor, ask, operator.index(k), allowed, journal) for ask in asks]

    def revert(self, before: Journal, after: Journal) -> None:
        with self.transaction() as cursor:
            if cursor.execute("SELECT 1 FROM items WHERE old IS NULL").fetchone():
                raise Conflict
            cursor.execute("UPDATE items SET new = NULL, failure = NULL WHERE new IS NOT NULL OR failure IS NOT NULL")
            replace(cursor, before, after)

    def drop_old(self, before: Journal, after: Journal) -> None:
        with self.transaction() as cursor:
            if cursor.execute("SELECT 1 FROM items WHERE new IS NULL").fetchone():
                raise Conflict
            cursor.execute("UPDATE items SET old = NULL, bridge = NULL")
            replace(cursor, before, after)

    def advance(self, before: Journal, after: Journal) -> None:
        with self.transaction() as cursor:
            cursor.execute("UPDATE items SET old = new, new = NULL, bridge = NULL")
            replace(cursor, before, after)

    def size(self) -> int:
        files = (Path(f"{self.path}{end}") for end in ("", "-wal", "-shm"))
        return sum(file.stat().st_size for file in files if file.is_file())

    def close(self) -> None:
        with self.link.lock:
            if "views" in self.__dict__:
                self.views.close()
            self.link.close()

    def _items(self, where: str, values: Sequence[Any]) -> list[Item]:
        with self.transaction("DEFERRED") as cursor:
            rows = cursor.execute(f"SELECT {WHOLE} FROM items {where}", values).fetchall()
        return [
            Item(id, text, json.loads(meta), version, unpacked(id, old), unpacked(id, bridge), unpacked(id, new), why)
            for id, text, meta, version, old, bridge, new, why in rows
        ]
