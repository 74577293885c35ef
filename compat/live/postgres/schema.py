"""Tables of a PostgreSQL store: created in a schema, and converted from the first layout."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from psycopg import Cursor, NotSupportedError, ProgrammingError, errors

from compat.errors import InputError
from compat.live.items import Journal, load_journal, new_store
from compat.live.postgres import generations
from compat.live.postgres.connection import PostgresConnection
from compat.live.postgres.errors import one_line
from compat.live.sql import LAYOUT

TABLES = (
    "CREATE TABLE layout (one int PRIMARY KEY CHECK (one = 1), version int NOT NULL)",
    f"INSERT INTO layout VALUES (1, {LAYOUT})",
    "CREATE TABLE history (seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at float8 NOT NULL, who text NOT NULL,"
    " version text NOT NULL, changes text NOT NULL)",
    "CREATE TABLE fits (migration int NOT NULL, learned int NOT NULL, content bytea NOT NULL,"
    " PRIMARY KEY (migration, learned))",
    # claims, with the server connection unless pooled; unlogged, as a crash ends all claims
    "CREATE UNLOGGED TABLE claims (row bigint PRIMARY KEY, worker text NOT NULL, backend int,"
    " born timestamptz, until timestamptz NOT NULL)",
    "CREATE UNLOGGED TABLE beats (name text PRIMARY KEY, at timestamptz NOT NULL, figures jsonb NOT NULL)",
    # measured indexes: table, number of vectors, ef_search, the table which restricts the search, and its number of
    # vectors if an index search is worth while
    "CREATE TABLE near (part text PRIMARY KEY, items bigint NOT NULL, ef int NOT NULL, over text,"
    " here bigint NOT NULL)",
)
FIRST = (
    "CREATE TABLE journal (one int PRIMARY KEY CHECK (one = 1), content text NOT NULL, digest text NOT NULL)",
    "CREATE TABLE items (row bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id text NOT NULL UNIQUE,"
    " content text NOT NULL, meta jsonb NOT NULL, version bigint NOT NULL)",
)
ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtext('compat'))"  # concurrent creations would conflict


def make(link: PostgresConnection, journal: Journal) -> None:
    """Create all tables, and the extension and the schema if missing.

    Raises:
        InputError: the store exists; the server has no pgvector, or lacks permissions.
    """
    with link.transaction(journal=False) as cursor:
        cursor.execute(ONE_AT_A_TIME)
        try:
            if not in_catalog(cursor, "pg_extension WHERE extname = 'vector'"):
                cursor.execute("CREATE EXTENSION vector SCHEMA public")
            if not in_catalog(cursor, f"pg_namespace WHERE nspname = '{link.schema}'"):
                cursor.execute(f'CREATE SCHEMA "{link.schema}"')
        except (ProgrammingError, NotSupportedError, errors.UndefinedFile) as error:
            expected = "expected a server with pgvector, and a database in which we may make it"
            raise InputError(f"store: {one_line(error)}, {expected}") from error
    link.close()  # the next connection registers the vector type
    with link.transaction(journal=False) as cursor:
        cursor.execute(ONE_AT_A_TIME)
        if has_table(cursor, "journal"):
            raise InputError(f"store: schema {link.schema} has one, expected another schema")
        for statement in (*FIRST, *TABLES):
            cursor.execute(statement)
        cursor.execute("INSERT INTO journal VALUES (1, %s, %s)", journal.dump())
        generations.ensure(cursor, journal, link.extension)


def in_catalog(cursor: Cursor[Any], test: str) -> bool:
    """Return whether the catalog has a matching row."""
    return cursor.execute(f"SELECT EXISTS (SELECT 1 FROM {test})").fetchone() == (True,)


def has_table(cursor: Cursor[Any], name: str) -> bool:
    """Return whether the store has a table."""
    return cursor.execute("SELECT to_regclass(%s)", (name,)).fetchone() != (None,)


def update_layout(link: PostgresConnection) -> None:
    """Convert the store from the first layout, which had all vectors in the table of items.

    Raises:
        InputError: a newer layout.
    """
    with link.transaction(journal=False) as cursor:
        if not has_table(cursor, "layout") and has_table(cursor, "journal"):
            cursor.execute("LOCK TABLE journal, items IN ACCESS EXCLUSIVE MODE")
            if not has_table(cursor, "layout"):  # else another process was faster
                move_first_layout(cursor, link.extension)
        if has_table(cursor, "layout"):
            version = cursor.execute("SELECT version FROM layout").fetchone()
            if version is not None and version[0] > LAYOUT:
                raise InputError(
                    f"store: schema {link.schema} has tables of version {version[0]}, expected {LAYOUT} or less:"
                    " update this package"
                )


def move_first_layout(cursor: Cursor[Any], extension: str) -> None:
    """Convert a store of the first layout, in the cursor's transaction."""
    row = cursor.execute("SELECT content, digest FROM journal").fetchone()
    if row is None:
        raise InputError("journal: none, expected the store's")
    journal = replace(load_journal(*row), store=new_store())
    for statement in ("DROP TABLE claims, beats, near", *TABLES):
        cursor.execute(statement)
    cursor.execute("UPDATE journal SET content = %s, digest = %s", journal.dump())
    old, new = journal.old_generation, journal.new_generation
    for column, generation, dim in (("old", old, journal.dim), ("new", new, journal.new_dim)):
        if generation is None:
            continue
        failure = "failure" if column == "new" else "NULL"
        queue = f"SELECT row, place, {failure} FROM items WHERE {column} IS NULL"
        generations.make(cursor, generation, dim, extension, queue)
        cursor.execute(
            f"INSERT INTO vectors_{generation} SELECT row, place, {column} FROM items WHERE {column} IS NOT NULL"
        )
    if new is not None:
        cursor.execute(f"INSERT INTO bridge_{new} SELECT row, bridge FROM items WHERE bridge IS NOT NULL")
    columns = ("old", "bridge", "new", "place", "failure")  # drops their indexes too
    cursor.execute(f"ALTER TABLE items {', '.join(f'DROP {name}' for name in columns)}")
    generations.ensure(cursor, journal, extension)
