"""The file of the embedded store: its tables, its journal, transactions, and which processes work on it."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from compat.errors import InputError
from compat.live.items import Journal, load_journal
from compat.live.store import Conflict

KEPT = 2**20  # changes that are remembered; whoever has seen none of them loads anew
SCHEMA = f"""
CREATE TABLE items (row INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, content TEXT NOT NULL,
    meta TEXT NOT NULL, version INTEGER NOT NULL, place INTEGER NOT NULL DEFAULT -1, failure TEXT,
    old BLOB, bridge BLOB, new BLOB);

CREATE INDEX pending ON items (place, row) WHERE new IS NULL AND failure IS NULL;

CREATE INDEX failed ON items (row) WHERE new IS NULL AND failure IS NOT NULL;

CREATE INDEX bare ON items (row) WHERE new IS NULL AND old IS NULL;

CREATE INDEX rootless ON items (row) WHERE old IS NULL;

CREATE INDEX migrated ON items (row) WHERE new IS NOT NULL;

CREATE TABLE changes (seq INTEGER PRIMARY KEY AUTOINCREMENT, row INTEGER NOT NULL);

CREATE TABLE facets (field TEXT NOT NULL, value NOT NULL, row INTEGER NOT NULL, PRIMARY KEY (field, value, row))
    WITHOUT ROWID;

CREATE INDEX faceted ON facets (row);

CREATE TRIGGER described AFTER INSERT ON items BEGIN
    INSERT INTO facets SELECT j.key, j.value, new.row FROM json_each(new.meta) j
    WHERE j.value IS NOT NULL AND j.key IN (SELECT value FROM json_each((SELECT content FROM journal), '$.fields'));
END;

CREATE TRIGGER redescribed AFTER UPDATE OF meta ON items BEGIN DELETE FROM facets WHERE row = old.row;
    INSERT INTO facets SELECT j.key, j.value, new.row FROM json_each(new.meta) j
    WHERE j.value IS NOT NULL AND j.key IN (SELECT value FROM json_each((SELECT content FROM journal), '$.fields'));
END;

CREATE TRIGGER undescribed AFTER DELETE ON items BEGIN DELETE FROM facets WHERE row = old.row; END;

CREATE TRIGGER inserted AFTER INSERT ON items BEGIN INSERT INTO changes (row) VALUES (new.row); END;

CREATE TRIGGER updated AFTER UPDATE OF old, bridge, new ON items
    WHEN old.new IS NOT new.new OR new.new IS NULL AND (old.old IS NOT new.old OR old.bridge IS NOT new.bridge)
BEGIN INSERT INTO changes (row) VALUES (new.row); END;

CREATE TRIGGER deleted AFTER DELETE ON items BEGIN INSERT INTO changes (row) VALUES (old.row); END;

