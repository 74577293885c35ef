"""A store in PostgreSQL with pgvector: many processes and machines may work on it at once."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace as replaced
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from psycopg import Cursor, errors

from compat.errors import InputError
from compat.live.checks import check_fields, check_item, check_meta, check_moment, check_report, check_text
from compat.live.items import Column, Counts, Found, Gallery, Item, Journal, Pending, Report, Turn, Work, new_version
from compat.live.postgres.link import SNAPSHOT, Link, json, line, replace, told_as
from compat.live.postgres.schema import forget, make, turn
from compat.live.sql import PENDING, WHOLE, drawn
from compat.live.store import DEFAULT, Approximate, Ask, Capability, Conflict, Where

if TYPE_CHECKING:
    from compat.live.postgres.parts import Keeper

AT_ONCE = 4096  # rows that are fetched at a time
FREE = """DELETE FROM claims WHERE row IN (
    SELECT row FROM claims c WHERE worker = %s OR until < clock_timestamp() OR backend IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM pg_stat_activity WHERE pid = c.backend AND coalesce(backend_start = c.born, true))
    FOR UPDATE SKIP LOCKED)"""
CLAIM = f"""WITH chosen AS (
    SELECT row, place, id, version, content FROM items WHERE {PENDING} AND place < %s
        AND NOT EXISTS (SELECT 1 FROM claims WHERE claims.row = items.row)
    ORDER BY place, row LIMIT %s FOR UPDATE OF items SKIP LOCKED),
claimed AS (
    INSERT INTO claims SELECT row, %s, mine.pid, mine.backend_start,
        clock_timestamp() + make_interval(secs => %s) FROM chosen
        LEFT JOIN pg_stat_activity mine ON mine.pid = pg_backend_pid() AND NOT %s
    ON CONFLICT DO NOTHING RETURNING row)
