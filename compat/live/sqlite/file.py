"""The file of the embedded store: tables, journal, transactions and connections."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from compat.errors import InputError
from compat.live.items import Journal, load_journal
from compat.live.sql import LAYOUT, audit_row
from compat.live.sqlite import generations, readonly
from compat.live.store import Conflict

Row: TypeAlias = tuple[Any, ...]
KEPT = 2**20  # changes kept in the log; an index further behind is loaded again
APPLICATION = 0x636D7074  # application id in the file's header
FACETS = """INSERT INTO facets SELECT j.key, CASE WHEN j.type IN ('array', 'object') THEN x'' ELSE j.value END, new.row
    FROM json_each(new.meta) j
    WHERE j.value IS NOT NULL AND j.key IN (SELECT value FROM json_each((SELECT content FROM journal), '$.fields'));
    INSERT INTO changes (part, row) VALUES ('facets', new.row)"""
SCHEMA = f"""
CREATE TABLE items (row INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, content TEXT NOT NULL,
    meta TEXT NOT NULL, version INTEGER NOT NULL);

CREATE TABLE changes (seq INTEGER PRIMARY KEY AUTOINCREMENT, part TEXT NOT NULL, row INTEGER NOT NULL);

CREATE TABLE facets (field TEXT NOT NULL, value NOT NULL, row INTEGER NOT NULL, PRIMARY KEY (field, value, row))
    WITHOUT ROWID;

CREATE INDEX faceted ON facets (row);

CREATE TRIGGER described AFTER INSERT ON items BEGIN {FACETS}; END;

CREATE TRIGGER redescribed AFTER UPDATE OF meta ON items BEGIN DELETE FROM facets WHERE row = old.row; {FACETS}; END;

CREATE TRIGGER undescribed AFTER DELETE ON items BEGIN DELETE FROM facets WHERE row = old.row;
    INSERT INTO changes (part, row) VALUES ('facets', old.row); END;

CREATE TRIGGER forgotten AFTER INSERT ON changes WHEN new.seq % {KEPT // 16} = 0
BEGIN DELETE FROM changes WHERE seq <= new.seq - {KEPT}; END;

CREATE TABLE journal (one INTEGER PRIMARY KEY CHECK (one = 1), content TEXT NOT NULL, digest TEXT NOT NULL);

CREATE TABLE history (seq INTEGER PRIMARY KEY, at REAL NOT NULL, who TEXT NOT NULL, version TEXT NOT NULL,
    changes TEXT NOT NULL);

CREATE TABLE fits (migration INTEGER NOT NULL, learned INTEGER NOT NULL, content BLOB NOT NULL,
    PRIMARY KEY (migration, learned));

CREATE TABLE claims (row INTEGER PRIMARY KEY, worker TEXT NOT NULL, until REAL NOT NULL)
"""
STORE_ID = (
    "SELECT CASE WHEN json_valid(content) THEN json_extract(content, '$.store') END, user_version"
    " FROM journal, pragma_user_version"
)
LONG = 2**26  # bytes of the write-ahead log
SHORTLY = 250  # milliseconds to wait for readers before truncation
CACHE = 2**16  # KiB of pages in memory
BUSY = 60.0  # seconds for which a write waits for another


def connect(path: Path) -> sqlite3.Connection:
    """Open a connection with durable commits; a read-only one if the file cannot be written."""
    if path.is_file() and not readonly.is_writable(path):
        return readonly.connect_readonly(path, BUSY)
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
        raise readonly.explain_error(path, error) from error
    return base


def read_journal(cursor: sqlite3.Cursor) -> Journal:
    """Read the journal in the cursor's transaction."""
    row = cursor.execute("SELECT content, digest FROM journal").fetchone()
    if row is None:
        raise InputError("journal: none, expected the store's")
    return load_journal(*row)


def check_unchanged(cursor: sqlite3.Cursor, before: Journal) -> None:
    """Check that the journal is unchanged, in the cursor's transaction.

    Raises:
        Conflict: it has changed.
    """
    if read_journal(cursor) != before:
        raise Conflict


def replace_journal(cursor: sqlite3.Cursor, before: Journal, after: Journal) -> None:
    """Replace the journal if it is unchanged, in the cursor's transaction, and write the audit log."""
    cursor.execute("UPDATE journal SET content = ?, digest = ? WHERE digest = ?", (*after.dump(), before.dump()[1]))
    if cursor.rowcount != 1:
        raise Conflict
    if after != before:
        cursor.execute("INSERT INTO history (at, who, version, changes) VALUES (?, ?, ?, ?)", audit_row(before, after))
    if (after.generation, after.new_generation) != (before.generation, before.new_generation):
        generations.ensure(cursor, after)


LINKS: weakref.WeakSet[SqliteConnection] = weakref.WeakSet()
GATE = threading.RLock()  # held while a second connection is open
HELD: list[SqliteConnection] = []  # connections locked by the forking thread


def _before_fork() -> None:
    """Wait for transactions and close all connections: SQLite's locks belong to a process and must not be forked."""
    GATE.acquire()
    for link in list(LINKS):
        link.lock.acquire()
        HELD.append(link)
        if link.base is not None and not link.base.in_transaction:
            link.base.close()
            link.base = None


def _after_fork(child: bool = False) -> None:
    while HELD:
        link = HELD.pop()
        link.forked_in_transaction = child and link.base is not None
        link.lock.release()
    GATE.release()


if hasattr(os, "register_at_fork"):
    child = partial(_after_fork, child=True)
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=child)


