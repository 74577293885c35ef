"""Tables of generations: created when a migration is planned, deleted in chunks when unused."""

from __future__ import annotations

import re
import sqlite3

from compat.live.items import Journal
from compat.live.sql import live_tables

LACKING = """
CREATE TABLE {lacking} (row INTEGER PRIMARY KEY, place INTEGER NOT NULL, failure TEXT);

CREATE INDEX {lacking}_pending ON {lacking} (place, row) WHERE failure IS NULL;

CREATE INDEX {lacking}_failed ON {lacking} (row) WHERE failure IS NOT NULL
"""
VECTORS = """
CREATE TABLE {vectors} (row INTEGER PRIMARY KEY, place INTEGER NOT NULL, vector BLOB NOT NULL);

CREATE TRIGGER {vectors}_inserted AFTER INSERT ON {vectors} BEGIN
    DELETE FROM {lacking} WHERE row = new.row;
    INSERT INTO changes (part, row) VALUES ('{vectors}', new.row); END;

CREATE TRIGGER {vectors}_updated AFTER UPDATE ON {vectors} BEGIN
    INSERT INTO changes (part, row) VALUES ('{vectors}', new.row); END;

CREATE TRIGGER {vectors}_deleted AFTER DELETE ON {vectors} BEGIN
    INSERT INTO changes (part, row) VALUES ('{vectors}', old.row); END;

CREATE TRIGGER {vectors}_ended AFTER DELETE ON items BEGIN
    DELETE FROM {vectors} WHERE row = old.row; DELETE FROM {lacking} WHERE row = old.row; END
"""
BRIDGE = """
CREATE TABLE {bridge} (row INTEGER PRIMARY KEY, vector BLOB NOT NULL);

CREATE TRIGGER {bridge}_inserted AFTER INSERT ON {bridge} BEGIN
    INSERT INTO changes (part, row) VALUES ('{bridge}', new.row); END;

CREATE TRIGGER {bridge}_updated AFTER UPDATE ON {bridge} BEGIN
    INSERT INTO changes (part, row) VALUES ('{bridge}', new.row); END;

CREATE TRIGGER {bridge}_deleted AFTER DELETE ON {bridge} BEGIN
    INSERT INTO changes (part, row) VALUES ('{bridge}', old.row); END;

CREATE TRIGGER {bridge}_ended AFTER DELETE ON items BEGIN DELETE FROM {bridge} WHERE row = old.row; END
"""
STAGED = """
CREATE TRIGGER {staged}_begun AFTER INSERT ON items BEGIN
    INSERT OR IGNORE INTO {staged} (row, place) VALUES (new.row, -1); END;

CREATE TRIGGER {staged}_ended AFTER DELETE ON items BEGIN DELETE FROM {staged} WHERE row = old.row; END
"""
OURS = r"(vectors|lacking|bridge)_\d+"


def make(cursor: sqlite3.Cursor, generation: int, staged: str | None = None) -> None:
    """Create the tables of a generation.

    Args:
        cursor: cursor in a transaction.
        generation: its number.
        staged: table with its order, see `stage`; None: no item is in it.
    """
    names = {"vectors": f"vectors_{generation}", "lacking": f"lacking_{generation}", "bridge": f"bridge_{generation}"}
    if staged is None:
        run_statements(cursor, LACKING, **names)
    else:
        drop_triggers(cursor, staged)
        cursor.execute(f"ALTER TABLE {staged} RENAME TO {names['lacking']}")
    run_statements(cursor, VECTORS, **names)
    if generation:  # the first generation belongs to no migration
        run_statements(cursor, BRIDGE, **names)


def stage(cursor: sqlite3.Cursor, name: str) -> None:
    """Create a table in which an order is prepared; triggers apply users' inserts and deletions to it."""
    run_statements(cursor, LACKING, lacking=name)
    run_statements(cursor, STAGED, staged=name)


def ensure(cursor: sqlite3.Cursor, journal: Journal) -> None:
    """Create the missing tables of a journal, with all items pending and without a place."""
    there = tables(cursor)
    for name in live_tables(journal):
        if name.startswith("vectors") and name not in there:
            generation = int(name.split("_")[1])
            make(cursor, generation)
            cursor.execute(f"INSERT INTO lacking_{generation} SELECT row, -1, NULL FROM items")


def tables(cursor: sqlite3.Cursor) -> list[str]:
    """Return the names of the tables of all generations."""
    found = cursor.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    return [name for (name,) in found if re.fullmatch(OURS, name)]


def sweep(cursor: sqlite3.Cursor, journal: Journal, rows: int) -> bool:
    """Delete at most `rows` rows of unused tables, drop empty ones, and return whether any are left."""
    dead = sorted(
        set(tables(cursor)) - live_tables(journal), reverse=True
    )  # vectors first, as their triggers name the other tables
    for name in dead:
        drop_triggers(cursor, name)
    for name in dead:
        of = f"SELECT row FROM {name} LIMIT ?"
        if (deleted := cursor.execute(f"DELETE FROM {name} WHERE row IN ({of})", (rows,)).rowcount) == rows:
            return True
        rows -= deleted
        cursor.execute(f"DROP TABLE {name}")
    return False


def abandoned_tables(cursor: sqlite3.Cursor) -> list[str]:
    """Return the names of the tables of orders which were never published."""
    found = cursor.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'staged%'")
    return [name for (name,) in found.fetchall()]


def drop(cursor: sqlite3.Cursor, name: str) -> None:
    """Drop a table and its triggers, if it exists."""
    drop_triggers(cursor, name)
    cursor.execute(f"DROP TABLE IF EXISTS {name}")


def drop_triggers(cursor: sqlite3.Cursor, name: str) -> None:
    """Drop the triggers of an unused table, so its deletion is not logged as changes."""
    for (trigger,) in cursor.execute(
        "SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE ? ESCAPE '\\'",
        (name.replace("_", "\\_") + "\\_%",),
    ).fetchall():
        cursor.execute(f"DROP TRIGGER {trigger}")


def run_statements(cursor: sqlite3.Cursor, statements: str, **names: str) -> None:
    for statement in statements.split(";\n\n"):
        cursor.execute(statement.format(**names))