SELECT id, version, content FROM chosen JOIN claimed USING (row) ORDER BY place, row"""
PLACE = """UPDATE items SET place = placed.place FROM (
    SELECT row, coalesce(n - 1, -1) AS place FROM items LEFT JOIN unnest(%s::text[]) WITH ORDINALITY given (id, n)
    USING (id)) placed WHERE items.row = placed.row AND items.place <> placed.place"""
BEAT = """INSERT INTO beats VALUES (%s, clock_timestamp(), %s)
    ON CONFLICT (name) DO UPDATE SET at = excluded.at, figures = excluded.figures"""


class PostgresStore:
    """A store in a schema of a database; several may be in one. The server needs pgvector >= 0.8.

    Each write is one transaction, on the server's disk when it returns. Writes that depend on the phase hold the
    journal's row while they last, and so does its change. What a process claimed is free when its connection is gone,
    or its lease by the server's clock. All new or all old embeddings are cleared by dropping their column, at once,
    however many there are; their space is used again when rows are next written.

    A pooler may be between, in whatever mode; then what a process claimed is free when its lease ends.

    Args:
        url: `postgresql://user@host/database?schema=name`, the schema is "compat" if none is named.
        approximate: when a part is searched by an index, and how well; above 2,000 dimensions none is.

    Raises:
        InputError: a schema that is no plain name.
    """

    capabilities: ClassVar[frozenset[Capability]] = frozenset({"compare and set", "snapshot", "many workers"})

    def __init__(self, url: str, approximate: Approximate = DEFAULT) -> None:
        self.url, self.approximate, self.link = url, approximate, Link(url)
        self.transaction, self.write = self.link.transaction, self.link.write

    @cached_property
    def keeper(self) -> Keeper:
        """Imported when something is searched for: what only reads or writes items needs no torch."""
        from compat.live.postgres.parts import Keeper

        return Keeper(self.url, self.approximate)

    def create(self, journal: Journal) -> None:
        make(self.link, *replaced(journal, store=secrets.token_hex(8)).dump())

    def add(self, items: Iterable[Item]) -> int:
        count = 0
        with self.transaction(lock="FOR SHARE") as cursor:
            journal = self.link.journal
            try:
                with cursor.copy("COPY items (id, content, meta, version, old) FROM STDIN (FORMAT BINARY)") as copy:
                    copy.set_types(["text", "text", "jsonb", "int8", "vector"])
                    for item in items:
                        check_item(item, journal)
                        copy.write_row(
                            (item.id, item.content, json(dict(item.meta)), item.version or new_version(), item.old)
                        )
                        count += 1
            except errors.UniqueViolation as error:
                raise InputError(f"id: {line(error)}, expected each item once") from error
        return count

    def journal(self) -> Journal:
        with self.transaction():
            return self.link.journal

    def amend(self, before: Journal, after: Journal, fit: bytes | None = None) -> None:
        def step(cursor: Cursor[Any]) -> None:
            replace(cursor, before, after)
            if fit is not None:
                insert = "INSERT INTO fits VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"
                if cursor.execute(insert, (after.migration, after.learned, fit)).rowcount == 0:
                    raise Conflict

        self.write(step)

    def fit(self, journal: Journal) -> bytes | None:
        with self.transaction() as cursor:
            select = "SELECT content FROM fits WHERE migration = %s AND learned = %s"
            found = cursor.execute(select, (journal.migration, journal.learned)).fetchone()
        return None if found is None else found[0]

    def put(self, item: Item, during: Journal) -> None:
        def step(cursor: Cursor[Any]) -> None:
            journal = self.link.journal
            if (journal.migration, journal.phase) != (during.migration, during.phase):
                raise Conflict
            check_item(item, journal)
            cursor.execute(
                "INSERT INTO items (id, content, meta, version, old, bridge, new) VALUES (%s, %s, %s, %s, %s, %s, %s)"
                " ON CONFLICT (id) DO UPDATE SET content = excluded.content, meta = excluded.meta, place = -1,"
                " version = excluded.version, failure = NULL, old = excluded.old, bridge = excluded.bridge,"
                " new = excluded.new",
                (item.id, item.content, json(dict(item.meta)), item.version, item.old, item.bridge, item.new),
            )

        self.write(step, lock="FOR SHARE")

    def describe(self, id: str, meta: Mapping[str, Any]) -> bool:
        check_meta(id, meta)
        return self._changed("UPDATE items SET meta = %s WHERE id = %s", (json(dict(meta)), id)) == 1

    def delete(self, id: str) -> bool:
        return self._changed("DELETE FROM items WHERE id = %s", (check_text("id", id),)) == 1

    def get(self, id: str) -> Item | None:
        check_text("id", id)
        with self.transaction() as cursor:
            found = cursor.execute(f"SELECT {WHOLE} FROM items WHERE id = %s", (id,)).fetchone()
        return None if found is None else Item(*found)

    def exchange(self, report: Report, count: int, lease: float, below: int | None = None) -> Turn:
        def step(cursor: Cursor[Any]) -> Turn:
            journal = self.link.journal
            ours, written = journal.migration == report.migration, 0
            if ours and journal.takes_in:
                check_report(report, journal.new_dim)
                update = "UPDATE items SET {} WHERE id = %s AND version = %s AND new IS NULL"
                if done := [(vector, id, version) for id, version, vector in report.done]:
                    cursor.executemany(update.format("new = %s, failure = NULL"), done)
                    written = cursor.rowcount
                if dead := [(told_as(reason), id, version) for id, version, reason in report.dead]:
                    cursor.executemany(update.format("failure = %s"), dead)
            cursor.execute(FREE, (report.worker,))
            if report.figures:
                cursor.execute(BEAT, (report.worker, json(dict(report.figures))))
            limit, work = 2**62 if below is None else below, []
            if ours and journal.phase == "running" and count >= 1:
                work = [
                    Work(*row) for row in cursor.execute(CLAIM, (limit, count, report.worker, lease, self.link.pooled))
                ]
            left = f"SELECT EXISTS (SELECT 1 FROM items WHERE {PENDING} AND place < %s)"
            return Turn(written, work, cursor.execute(left, (limit,)).fetchone() == (True,))

        return self.write(step, lock="FOR SHARE")

    def pending(self, count: int, after: Pending | None = None) -> list[Pending]:
        place, id = (-2, "") if after is None else (after.place, after.id)
        select = (
            f"SELECT id, version, content, place FROM items WHERE {PENDING} AND place >= %s"
            ' AND (place > %s OR id > %s COLLATE "C") ORDER BY place, id COLLATE "C" LIMIT %s'
        )
        with self.transaction() as cursor:
            return [Pending(*row) for row in cursor.execute(select, (place, place, id, count))]

    def retry(self) -> int:
        return self._changed("UPDATE items SET failure = NULL WHERE new IS NULL AND failure IS NOT NULL")

    def beat(self, name: str, figures: Mapping[str, float]) -> None:
        self._changed(BEAT, (name, json(dict(figures))))

    def beats(self, since: float) -> dict[str, Mapping[str, float]]:
        select = "SELECT name, figures FROM beats WHERE at > clock_timestamp() - make_interval(secs => %s)"
        with self.transaction() as cursor:
            return {} if self._on_standby(cursor) else dict(cursor.execute(select, (since,)).fetchall())

    def counts(self) -> Counts:
        parts = ("true", PENDING, "new IS NULL AND failure IS NOT NULL", "new IS NULL AND old IS NULL")
        select = ", ".join(f"(SELECT count(*) FROM items WHERE {part})" for part in parts)
        with self.transaction() as cursor:
            total, pending, failed, bare = cursor.execute(f"SELECT {select}").fetchone() or (0,) * 4
        return Counts(total, total - pending - failed, pending, failed, bare)

    def without_old(self, count: int) -> list[Work]:
        with self.transaction() as cursor:
            select = "SELECT id, version, content FROM items WHERE old IS NULL LIMIT %s"
            return [Work(*row) for row in cursor.execute(select, (count,))]

    def sample(self, count: int) -> list[Item]:
        """Found from random rows on."""
        one = f"SELECT {WHOLE} FROM items WHERE row >= %s AND new IS NOT NULL ORDER BY row LIMIT 1"
        with self.transaction(SNAPSHOT) as cursor:
            ends = cursor.execute("SELECT min(row), max(row) FROM items WHERE new IS NOT NULL").fetchone()
            if ends is None or ends[0] is None:
                return []
            rows = drawn(ends[0], ends[1], count)
            items = [Item(*found) for row in rows if (found := cursor.execute(one, (row,)).fetchone())]
        return list({item.id: item for item in items}.values())

    def failures(self, count: int) -> list[Item]:
        select = f"SELECT {WHOLE} FROM items WHERE new IS NULL AND failure IS NOT NULL ORDER BY row LIMIT %s"
        with self.transaction() as cursor:
            return [Item(*row) for row in cursor.execute(select, (count,))]

    def claims(self) -> dict[str, tuple[int, float]]:
        ends = "extract(epoch FROM min(until) - clock_timestamp())::float8"
        with self.transaction() as cursor:
            select = f"SELECT worker, count(*), {ends} FROM claims GROUP BY worker"
            rows = [] if self._on_standby(cursor) else cursor.execute(select).fetchall()
        return {worker: (count, ends) for worker, count, ends in rows}

    def gallery(self, new: bool = False) -> Gallery:
        ids: list[str] = []
        parts: list[tuple[np.ndarray, ...]] = []
        with self.transaction(SNAPSHOT) as cursor:
            journal = self.link.journal
            dim = journal.new_dim if new else 0
            missing = np.full(dim, np.nan, np.float32)
            select = f"SELECT id, version, place, old, {'new' if new else 'NULL'} FROM items WHERE old IS NOT NULL"
            rows = cursor.connection.cursor("gallery", binary=True).execute(f"{select} ORDER BY row")
            while some := rows.fetchmany(AT_ONCE):
                names, versions, places, old, after = zip(*some, strict=True)
                ids += names
                its = np.stack([missing if vector is None else vector for vector in after])
                parts.append((np.array(versions, np.int64), np.array(places, np.int64), np.stack(old), its))
        empty = np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, journal.dim), np.float32)
        parts.append((*empty, np.empty((0, dim), np.float32)))
        return Gallery(ids, *(np.concatenate(part) for part in zip(*parts, strict=True)))

    def place(self, ids: Sequence[str], before: Journal, after: Journal) -> None:
        ordered = [check_text("id", id) for id in ids]

        def step(cursor: Cursor[Any]) -> None:
            replace(cursor, before, after)
            cursor.execute("DELETE FROM fits WHERE migration < %s", (after.migration,))
            cursor.execute(PLACE, (ordered,))

        if self.journal() != before:
            raise Conflict
        forget(self.link, ["old", "bridge", "new"])  # each index would take in all rows anew, one by one
        self.write(step)

    def fill(self, column: Column, rows: Iterable[tuple[str, int, np.ndarray]], during: Journal) -> int:
        values = [(vector, check_text("id", id), version) for id, version, vector in rows]
        update = f"UPDATE items SET {column} = %s WHERE id = %s AND version = %s"

        def step(cursor: Cursor[Any]) -> int:
            check_moment(self.link.journal, during)
            cursor.executemany(update, values)
            return cursor.rowcount if values else 0

        return self.write(step, lock="FOR SHARE")

    def search(self, asks: Sequence[Ask], k: int, where: Where | None = None) -> list[Found]:
        from compat.live.postgres.parts import search

        with self.transaction(SNAPSHOT) as cursor:
            journal = self.link.journal
            filters = check_fields(where, journal)
            found = [search(cursor, ask, k, filters, journal, self.link.extension) for ask in asks]
        self.keeper.look([ask.column for ask in asks])
        return found

    def warm(self, columns: Sequence[Column]) -> None:
        """The server has what is searched."""

    def revert(self, before: Journal, after: Journal) -> None:
        self._turn(before, after, "old IS NULL", ["old", "bridge", "new"], "DROP new, ADD new {vector}")

    def drop_old(self, before: Journal, after: Journal) -> None:
        self._turn(
            before,
            after,
            "new IS NULL",
            ["old", "bridge"],
            "DROP old, DROP bridge, ADD old {vector}, ADD bridge {vector}",
        )

    def advance(self, before: Journal, after: Journal) -> None:
        changes = "DROP old, DROP bridge", "RENAME new TO old", "ADD bridge {vector}, ADD new {vector}"
        self._turn(before, after, "false", ["old", "bridge", "new"], *changes)

    def size(self) -> int:
        tables = "SELECT oid FROM pg_class WHERE relkind = 'r' AND relnamespace = %s::regnamespace"
        select = f"SELECT sum(pg_total_relation_size(oid)) FROM ({tables})"
        with self.transaction() as cursor:
            found = cursor.execute(select, (f'"{self.link.schema}"',)).fetchone()
        return int(found[0] or 0) if found else 0

    def close(self) -> None:
        if "keeper" in self.__dict__:
            self.keeper.close()
        self.link.close()

    def _on_standby(self, cursor: Cursor[Any]) -> bool:
        """Whether the server only follows another, and does not have what a crash of that one clears."""
        return cursor.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)

    def _changed(self, statement: str, values: Sequence[Any] = ()) -> int:
        return self.write(lambda cursor: cursor.execute(statement, values).rowcount)

    def _turn(self, before: Journal, after: Journal, none: str, parts: Sequence[Column], *changes: str) -> None:
        """Replace the journal, and columns with it, unless there is an item of which a test holds."""

        def step(cursor: Cursor[Any]) -> None:
            replace(cursor, before, after)  # from then on nobody writes what depends on it
            if cursor.execute(f"SELECT EXISTS (SELECT 1 FROM items WHERE {none})").fetchone() == (True,):
                raise Conflict
            cursor.execute("UPDATE items SET failure = NULL WHERE failure IS NOT NULL")
            turn(self.link, cursor, *changes)

        if self.journal() != before:
            raise Conflict
        forget(self.link, parts)
        self.write(step)