@contextmanager
def second_connection(path: Path) -> Iterator[sqlite3.Connection]:
    """Open another connection, as a thread with a long read needs; forks wait for its end."""
    with GATE, closing(connect(path)) as base:
        yield base


class SqliteConnection:
    """A process's connection to the file, shared by its threads in turn.

    Args:
        path: path of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.lock = path, threading.RLock()
        self.base: sqlite3.Connection | None = None
        self.file: readonly.Stamp | None = None  # of the open file
        self.immutable = False  # whether it is read as immutable
        self.store: str | None = None
        self.forked_in_transaction = False  # forked during a transaction of the parent
        self.log_limit = LONG
        LINKS.add(self)

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection, opened on first use."""
        if self.forked_in_transaction:
            raise InputError(f"store: {self.path} was in a transaction when this process was forked, expected none")
        now = readonly.file_stamp(self.path, self.immutable)
        if self.base is not None and now != self.file:
            if now is None or self.file is None or now[:2] != self.file[:2]:
                raise InputError(f"store: {self.path} was deleted or replaced, expected the opened file")
            if not self.base.in_transaction:  # otherwise the transaction fails at its end
                self.base.close()
                self.base = None
        if self.base is None:
            if now is None or not self.path.is_file():
                raise InputError(f"store: no file {self.path}, expected one made by `init`")
            self.immutable = readonly.is_fixed(self.path)
            self.file = readonly.file_stamp(self.path, self.immutable)
            self.base = connect(self.path)
            try:
                from compat.live.sqlite.layout import update_layout

                update_layout(self.base, self.path)
            except BaseException:
                self.close()
                raise
        return self.base

    @contextmanager
    def transaction(self, kind: str = "IMMEDIATE") -> Iterator[sqlite3.Cursor]:
        """Run a transaction on one state of the file; durable on success, rolled back otherwise.

        Raises:
            InputError: the file is no store.
            OSError: the disk is full, or the file cannot be read or written.
        """
        with self.lock, translate_errors(self.path):
            cursor = self.connection.cursor()
            cursor.execute(f"BEGIN {kind}")
            try:
                self._check_store_id(cursor)
                yield cursor
                cursor.execute("COMMIT")
                if readonly.file_stamp(self.path, self.immutable) != self.file:
                    raise OSError(f"{self.path}: deleted, replaced, or changed while it was read")
                if kind == "IMMEDIATE":
                    self.truncate_log()
            finally:
                if self.base is not None and self.base.in_transaction:
                    cursor.execute("ROLLBACK")

    @contextmanager
    def staging_table(
        self, table: str, name: str
    ) -> Iterator[tuple[Callable[[Iterable[Row]], None], Callable[[], AbstractContextManager[None]]]]:
        """Collect rows in a temporary database, which blocks no writer and no fork.

        Args:
            table: CREATE statement of the table, with a placeholder for its name.
            name: name of the table.

        Yields:
            A function which writes rows to all columns but the first (the second one is the id), and a context manager
            which makes the table visible to this connection and holds its lock.
        """

        marks = ", ".join("?" * (1 + table.count(",")))
        with closing(sqlite3.connect("", isolation_level=None, check_same_thread=False)) as apart:
            apart.execute(table.format(name))

            def stage(rows: Iterable[Row]) -> None:
                last = ""

                def noted() -> Iterator[Row]:
                    nonlocal last
                    for row in rows:
                        last = row[0]
                        yield (None, *row)

                with translate_errors(self.path):
                    apart.execute("BEGIN")
                    try:
                        apart.executemany(f"INSERT INTO {name} VALUES ({marks})", noted())
                    except sqlite3.IntegrityError as error:
                        raise InputError(f"id: {last!r} twice, expected each item once") from error
                    finally:
                        apart.execute("COMMIT")

            @contextmanager
            def here() -> Iterator[None]:
                with self.lock, translate_errors(self.path):
                    base = self.connection
                    base.execute(table.format(name))
                    try:
                        base.execute("BEGIN")
                        base.executemany(f"INSERT INTO {name} VALUES ({marks})", apart.execute(f"SELECT * FROM {name}"))
                        base.execute("COMMIT")
                        yield
                    finally:
                        base.execute(f"DROP TABLE IF EXISTS {name}")

            yield stage, here

    def _check_store_id(self, cursor: sqlite3.Cursor) -> None:
        """Refuse the file if it is another store than the one opened."""
        if (found := cursor.execute(STORE_ID).fetchone()) is None:
            return
        if found[1] > LAYOUT:
            raise InputError(f"store: {self.path} now has tables of version {found[1]}, expected {LAYOUT}")
        if self.store not in (None, found[0]):
            raise InputError(f"store: {self.path} has id {found[0]!r}, expected {self.store!r}, which was opened")
        self.store = found[0]

    def truncate_log(self) -> None:
        """Move a long write-ahead log into the file; SQLite does not while queries overlap."""
        log = Path(f"{self.path}-wal")
        if not log.is_file() or (size := log.stat().st_size) < self.log_limit:
            return
        busy = True
        with suppress(sqlite3.OperationalError):  # the commit itself succeeded
            self.connection.execute(f"PRAGMA busy_timeout = {SHORTLY}")
            busy = bool(self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0])
        self.connection.execute(f"PRAGMA busy_timeout = {int(1000 * BUSY)}")
        self.log_limit = 2 * size if busy else LONG  # a long reader blocks it: try later

    def make(self, journal: Journal) -> None:
        """Create the tables, empty; partial work is removed on failure.

        Raises:
            InputError: they exist.
            OSError: the disk is full.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"store: {error}, expected a writable folder") from error
        if self.path.is_file() and self.path.stat().st_size:
            with closing(connect(self.path)) as base:
                if base.execute("SELECT 1 FROM sqlite_master WHERE name = 'journal'").fetchone():
                    raise InputError(f"store: {self.path} is a store already, expected a new file")
        new = not self.path.exists()
        try:
            with translate_errors(self.path), closing(connect(self.path)) as base:
                base.execute("BEGIN IMMEDIATE")
                cursor = base.cursor()
                generations.run_statements(cursor, SCHEMA)
                cursor.execute("INSERT INTO journal VALUES (1, ?, ?)", journal.dump())
                generations.ensure(cursor, journal)
                write_header(cursor)
                base.execute("COMMIT")
        except OSError:
            for suffix in ("", "-wal", "-shm") if new else ():
                Path(f"{self.path}{suffix}").unlink(missing_ok=True)
            raise

    def journal(self) -> Journal:
        """Read the journal, also within a transaction of this thread."""
        with self.lock:
            if not self.connection.in_transaction:
                with self.transaction("DEFERRED") as cursor:
                    return read_journal(cursor)
            return read_journal(self.connection.cursor())

    def close(self) -> None:
        """Close the connection; the next use opens it again."""
        with self.lock:
            if self.base is not None:
                self.base.close()
                self.base = self.store = None


@contextmanager
def translate_errors(path: Path) -> Iterator[None]:
    """Translate SQLite's errors to this library's, each one line.

    Raises:
        InputError: the file is no store, or is damaged.
        OSError: the disk is full, or the file cannot be read or written.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            raise InputError(f"store: {path} ({error}), expected one made by `init`") from error
        if any(word in str(error) for word in ("readonly", "full", "I/O")):
            raise readonly.explain_error(path, error) from error
        held = f" for {BUSY:g} s by another process, which may stand still" if "locked" in str(error) else ""
        raise OSError(f"{path}: {error}{held}") from error
    except sqlite3.DatabaseError as error:
        raise InputError(f"store: {path} ({error}), expected a file made by `init`") from error


