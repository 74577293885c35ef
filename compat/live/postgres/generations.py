"""Tables of generations in PostgreSQL: prepared aside when a migration is planned, dropped when unused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from psycopg import Cursor

from compat.live.items import Journal
from compat.live.postgres.connection import PostgresConnection, replace_journal
from compat.live.postgres.errors import OURS, Taken, Undone
from compat.live.sql import live_tables
from compat.live.store import Conflict

# each migrated item leaves a dead row and index entries; vacuum at 5 % of them
OFTEN = "WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05)"
KEYS = (
    "ALTER TABLE lacking_{0} ADD PRIMARY KEY (row)",
    "CREATE INDEX ON lacking_{0} (place, row) WHERE failure IS NULL",
    "CREATE INDEX ON lacking_{0} (row) WHERE failure IS NOT NULL",
)
ADDING = "hashtext('adding'), 'items'::regclass::oid::int"  # lock shared by running calls of `add`
OPEN = "SELECT row, -1, NULL FROM items"
PLACED = """SELECT i.row, coalesce(g.place, -1), NULL FROM items i LEFT JOIN given g USING (id) WHERE i.row <= {last}"""
LATER = "INSERT INTO {0} SELECT row, -1, NULL FROM items WHERE row > %s"
DANGLING = "DELETE FROM {0} q WHERE NOT EXISTS (SELECT 1 FROM items i WHERE i.row = q.row)"


def make(cursor: Cursor[Any], generation: int, dim: int, extension: str, queue: str) -> None:
    """Create the tables of a generation.

    Args:
        cursor: cursor in a transaction.
        generation: its number.
        dim: dimension of its vectors.
        extension: schema of pgvector.
        queue: SELECT of row, place and failure of the items without a vector.
    """
    cursor.execute(f"CREATE TABLE lacking_{generation} (row bigint, place bigint NOT NULL, failure text) {OFTEN}")
    cursor.execute(f"INSERT INTO lacking_{generation} {queue}")
    for statement in KEYS:
        cursor.execute(statement.format(generation))
    vector = f"vector {extension}.vector{f'({dim})' if dim else ''} NOT NULL"
    cursor.execute(f"CREATE TABLE vectors_{generation} (row bigint PRIMARY KEY, place bigint NOT NULL, {vector})")
    if generation:  # the first generation belongs to no migration
        cursor.execute(f"CREATE TABLE bridge_{generation} (row bigint PRIMARY KEY, {vector})")


def ensure(cursor: Cursor[Any], journal: Journal, extension: str) -> None:
    """Create the missing tables of a journal, with all items pending and without a place."""
    known = tables(cursor)
    for generation, dim in ((journal.old_generation, journal.dim), (journal.new_generation, journal.new_dim)):
        if generation is not None and f"vectors_{generation}" not in known:
            make(cursor, generation, dim, extension, OPEN)
            known.append(f"vectors_{generation}")


def tables(cursor: Cursor[Any]) -> list[str]:
    """Return the names of the tables of all generations."""
    rows = cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()").fetchall()
    return sorted(name for (name,) in rows if re.fullmatch(OURS, name))


def change_journal(link: PostgresConnection, cursor: Cursor[Any], before: Journal, after: Journal) -> None:
    """Replace the journal, and create the tables which the new one needs."""
    replace_journal(cursor, before, after)
    if (after.generation, after.new_generation) != (before.generation, before.new_generation):
        ensure(cursor, after, link.extension)


def plan(link: PostgresConnection, ids: Sequence[str], before: Journal, after: Journal) -> None:
    """Prepare the tables of a generation, and publish them with the journal, in one transaction.

    The journal is locked only at its end. Items added meanwhile are recognised by their row numbers, as all rows up to
    a known number were there before.

    Raises:
        Conflict: the journal is not `before`.
    """
    last = link.write(lambda cursor: last_committed_row(link, cursor, before))
    queue = f"lacking_{after.migration}"

    def step(cursor: Cursor[Any]) -> None:
        cursor.execute("CREATE UNLOGGED TABLE given (id text, place bigint)")
        with cursor.copy("COPY given FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(["text", "int8"])
            for place, id in enumerate(ids):
                copy.write_row((id, place))
        make(cursor, after.migration, after.new_dim, link.extension, PLACED.format(last=last))
        cursor.execute("DROP TABLE given")
        replace_journal(cursor, before, after)
        cursor.execute(LATER.format(queue), (last,))
        cursor.execute("DELETE FROM fits")
        cursor.execute("DELETE FROM claims")

    try:
        link.write(step)
    except Taken as error:  # another plan made these tables
        raise Conflict from error
    link.write(lambda cursor: cursor.execute(DANGLING.format(queue)))
    link.execute_alone(f'ANALYZE "{link.schema}".{queue}')


def last_committed_row(link: PostgresConnection, cursor: Cursor[Any], before: Journal) -> int:
    """Return a row number up to which every item is committed, after waiting for running additions."""
    cursor.execute(f"SELECT pg_advisory_xact_lock({ADDING})")
    if link.reload_journal(cursor, "FOR UPDATE") != before:  # all other writes of items share this lock
        raise Conflict
    found = cursor.execute("SELECT max(row) FROM items").fetchone()
    return found[0] or 0 if found else 0


def sweep(link: PostgresConnection) -> bool:
    """Drop an unused table and return whether there is another; a table still being read is left."""
    for name in link.read(lambda cursor: unused_tables(link, cursor)):
        try:
            with link.transaction(lock="FOR SHARE") as cursor:
                if name in unused_tables(link, cursor):
                    cursor.execute("SET LOCAL lock_timeout = '100ms'")  # queued requests wait no longer
                    cursor.execute(f"DROP TABLE {name}")
                    cursor.execute("DELETE FROM near WHERE part = %s", (name,))
                return len(unused_tables(link, cursor)) > 0
        except Undone:
            continue
    return False


def unused_tables(link: PostgresConnection, cursor: Cursor[Any]) -> list[str]:
    """Return the tables which no phase serves."""
    return [name for name in tables(cursor) if name not in live_tables(link.journal)]
