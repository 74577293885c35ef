"""A store in PostgreSQL with pgvector, for many processes and machines at once."""

from __future__ import annotations

import json as plain
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace as changed
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from psycopg import Cursor

from compat.live import sql
from compat.live.checks import (
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
)
from compat.live.postgres import generations
from compat.live.postgres.adding import add
from compat.live.postgres.connection import SNAPSHOT, PostgresConnection, replace_journal
from compat.live.postgres.schema import make
from compat.live.postgres.values import storable_text, to_json
from compat.live.store import DEFAULT, Approximate, Ask, Capability, Conflict, Where

if TYPE_CHECKING:
    from compat.live.postgres.index_keeper import IndexKeeper

AT_ONCE = 4096  # rows fetched at a time
FILLED = 32  # vectors written at a time; each takes milliseconds with an index
OPEN = "FROM {} l JOIN items i ON i.row = l.row WHERE l.failure IS NULL"
FREE = """DELETE FROM claims WHERE row IN (
    SELECT row FROM claims c WHERE worker = %s OR until < clock_timestamp() OR backend IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM pg_stat_activity WHERE pid = c.backend AND coalesce(backend_start = c.born, true))
    FOR UPDATE SKIP LOCKED)"""
CLAIM = f"""WITH chosen AS (
    SELECT l.row, l.place, i.id, i.version, i.content {OPEN} AND l.place < %s
        AND NOT EXISTS (SELECT 1 FROM claims WHERE claims.row = l.row)
    ORDER BY l.place, l.row LIMIT %s FOR UPDATE OF l SKIP LOCKED),
claimed AS (
    INSERT INTO claims SELECT row, %s, mine.pid, mine.backend_start,
        clock_timestamp() + make_interval(secs => %s) FROM chosen
        LEFT JOIN pg_stat_activity mine ON mine.pid = pg_backend_pid() AND NOT %s
    ON CONFLICT DO NOTHING RETURNING row)
SELECT id, version, content FROM chosen JOIN claimed USING (row) ORDER BY place, row"""
PUT = """INSERT INTO items (id, content, meta, version) VALUES (%s, %s, %s, %s) ON CONFLICT (id) DO UPDATE
    SET content = excluded.content, meta = excluded.meta, version = excluded.version RETURNING row"""
# lock the items' rows while their vectors in other tables are written
LOCKED = """SELECT i.row, n FROM items i JOIN unnest(%s::text[], %s::bigint[]) WITH ORDINALITY given (id, version, n)
    USING (id, version) ORDER BY i.row, n FOR UPDATE OF i"""
BEAT = """INSERT INTO beats VALUES (%s, clock_timestamp(), %s)
    ON CONFLICT (name) DO UPDATE SET at = excluded.at, figures = excluded.figures"""
STANDBY = "SELECT pg_is_in_recovery()"  # a standby server lacks unlogged tables