def write_header(cursor: sqlite3.Cursor) -> None:
    """Write the application id and the version of the tables to the file's header."""
    cursor.execute(f"PRAGMA application_id = {APPLICATION}")
    cursor.execute(f"PRAGMA user_version = {LAYOUT}")


def pack(vector: np.ndarray | None) -> bytes | None:
    return None if vector is None else np.asarray(vector, np.float32).tobytes()


def unpack(id: str, blob: bytes | None) -> np.ndarray | None:
    """Convert a stored vector of any dimension."""
    return None if blob is None else unpack_many([id], [blob], len(blob) // 4)[0]


def unpack_many(ids: Sequence[str], blobs: Sequence[bytes], dim: int) -> np.ndarray:
    """Convert stored vectors of items to a matrix (N, D).

    Raises:
        InputError: one is damaged.
    """
    for id, blob in zip(ids, blobs, strict=True):
        if not isinstance(blob, bytes) or len(blob) != 4 * dim:
            raise InputError(f"store: the vector of item {id!r} is damaged, expected {dim} numbers of 4 bytes each")
    return np.frombuffer(bytearray().join(blobs), np.float32).reshape(len(blobs), dim)


def dump_json(values: Mapping[str, Any]) -> str:
    return json.dumps(dict(values), sort_keys=True)
