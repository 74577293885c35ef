"""Files of earlier versions, converted to the current tables when opened, in one transaction."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

from compat.errors import InputError
from compat.live.items import new_store
from compat.live.sql import LAYOUT
from compat.live.sqlite import file, generations


def update_layout(base: sqlite3.Connection, path: Path) -> None:
    """Convert the file's tables to the current layout.

    Raises:
        InputError: a newer layout.
    """
    version = base.execute("PRAGMA user_version").fetchone()[0]
    ours = base.execute("PRAGMA application_id").fetchone()[0] == file.APPLICATION
    if ours and version > LAYOUT:
        raise InputError(
            f"store: {path} has tables of version {version}, expected {LAYOUT} or less: update this package"
        )
    if ours or version or not is_first_layout(base):
        return
    cursor = base.cursor()
    cursor.execute("BEGIN IMMEDIATE")
    try:
        if is_first_layout(base):  # else another process was faster
            move_first_layout(cursor)
        cursor.execute("COMMIT")
    finally:
        if base.in_transaction:
            cursor.execute("ROLLBACK")


def is_first_layout(base: sqlite3.Connection) -> bool:
    """Return whether the store has the first layout, with all vectors in the table of items."""
    found = {name for (name,) in base.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    return {"journal", "items", "changes"} <= found and "history" not in found


def move_first_layout(cursor: sqlite3.Cursor) -> None:
    """Convert a store of the first layout, in the cursor's transaction."""
    before = file.read_journal(cursor)
    journal = replace(before, store=new_store())
    for kind in ("trigger", "index"):
        named = "SELECT name FROM sqlite_master WHERE type = ? AND sql IS NOT NULL"
        for (name,) in cursor.execute(named, (kind,)).fetchall():
            cursor.execute(f"DROP {kind} {name}")
    last = cursor.execute("SELECT seq FROM sqlite_sequence WHERE name = 'items'").fetchone()
    cursor.execute("ALTER TABLE items RENAME TO first_items")
    for name in ("changes", "facets", "claims", "beats", "journal"):
        cursor.execute(f"DROP TABLE {name}")
    generations.run_statements(cursor, file.SCHEMA)
    cursor.execute("INSERT INTO journal VALUES (1, ?, ?)", journal.dump())
    cursor.execute("INSERT INTO items SELECT row, id, content, meta, version FROM first_items")
    if last is not None:
        cursor.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = 'items'", last)
    old, new = journal.old_generation, journal.new_generation
    for column, generation in (("old", old), ("new", new)):
        if generation is None:
            continue
        generations.make(cursor, generation)
        cursor.execute(
            f"INSERT INTO lacking_{generation} SELECT row, place, {'failure' if column == 'new' else 'NULL'}"
            f" FROM first_items WHERE {column} IS NULL"
        )
        cursor.execute(
            f"INSERT INTO vectors_{generation} SELECT row, place, {column} FROM first_items WHERE {column} IS NOT NULL"
        )
    if new is not None and journal.phase != "finalized":
        cursor.execute(f"INSERT INTO bridge_{new} SELECT row, bridge FROM first_items WHERE bridge IS NOT NULL")
    cursor.execute("DROP TABLE first_items")
    file.write_header(cursor)