class PostgresStore:
    """A store in a schema of a database, which may hold several; the server needs pgvector >= 0.8.

    Each write is one transaction, durable on the server when it returns. Writes of items share a lock on the journal's
    row, and its change takes it exclusively. Claims are released when the process's connection ends, or when their
    lease ends by the server's clock.

    A pooler may be between, in any mode; then claims are released only when their lease ends.

    Args:
        url: `postgresql://user@host/database?schema=name`; default schema: "compat".
        approximate: when and how well to search by an index; above 2,000 dimensions there is none.

    Raises:
        InputError: an address which libpq cannot read; a schema which is no plain name.
    """

    capabilities: ClassVar[frozenset[Capability]] = frozenset({"compare and set", "snapshot", "many workers"})

    def __init__(self, url: str, approximate: Approximate = DEFAULT) -> None:
        self.url, self.approximate, self.link = url, approximate, PostgresConnection(url)
        self.transaction, self.read, self.write = self.link.transaction, self.link.read, self.link.write
        self.loaded_keeper: IndexKeeper | None = None

    @property
    def keeper(self) -> IndexKeeper:
        """Index keeper, imported on first search, as reads and writes need no torch."""
        if self.loaded_keeper is None:
            from compat.live.postgres.index_keeper import IndexKeeper

            self.loaded_keeper = IndexKeeper(self.url, self.approximate)
        return self.loaded_keeper

    def create(self, journal: Journal) -> None:
        make(self.link, changed(journal, store=journal.store or new_store()))

    def add(self, items: Iterable[Item]) -> int:
        return add(self.link, items)

    def journal(self) -> Journal:
        return self.read(lambda _: self.link.journal)

    def amend(self, before: Journal, after: Journal, fit: bytes | None = None) -> None:
        def step(cursor: Cursor[Any]) -> None:
            generations.change_journal(self.link, cursor, before, after)
            if fit is not None:
                insert = "INSERT INTO fits VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"
                if cursor.execute(insert, (after.migration, after.learned, fit)).rowcount == 0:
                    raise Conflict

        self.write(step)

    def fit(self, journal: Journal) -> bytes | None:
        select = "SELECT content FROM fits WHERE migration = %s AND learned = %s"
        found = self.read(lambda cursor: cursor.execute(select, (journal.migration, journal.learned)).fetchone())
        return None if found is None else bytes(found[0])

    def history(self, count: int) -> list[Entry]:
        select = "SELECT at, who, version, changes FROM history ORDER BY seq DESC LIMIT %s"
        rows = self.read(lambda cursor: cursor.execute(select, (count,)).fetchall())
        return [Entry(at, who, version, plain.loads(changes)) for at, who, version, changes in rows]

    def put(self, item: Item, during: Journal) -> None:
        def step(cursor: Cursor[Any]) -> None:
            journal = self.link.journal
            check_phase(journal, during)
            check_item(item, journal)
            found = cursor.execute(PUT, (item.id, item.content, to_json(dict(item.meta)), item.version)).fetchone()
            row = found[0] if found else None
            with cursor.connection.pipeline():
                self._set(cursor, "old", row, item.old)
                self._set(cursor, "new", row, item.new)
                if bridge := sql.table_of("bridge", journal):
                    cursor.execute(f"DELETE FROM {bridge} WHERE row = %s", (row,))
                    if item.bridge is not None:
                        cursor.execute(f"INSERT INTO {bridge} VALUES (%s, %s)", (row, item.bridge))

        self.write(step, lock="FOR SHARE")

    def _set(self, cursor: Cursor[Any], column: Column, row: Any, vector: np.ndarray | None) -> None:
        """Write a vector of a generation or its absence; the item has no place in the order."""
        vectors, missing = sql.table_of(column, self.link.journal), sql.lacking_table(column, self.link.journal)
        if vectors is None:
            return
        if vector is not None:
            cursor.execute(f"DELETE FROM {missing} WHERE row = %s", (row,))
            cursor.execute(
                f"INSERT INTO {vectors} VALUES (%s, -1, %s) ON CONFLICT (row)"
                " DO UPDATE SET place = -1, vector = excluded.vector",
                (row, vector),
            )
            return
        cursor.execute(f"DELETE FROM {vectors} WHERE row = %s", (row,))
        cursor.execute(
            f"INSERT INTO {missing} VALUES (%s, -1, NULL) ON CONFLICT (row) DO UPDATE SET place = -1, failure = NULL",
            (row,),
        )

    def describe(self, id: str, meta: Mapping[str, Any]) -> bool:
        check_meta(id, meta)
        return self._execute("UPDATE items SET meta = %s WHERE id = %s", (to_json(dict(meta)), id)) == 1

    def delete(self, id: str) -> bool:
        check_text("id", id)

        def step(cursor: Cursor[Any]) -> bool:
            found = cursor.execute("DELETE FROM items WHERE id = %s RETURNING row", (id,)).fetchone()
            if found:
                with cursor.connection.pipeline():
                    for name in sql.live_tables(self.link.journal):
                        cursor.execute(f"DELETE FROM {name} WHERE row = %s", found)
            return found is not None

        return self.write(step, lock="FOR SHARE")

    def get(self, id: str) -> Item | None:
        check_text("id", id)
        found = self.read(lambda cursor: self._select_items(cursor, "WHERE i.id = %s", (id,)))
        return found[0] if found else None

    def exchange(self, report: Report, count: int, lease: float, below: int | None = None) -> Turn:
        def step(cursor: Cursor[Any]) -> Turn:
            journal = self.link.journal
            ours, written = journal.migration == report.migration, 0
            if ours and journal.accepts_vectors:
                check_report(report, journal.new_dim)
                written = self._write_report(cursor, report)
            cursor.execute(FREE, (report.worker,))
            if report.figures:
                cursor.execute(BEAT, (report.worker, to_json(dict(report.figures))))
            if (queue := sql.lacking_table("new", journal)) is None:
                return Turn(written, [], cursor.execute("SELECT EXISTS (SELECT 1 FROM items)").fetchone() == (True,))
            limit, work = 2**62 if below is None else below, []
            if ours and journal.phase == "running" and count >= 1:
                bound = limit, count, report.worker, lease, self.link.pooled
                work = [Work(*row) for row in cursor.execute(CLAIM.format(queue), bound)]
            left = f"SELECT EXISTS (SELECT 1 {OPEN.format(queue)} AND l.place < %s)"
            return Turn(written, work, cursor.execute(left, (limit,)).fetchone() == (True,))

        return self.write(step, lock="FOR SHARE")

    def _write_report(self, cursor: Cursor[Any], report: Report) -> int:
        """Write a worker's report, and return the number of vectors written."""
        vectors, queue = sql.table_of("new", self.link.journal), sql.lacking_table("new", self.link.journal)
        done, dead = report.done, report.failed
        written = 0
        if done:
            number = dict(reversed(self._lock_rows(cursor, [line[:2] for line in done])))  # first row of an id
            moved = f"DELETE FROM {queue} WHERE row = ANY(%s) RETURNING row, place"
            rows = cursor.execute(moved, (list(number),)).fetchall()
            written = len(rows)
            if rows:
                insert = f"INSERT INTO {vectors} VALUES (%s, %s, %s)"
                cursor.executemany(insert, [(row, place, done[number[row]][2]) for row, place in rows])
        if dead:
            here = self._lock_rows(cursor, [line[:2] for line in dead])
            failed = f"UPDATE {queue} SET failure = %s WHERE row = %s"
            if here:
                cursor.executemany(failed, [(storable_text(dead[n][2]), row) for row, n in here])
        return written

    def _lock_rows(self, cursor: Cursor[Any], items: Sequence[tuple[str, int]]) -> list[tuple[int, int]]:
        """Lock the rows of items which still have these versions; return pairs of row and index into `items`."""
        ids, versions = map(list, zip(*items, strict=True))
        return [(row, n - 1) for row, n in cursor.execute(LOCKED, (ids, versions))]

    def pending(self, count: int, after: Work | None = None) -> list[Work]:
        place, id = (-2, "") if after is None else (after.place, after.id)

        def step(cursor: Cursor[Any]) -> list[Work]:
            if (queue := sql.lacking_table("new", self.link.journal)) is None:
                return []
            select = (
                f"SELECT i.id, i.version, i.content, l.place {OPEN.format(queue)} AND l.place >= %s"
                ' AND (l.place > %s OR i.id > %s COLLATE "C") ORDER BY l.place, i.id COLLATE "C" LIMIT %s'
            )
            return [Work(*row) for row in cursor.execute(select, (place, place, id, count))]

        return self.read(step)

    def retry(self) -> int:
        def step(cursor: Cursor[Any]) -> int:
            if (queue := sql.lacking_table("new", self.link.journal)) is None:
                return 0
            return cursor.execute(f"UPDATE {queue} SET failure = NULL WHERE failure IS NOT NULL").rowcount

        return self.write(step, lock="FOR SHARE")

    def beat(self, name: str, figures: Mapping[str, float]) -> None:
        self._execute(BEAT, (name, to_json(dict(figures))))

    def beats(self, since: float) -> dict[str, Mapping[str, float]]:
        select = "SELECT name, figures FROM beats WHERE at > clock_timestamp() - make_interval(secs => %s)"
        return dict(self._read_unlogged(select, (since,)))

    def claims(self) -> dict[str, tuple[int, float]]:
        ends = "extract(epoch FROM min(until) - clock_timestamp())::float8"
        rows = self._read_unlogged(f"SELECT worker, count(*), {ends} FROM claims GROUP BY worker")
        return {worker: (count, ends) for worker, count, ends in rows}

    def counts(self) -> Counts:
        def step(cursor: Cursor[Any]) -> Counts:
            journal = self.link.journal
            without_old, queue = sql.lacking_table("old", journal), sql.lacking_table("new", journal)

            def count(of: str) -> int:
                return (cursor.execute(f"SELECT count(*) FROM {of}").fetchone() or (0,))[0]

            total, unserved = count("items"), 0
            if queue is None:
                return Counts(total, 0, total, 0, count(f"{without_old} JOIN items USING (row)"))
            of, new = f"{queue} l JOIN items i USING (row)", count(str(sql.table_of("new", journal)))
            failed = count(f"{of} WHERE l.failure IS NOT NULL")
            if journal.bridged:
                bridge = sql.table_of("bridge", journal)
                unserved = count(f"{of} WHERE NOT EXISTS (SELECT 1 FROM {bridge} b WHERE b.row = l.row)")
            elif without_old:
                unserved = count(f"{of} JOIN {without_old} USING (row)")
            return Counts(total, new, total - new - failed, failed, unserved)

        return self.read(step)

    def without_old(self, count: int) -> list[Work]:
        def step(cursor: Cursor[Any]) -> list[Work]:
            if (without_old := sql.lacking_table("old", self.link.journal)) is None:
                return []
            select = f"SELECT id, version, content FROM {without_old} JOIN items USING (row) LIMIT %s"
            return [Work(*row) for row in cursor.execute(select, (count,))]

        return self.read(step)

    def sample(self, count: int) -> list[Item]:
        def step(cursor: Cursor[Any]) -> list[Item]:
            if not count or (vectors := sql.table_of("new", self.link.journal)) is None:
                return []
            first, last = cursor.execute(f"SELECT min(row), max(row) FROM {vectors}").fetchone() or (None, None)
            if first is None or last is None:
                return []

            def after(row: int, limit: int) -> list[int]:
                select = f"SELECT row FROM {vectors} WHERE row >= %s ORDER BY row LIMIT %s"
                return [found for (found,) in cursor.execute(select, (row, limit))]

            return self._select_items(cursor, "WHERE i.row = ANY(%s)", (sql.draw_rows(first, last, count, after),))

        return self.read(step)

    def misplaced(self, count: int, rows: int | None = None) -> list[str]:
        def step(cursor: Cursor[Any]) -> list[str]:
            last = cursor.execute("SELECT max(row) FROM items").fetchone() or (None,)
            some = sql.items_table(last[0], rows)
            selects = [sql.select_misplaced(column, self.link.journal, some) for column in ("old", "new")]
            found = [cursor.execute(f"{one} LIMIT %s", (count,)).fetchall() for one in selects if one]
            return [id for some in found for (id,) in some][:count]

        return self.read(step)

    def scan(self, column: Column) -> Iterator[tuple[list[str], np.ndarray]]:
        last = 0

        def step(cursor: Cursor[Any]) -> list[tuple[Any, ...]]:
            if (select := sql.select_part(column, self.link.journal)) is None:
                return []
            return cursor.execute(f"{select} AND v.row > %s ORDER BY v.row LIMIT %s", (last, AT_ONCE)).fetchall()

        while some := self.read(step):
            rows, ids, vectors = zip(*some, strict=True)
            last = rows[-1]
            yield list(ids), np.stack(vectors)

    def failures(self, count: int) -> list[Item]:
        def step(cursor: Cursor[Any]) -> list[Item]:
            if sql.lacking_table("new", self.link.journal) is None:
                return []
            return self._select_items(cursor, "WHERE l.failure IS NOT NULL ORDER BY l.row LIMIT %s", (count,))

        return self.read(step)

    def gallery(self, new: bool = False, old: bool = True) -> StoredGallery:
        ids: list[str] = []
        parts: list[tuple[np.ndarray, ...]] = []
        with self.transaction(SNAPSHOT) as cursor:
            journal = self.link.journal
            dims = journal.dim if old else 0, journal.new_dim if new else 0
            blank, missing = np.empty(0, np.float32), np.full(dims[1], np.nan, np.float32)
            if select := sql.select_gallery(journal, new, old):
                rows = cursor.connection.cursor("gallery", binary=True).execute(select)
                while some := rows.fetchmany(AT_ONCE):
                    names, versions, places, before, after = zip(*some, strict=True)
                    ids += names
                    its = np.stack([blank if vector is None else vector for vector in before])
                    others = np.stack([missing if vector is None else vector for vector in after])
                    parts.append((np.array(versions, np.int64), np.array(places, np.int64), its, others))
        empty = np.empty(0, np.int64), np.empty(0, np.int64)
        parts.append((*empty, *(np.empty((0, dim), np.float32) for dim in dims)))
        return StoredGallery(ids, *(np.concatenate(part) for part in zip(*parts, strict=True)))

    def place(self, ids: Sequence[str], before: Journal, after: Journal) -> None:
        generations.plan(self.link, [check_text("id", id) for id in ids], before, after)

    def fill(self, column: Column, rows: Iterable[tuple[str, int, np.ndarray]], during: Journal) -> int:
        """Write some rows per transaction, so users' writes of the same rows wait only briefly."""
        given = [(check_text("id", id), version, vector) for id, version, vector in rows]
        some = [given[start : start + FILLED] for start in range(0, max(len(given), 1), FILLED)]
        return sum(self._fill(column, rows, during) for rows in some)

    def _fill(self, column: Column, given: Sequence[tuple[str, int, np.ndarray]], during: Journal) -> int:
        def step(cursor: Cursor[Any]) -> int:
            check_moment(self.link.journal, during)
            if not given or (name := sql.table_of(column, self.link.journal)) is None:
                return 0
            here = self._lock_rows(cursor, [line[:2] for line in given])
            if missing := sql.lacking_table(column, self.link.journal):
                cursor.execute(f"DELETE FROM {missing} WHERE row = ANY(%s)", ([row for row, _ in here],))
            into = "(row, vector) VALUES (%s, %s)" if column == "bridge" else "(row, place, vector) VALUES (%s, -1, %s)"
            write = f"INSERT INTO {name} {into} ON CONFLICT (row) DO UPDATE SET vector = excluded.vector"
            if here:
                cursor.executemany(write, [(row, given[n][2]) for row, n in here])
            return len(here)

        return self.write(step, lock="FOR SHARE")

    def search(
        self, asks: Sequence[Ask], k: int, where: Where | None = None, during: Journal | None = None
    ) -> list[Candidates]:
        from compat.live.postgres.index import search

        def step(cursor: Cursor[Any]) -> list[Candidates]:
            check_way(self.link.journal, during)
            filters = check_fields(where, self.link.journal)
            return [search(self.link, cursor, ask, k, filters) for ask in asks]

        found = self.read(step)
        self.keeper.start_if_due([ask.column for ask in asks])
        return found

    def warm(self, columns: Sequence[Column]) -> None:
        self.keeper.keep_quietly(columns)

    def revert(self, before: Journal, after: Journal) -> None:
        self._replace_if_complete("old", before, after)

    def drop_old(self, before: Journal, after: Journal) -> None:
        self._replace_if_complete("new", before, after)

    def advance(self, before: Journal, after: Journal) -> None:
        self.amend(before, after)

    def _replace_if_complete(self, column: Column, before: Journal, after: Journal) -> None:
        """Replace the journal, if every item has a vector of a column."""
        missing = f"SELECT EXISTS (SELECT 1 FROM {sql.lacking_table(column, before)} JOIN items USING (row))"

        def check(cursor: Cursor[Any]) -> None:
            if cursor.execute(missing).fetchone() == (True,):
                raise Conflict

        def step(cursor: Cursor[Any]) -> None:
            replace_journal(cursor, before, after)
            check(cursor)

        if self.journal() != before:
            raise Conflict
        self.read(check)  # before the lock: this scan marks dead rows
        self.write(step)

    def sweep(self, rows: int = 1000) -> bool:
        """Drop tables whole, whatever the number of their rows."""
        return generations.sweep(self.link)

    def size(self) -> int:
        tables = "SELECT oid FROM pg_class WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace"
        select = f"SELECT sum(pg_total_relation_size(oid)) FROM ({tables})"
        found = self.read(lambda cursor: cursor.execute(select).fetchone())
        return int(found[0] or 0) if found else 0

    def close(self) -> None:
        if self.loaded_keeper is not None:
            self.loaded_keeper.close()
        self.link.close()

    def _select_items(self, cursor: Cursor[Any], where: str, values: Sequence[Any]) -> list[Item]:
        return [Item(*row) for row in cursor.execute(f"{sql.select_items(self.link.journal)} {where}", values)]

    def _read_unlogged(self, select: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Read an unlogged table; empty on a standby server, which does not have it."""

        def step(cursor: Cursor[Any]) -> list[tuple[Any, ...]]:
            return [] if cursor.execute(STANDBY).fetchone() == (True,) else cursor.execute(select, values).fetchall()

        return self.read(step)

    def _execute(self, statement: str, values: Sequence[Any] = ()) -> int:
        return self.write(lambda cursor: cursor.execute(statement, values).rowcount)
