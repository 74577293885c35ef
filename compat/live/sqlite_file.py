"""The file of the embedded store: its tables, its journal, and which processes work on it."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from compat.errors import InputError
from compat.live.items import Journal, load_journal
from compat.live.store import Conflict

SCHEMA = """
CREATE TABLE items (row INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, content TEXT NOT NULL,
    meta TEXT NOT NULL, version INTEGER NOT NULL, place INTEGER NOT NULL DEFAULT -1, failure TEXT,
    old BLOB, bridge BLOB, new BLOB);
CREATE INDEX pending ON items (place, row) WHERE new IS NULL AND failure IS NULL;
CREATE INDEX failed ON items (row) WHERE new IS NULL AND failure IS NOT NULL;
CREATE INDEX bare ON items (row) WHERE new IS NULL AND old IS NULL;
CREATE INDEX rootless ON items (row) WHERE old IS NULL;
CREATE INDEX migrated ON items (row) WHERE new IS NOT NULL;
CREATE TABLE changes (seq INTEGER PRIMARY KEY AUTOINCREMENT, row INTEGER NOT NULL);
CREATE TRIGGER inserted AFTER INSERT ON items BEGIN INSERT INTO changes (row) VALUES (new.row); END;
CREATE TRIGGER updated AFTER UPDATE OF old, bridge, new ON items BEGIN INSERT INTO changes (row) VALUES (new.row); END;
CREATE TRIGGER deleted AFTER DELETE ON items BEGIN INSERT INTO changes (row) VALUES (old.row); END;
CREATE TABLE journal (one INTEGER PRIMARY KEY CHECK (one = 1), content TEXT NOT NULL, digest TEXT NOT NULL);
CREATE TABLE claims (row INTEGER PRIMARY KEY, worker TEXT NOT NULL, until REAL NOT NULL);
CREATE TABLE beats (name TEXT PRIMARY KEY, at REAL NOT NULL, figures TEXT NOT NULL);
"""
BUSY = 60.0  # seconds that a write waits for another


def this_process() -> str:
    """Its name as a worker: the store frees what a process of this machine claimed once it is dead."""
    return f"{socket.gethostname()}:{os.getpid()}:{threading.get_ident()}"


def connect(path: Path) -> sqlite3.Connection:
    """A connection whose commits are on disk when they return."""
    base = sqlite3.connect(path, timeout=BUSY, isolation_level=None, check_same_thread=False)
    try:
        base.execute("PRAGMA journal_mode = WAL")
        base.execute("PRAGMA synchronous = FULL")
    except sqlite3.DatabaseError as error:
        base.close()
        raise InputError(f"store: {path} ({error}), expected a file that `init` made") from error
    return base


def read_journal(cursor: sqlite3.Cursor) -> Journal:
    """The journal, in the transaction of the cursor."""
    row = cursor.execute("SELECT content, digest FROM journal").fetchone()
    if row is None:
        raise InputError("journal: none, expected that of the store")
    return load_journal(*row)


def replace(cursor: sqlite3.Cursor, before: Journal, after: Journal) -> None:
    """Replace the journal, in the transaction of the cursor, if it is as it was."""
    cursor.execute("UPDATE journal SET content = ?, digest = ? WHERE digest = ?", (*after.dump(), before.dump()[1]))
    if cursor.rowcount != 1:
        raise Conflict


def is_dead(worker: str) -> bool:
    """Whether it was a process of this machine, and is none any more."""
    host, process, _ = worker.rsplit(":", 2)
    if host != socket.gethostname():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def packed(vector: np.ndarray | None) -> bytes | None:
    return None if vector is None else np.asarray(vector, np.float32).tobytes()


def unpacked(blob: bytes | None) -> np.ndarray | None:
    return None if blob is None else np.frombuffer(blob, np.float32)


def dumped(values: Mapping[str, Any]) -> str:
    return json.dumps(dict(values), sort_keys=True)
