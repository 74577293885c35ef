"""Bulk insertion of items into a PostgreSQL store by COPY."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any

from psycopg import Cursor, errors

from compat.errors import InputError
from compat.live import sql
from compat.live.checks import check_adding, check_item
from compat.live.items import Item, Journal, new_version
from compat.live.postgres.connection import PostgresConnection
from compat.live.postgres.errors import one_line
from compat.live.postgres.generations import ADDING
from compat.live.postgres.values import to_json

AT_ONCE = 2048  # items copied at a time
NUMBERS = "SELECT nextval(pg_get_serial_sequence('items', 'row')) FROM generate_series(1, %s)"


def add(link: PostgresConnection, items: Iterable[Item]) -> int:
    """Add items with their old embeddings, all or none.

    The journal is locked only at the end, so a slow source of items blocks no writer.

    Returns:
        The number of items.
    """
    numbers: list[int] = []
    with link.transaction() as cursor:
        journal, left = link.journal, iter(items)
        check_adding(journal)
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = '1h'")
        cursor.execute(f"SELECT pg_advisory_xact_lock_shared({ADDING})")  # `plan` waits for this lock
        while some := list(islice(left, AT_ONCE)):
            for item in some:
                check_item(item, journal)
            rows = [row for (row,) in cursor.execute(NUMBERS, (len(some),))]
            try:
                insert(cursor, rows, some, journal)
            except errors.UniqueViolation as error:
                raise InputError(f"id: {one_line(error)}, expected each item once") from error
            numbers += rows
        now = link.reload_journal(cursor, "FOR SHARE")
        check_adding(now)
        if (now.dim, now.old_generation) != (journal.dim, journal.old_generation):
            raise InputError("add: another migration was finalized meanwhile, expected an unchanged store")
        if queue := sql.lacking_table("new", now):
            copy_rows(cursor, f"{queue} (row, place)", ["int8", "int8"], ((row, -1) for row in numbers))
    return len(numbers)


def insert(cursor: Cursor[Any], rows: list[int], items: list[Item], journal: Journal) -> None:
    """Copy items with row numbers, and their old embeddings."""
    both = list(zip(rows, items, strict=True))
    copy_rows(
        cursor,
        "items (row, id, content, meta, version)",
        ["int8", "text", "text", "jsonb", "int8"],
        ((row, i.id, i.content, to_json(dict(i.meta)), i.version or new_version()) for row, i in both),
    )
    known = ((row, -1, i.old) for row, i in both if i.old is not None)
    copy_rows(cursor, f"{sql.table_of('old', journal)} (row, place, vector)", ["int8", "int8", "vector"], known)
    lacking = ((row, -1) for row, i in both if i.old is None)
    copy_rows(cursor, f"{sql.lacking_table('old', journal)} (row, place)", ["int8", "int8"], lacking)


def copy_rows(cursor: Cursor[Any], into: str, types: list[str], rows: Iterable[tuple[Any, ...]]) -> None:
    """Copy rows into a table."""
    with cursor.copy(f"COPY {into} FROM STDIN (FORMAT BINARY)") as copy:
        copy.set_types(types)
        for row in rows:
            copy.write_row(row)
