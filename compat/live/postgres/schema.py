"""The tables of a store in PostgreSQL, and what is done to all of a column at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psycopg import Cursor, NotSupportedError, ProgrammingError, errors

from compat.errors import InputError
from compat.live.items import Column
from compat.live.postgres.link import Link, line

TABLES = (
    "CREATE TABLE journal (one int PRIMARY KEY CHECK (one = 1), content text NOT NULL, digest text NOT NULL)",
    "CREATE TABLE items (row bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id text NOT NULL UNIQUE,"
    " content text NOT NULL, meta jsonb NOT NULL, version bigint NOT NULL, place bigint NOT NULL DEFAULT -1,"
    " failure text, old {vector}, bridge {vector}, new {vector})"
    # a move leaves a dead row and a dead entry in the indexes: the server clears them once a twentieth is dead
    " WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05)",
    # who claimed what, and from which connection, if it has one of its own: unlogged, as a crash ends all claims
    "CREATE UNLOGGED TABLE claims (row bigint PRIMARY KEY, worker text NOT NULL, backend int,"
    " born timestamptz, until timestamptz NOT NULL)",
    "CREATE UNLOGGED TABLE beats (name text PRIMARY KEY, at timestamptz NOT NULL, figures jsonb NOT NULL)",
    "CREATE TABLE near (part text PRIMARY KEY, dim int NOT NULL, items bigint NOT NULL, ef int NOT NULL)",
)
INDEXES = {
    "pending": "(place, row) WHERE new IS NULL AND failure IS NULL",
    "unmoved": "(row) WHERE new IS NULL",
    "failed": "(row) WHERE new IS NULL AND failure IS NOT NULL",
    "bare": "(row) WHERE new IS NULL AND old IS NULL",
    "rootless": "(row) WHERE old IS NULL",
    "migrated": "(row) WHERE new IS NOT NULL",
}
ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtext('compat'))"  # two at once would trip over each other


def make(link: Link, content: str, digest: str) -> None:
    """Make the extension and all tables, and the schema if nobody has.

    Raises:
        InputError: there is a store, or the server has no pgvector, or does not let us.
    """
    with link.transaction(journal=False) as cursor:
        cursor.execute(ONE_AT_A_TIME)
        try:
            if not found(cursor, "pg_extension WHERE extname = 'vector'"):
                cursor.execute("CREATE EXTENSION vector SCHEMA public")
            if not found(cursor, f"pg_namespace WHERE nspname = '{link.schema}'"):
                cursor.execute(f'CREATE SCHEMA "{link.schema}"')
        except (ProgrammingError, NotSupportedError, errors.UndefinedFile) as error:
            expected = "expected a server with pgvector, and a database in which we may make it"
            raise InputError(f"store: {line(error)}, {expected}") from error
    link.close()  # the next connection knows vectors
    with link.transaction(journal=False) as cursor:
        cursor.execute(ONE_AT_A_TIME)
        if found(cursor, f"pg_tables WHERE schemaname = '{link.schema}' AND tablename = 'journal'"):
            raise InputError(f"store: schema {link.schema} has one, expected another schema")
        for statement in TABLES:
            cursor.execute(statement.format(vector=f"{link.extension}.vector"))
        index(cursor)
        cursor.execute("INSERT INTO journal VALUES (1, %s, %s)", (content, digest))


def found(cursor: Cursor[Any], test: str) -> bool:
    """Whether the catalog has it."""
    return cursor.execute(f"SELECT EXISTS (SELECT 1 FROM {test})").fetchone() == (True,)


def index(cursor: Cursor[Any]) -> None:
    """Make the indexes by what an item has, anew if they are there."""
    cursor.execute(f"DROP INDEX IF EXISTS {', '.join(INDEXES)}")
    for name, of in INDEXES.items():
        cursor.execute(f"CREATE INDEX {name} ON items {of}")


def turn(link: Link, cursor: Cursor[Any], *changes: str) -> None:
    """Replace columns of the items. Whoever reads or writes them meanwhile keeps it from it for a moment only.

    Raises:
        Interrupted: others did not let go of the items.
    """
    cursor.execute("SET LOCAL lock_timeout = '100ms'")  # others wait for no longer behind this
    for change in changes:
        cursor.execute(f"ALTER TABLE items {change.format(vector=f'{link.extension}.vector')}")
    index(cursor)


def forget(link: Link, columns: Sequence[Column]) -> None:
    """Drop the indexes of parts; they are scanned from then on."""
    for column in columns:
        with link.transaction() as cursor:
            cursor.execute("DELETE FROM near WHERE part = %s", (column,))
        drop(link, f"near_{column}", f"near_{column}_ccnew", f"near_{column}_ccold")


def drop(link: Link, *names: str) -> None:
    """Drop indexes, if they are there, while the store is read and written."""
    for name in names:
        with link.transaction() as cursor:
            there = cursor.execute("SELECT to_regclass(%s)", (name,)).fetchone() != (None,)
        if there:
            link.outside(f'DROP INDEX CONCURRENTLY IF EXISTS "{link.schema}".{name}')