CREATE TRIGGER forgotten AFTER INSERT ON changes WHEN new.seq % {KEPT // 16} = 0
BEGIN DELETE FROM changes WHERE seq <= new.seq - {KEPT}; END;

CREATE TABLE journal (one INTEGER PRIMARY KEY CHECK (one = 1), content TEXT NOT NULL, digest TEXT NOT NULL);

CREATE TABLE claims (row INTEGER PRIMARY KEY, worker TEXT NOT NULL, until REAL NOT NULL);

CREATE TABLE beats (name TEXT PRIMARY KEY, at REAL NOT NULL, figures TEXT NOT NULL)
"""
LONG = 2**26  # bytes of the write-ahead log
SHORTLY = 250  # milliseconds to wait for readers until it is shortened
CACHE = 2**16  # KiB of pages in memory
BUSY = 60.0  # seconds that a write waits for another


def connect(path: Path) -> sqlite3.Connection:
    """A connection whose commits are on disk when they return."""
    base = None
    try:
        base = sqlite3.connect(path, timeout=BUSY, isolation_level=None, check_same_thread=False)
        base.execute("PRAGMA journal_mode = WAL")
        base.execute("PRAGMA synchronous = FULL")
        base.execute(f"PRAGMA cache_size = {-CACHE}")
    except sqlite3.DatabaseError as error:
        if base is not None:
            base.close()
        if "locked" in str(error):
            raise OSError(f"{path}: {error}") from error
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


class Link:
    """A process's connection to the file, one for all its threads, which take turns.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.lock = path, threading.RLock()
        self.base: sqlite3.Connection | None = None
        self.long = LONG

    @property
    def connection(self) -> sqlite3.Connection:
        """Opened when it is first needed."""
        if self.base is None:
            if not self.path.is_file():
                raise InputError(f"store: no file {self.path}, expected one that `init` made")
            self.base = connect(self.path)
        return self.base

    @contextmanager
    def transaction(self, kind: str = "IMMEDIATE") -> Iterator[sqlite3.Cursor]:
        """One state of the file; what is written is on disk when it ends well, and undone otherwise.

        Raises:
            InputError: the file is no store.
            OSError: the disk is full, or the file is not to be read or written.
        """
        with self.lock:
            try:
                cursor = self.connection.cursor()
                cursor.execute(f"BEGIN {kind}")
                try:
                    yield cursor
                    cursor.execute("COMMIT")
                    if kind == "IMMEDIATE":
                        self.shorten()
                finally:
                    if self.connection.in_transaction:
                        cursor.execute("ROLLBACK")
            except sqlite3.OperationalError as error:
                if "no such table" in str(error):
                    raise InputError(f"store: {self.path} ({error}), expected one that `init` made") from error
                raise OSError(f"{self.path}: {error}") from error
            except sqlite3.DatabaseError as error:
                raise InputError(f"store: {self.path} ({error}), expected a file that `init` made") from error

    def shorten(self) -> None:
        """Move the write-ahead log into the file once it is long: while queries follow each other SQLite never does."""
        log = Path(f"{self.path}-wal")
        if not log.is_file() or (size := log.stat().st_size) < self.long:
            return
        busy = True
        with suppress(sqlite3.OperationalError):  # what was written is written
            self.connection.execute(f"PRAGMA busy_timeout = {SHORTLY}")
            busy = bool(self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0])
        self.connection.execute(f"PRAGMA busy_timeout = {int(1000 * BUSY)}")
        self.long = 2 * size if busy else LONG  # a reader takes long: later

    def make(self, journal: Journal) -> None:
        """Make the tables, empty.

        Raises:
            InputError: they are there.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.is_file() and self.path.stat().st_size:
            with closing(connect(self.path)) as base:
                if base.execute("SELECT 1 FROM sqlite_master WHERE name = 'journal'").fetchone():
                    raise InputError(f"store: {self.path} is a store already, expected a new file")
        self.base = connect(self.path)
        with self.transaction() as cursor:
            for statement in SCHEMA.split(";\n\n"):
                cursor.execute(statement)
            cursor.execute("INSERT INTO journal VALUES (1, ?, ?)", journal.dump())

    def journal(self) -> Journal:
        """The journal, also within a transaction of this thread."""
        with self.lock:
            if not self.connection.in_transaction:
                with self.transaction("DEFERRED") as cursor:
                    return read_journal(cursor)
            return read_journal(self.connection.cursor())

    def close(self) -> None:
        """Close the connection; it is opened again when it is needed."""
        with self.lock:
            if self.base is not None:
                self.base.close()
                self.base = None


def packed(vector: np.ndarray | None) -> bytes | None:
    return None if vector is None else np.asarray(vector, np.float32).tobytes()


def unpacked(id: str, blob: bytes | None) -> np.ndarray | None:
    """A vector of an item, of whatever dimension."""
    return None if blob is None else stacked([id], [blob], len(blob) // 4)[0]


def stacked(ids: Sequence[str], blobs: Sequence[bytes], dim: int) -> np.ndarray:
    """Vectors (N, D) of items.

    Raises:
        InputError: one is damaged.
    """
    for id, blob in zip(ids, blobs, strict=True):
        if not isinstance(blob, bytes) or len(blob) != 4 * dim:
            raise InputError(f"store: the vector of item {id!r} is damaged, expected {dim} numbers of 4 bytes each")
    return np.frombuffer(bytearray().join(blobs), np.float32).reshape(len(blobs), dim)


def dumped(values: Mapping[str, Any]) -> str:
    return json.dumps(dict(values), sort_keys=True)
