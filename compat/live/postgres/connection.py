"""Connections to a PostgreSQL server, and transactions."""

from __future__ import annotations

import logging
import os
import random
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import psycopg
from psycopg import pq

from compat.errors import InputError
from compat.live.items import Journal, load_journal
from compat.live.postgres.address import parse
from compat.live.postgres.errors import Gone, Undone, one_line, translate_errors
from compat.live.postgres.values import register
from compat.live.sql import audit_row
from compat.live.store import Conflict

KNOWN = """SELECT pg_backend_pid(), e.extversion, n.nspname, has_schema_privilege(n.oid, 'USAGE'), current_user, t.oid
    FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
    JOIN pg_catalog.pg_type t ON t.typnamespace = n.oid AND t.typname = 'vector'
    WHERE e.extname = 'vector' UNION ALL SELECT pg_backend_pid(), NULL, NULL, NULL, NULL, NULL LIMIT 1"""
# settings are local, as a pooler may use another server connection for the next transaction; pg_temp comes last, as it
# may be another client's; a process stopped in a transaction holds locks for at most 10 s; lock waits end with an error
LOCAL = """SET LOCAL search_path = "{schema}", pg_temp; SET LOCAL jit = off;
SET LOCAL idle_in_transaction_session_timeout = '10s'; SET LOCAL lock_timeout = '5s';
SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'"""
READ = "SELECT content, digest FROM journal"
WRITES = "ISOLATION LEVEL READ COMMITTED"
SNAPSHOT = "ISOLATION LEVEL REPEATABLE READ READ ONLY"
HOLDERS = """SELECT a.pid, coalesce(nullif(a.application_name, ''), a.backend_type), a.usename, a.state,
    floor(extract(epoch FROM clock_timestamp() - a.xact_start))::int
    FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE c.relnamespace = %s::regnamespace AND l.granted AND a.pid <> pg_backend_pid()
    ORDER BY a.xact_start LIMIT 1"""
OLDEST = (0, 8)  # version of pgvector with iterative index scans
BETWEEN = (pq.TransactionStatus.IDLE, pq.TransactionStatus.UNKNOWN)  # between transactions or connections
TRIES = 20
AGAIN = 3  # retries if tables are missing
PAUSES = 0.01, 5.0  # seconds before the second try (then doubled), and at most
T = TypeVar("T")

logging.getLogger("psycopg").addHandler(logging.NullHandler())  # its warnings are printed only on request


class PostgresConnection:
    """A connection, opened on first use, and again after a loss or a fork.

    It relies on no server state between transactions, so it works through a pooler.

    Args:
        url: libpq's address, with `schema` among its parameters.

    Attributes:
        schema: schema of the store.
        extension: schema of pgvector, quoted.
        pooled: whether there is a pooler, so no server connection belongs to this process.
        last_journal: journal read by the transaction.

    Raises:
        InputError: an address which libpq cannot read; a schema which is no plain name.
    """

    def __init__(self, url: str) -> None:
        self.address = parse(url)
        self.schema, self.extension, self.pooled = self.address.schema, "", False
        self.lock = threading.RLock()
        self.open: psycopg.Connection[Any] | None = None
        self.connected_before, self.layout_checked, self.store = False, False, ""
        self.last_journal: Journal | None = None
        LINKS.add(self)

    @property
    def connection(self) -> psycopg.Connection[Any]:
        """An open connection, as far as is known.

        Raises:
            InputError: none could ever be opened.
        """
        if self.open is not None and self.open.closed:
            self.open = None
        if self.open is None:
            try:
                self.open = psycopg.connect(autocommit=True, prepare_threshold=None, **self.address.parameters)
            except (psycopg.Error, UnicodeError) as error:
                if self.connected_before and isinstance(error, psycopg.Error):
                    raise
                said = self.address.hide_password(one_line(error))
                raise InputError(f"store: {said}; expected a PostgreSQL server which accepts the login") from None
            self.connected_before = True
            self._prepare(self.open)
        return self.open

    def close(self) -> None:
        """Close the connection."""
        with self.lock:
            if self.open is not None:
                self.open.close()
                self.open = None

    @contextmanager
    def transaction(self, mode: str = WRITES, lock: str = "", journal: bool = True) -> Iterator[psycopg.Cursor[Any]]:
        """Run a transaction which begins by reading the journal; durable on success, rolled back otherwise.

        Args:
            mode: mode of the transaction.
            lock: lock of the journal's row, held until the end.
            journal: whether to read the journal.

        Raises:
            InputError: no store here, or another one; a statement which the server refuses.
            OSError: the server does not answer, or cannot continue.
        """
        reads = f"; {READ} {lock}" if journal else ""
        with self.lock, translate_errors():
            self._check_idle()
            if journal and not self.layout_checked:
                from compat.live.postgres.schema import update_layout

                update_layout(self)
                self.layout_checked = True
            try:
                begun = self._begin(f"BEGIN {mode}; {LOCAL.format(schema=self.schema)}{reads}")
                if journal:
                    self._accept_journal(begun.fetchone())
                with begun.connection.cursor(binary=True) as cursor:
                    yield cursor
                begun.connection.execute("COMMIT")
            except BaseException:
                self._undo()
                raise

    @property
    def journal(self) -> Journal:
        """Journal of the current transaction."""
        assert self.last_journal is not None
        return self.last_journal

    def reload_journal(self, cursor: psycopg.Cursor[Any], lock: str) -> Journal:
        """Read the journal again within a transaction, with a lock."""
        self._accept_journal(cursor.execute(f"{READ} {lock}").fetchone())
        return self.journal

    def write(self, step: Callable[[psycopg.Cursor[Any]], T], **options: Any) -> T:
        """Run a step in a transaction, retrying with growing delays on conflicts with other transactions."""
        for n in range(TRIES):
            try:
                with self.transaction(**options) as cursor:
                    return step(cursor)
            except Undone as error:
                found = error
            if isinstance(found, Gone) and n == AGAIN:
                raise InputError(f"store: {found}, expected the tables named in its journal") from found
            if n + 1 < TRIES:
                time.sleep(min(PAUSES[0] * 2**n, PAUSES[1]) * random.uniform(0.5, 1))
        raise OSError(f"{found}; {self.describe_lock_holder()}") from found

    def read(self, step: Callable[[psycopg.Cursor[Any]], T]) -> T:
        """Run a step on one state of the store, retrying on a later one if its tables were dropped."""
        return self.write(step, mode=SNAPSHOT)

    def execute_alone(self, statement: str) -> None:
        """Execute a statement which cannot run in a transaction; it must name schemas."""
        with self.lock, translate_errors():
            self.connection.execute(statement)

    def describe_lock_holder(self) -> str:
        """Describe the process which has held a lock in the schema for longest."""
        with self.transaction(journal=False) as cursor:
            found = cursor.execute(HOLDERS, (f'"{self.schema}"',)).fetchone()
        if found is None:
            return "nobody holds it any more: try again"
        process, name, user, state, seconds = found
        return f"held by process {process} ({name} of {user}, {state}, for {seconds} s)"

    def _check_idle(self) -> None:
        """Refuse a nested transaction, which would end the outer one."""
        if self.open is not None and self.open.info.transaction_status not in BETWEEN:
            raise InputError("store: used within a step of its own, as by a generator of items, expected one at a time")

    def _begin(self, statements: str) -> psycopg.Cursor[Any]:
        """Begin a transaction and return its cursor at the last statement's result.

        A connection lost since the last transaction, such as an idle one, is replaced.
        """
        kept = self.open
        try:
            cursor = self.connection.execute(statements)
        except psycopg.OperationalError:
            if kept is None or not kept.broken:
                raise
            kept.close()
            cursor = self.connection.execute(statements)
        while cursor.nextset():
            pass
        return cursor

    def _undo(self) -> None:
        """Roll back the current transaction; close a connection in the middle of a statement."""
        if self.open is None:
            return
        if self.open.info.transaction_status == pq.TransactionStatus.ACTIVE:
            self.open.close()
        with suppress(psycopg.Error):
            self.open.execute("ROLLBACK")

    def _accept_journal(self, row: tuple[str, str] | None) -> None:
        """Accept a journal, if it belongs to the same store as before."""
        if row is None:
            raise InputError("journal: none, expected the store's")
        self.last_journal = journal = load_journal(*row)
        if self.store and journal.store and journal.store != self.store:
            raise InputError(f"store: {journal.store!r} is at this address now, expected {self.store!r} as before")
        self.store = journal.store or self.store

    def _prepare(self, connection: psycopg.Connection[Any]) -> None:
        """Register the vector type, and detect a pooler.

        Raises:
            InputError: pgvector is too old, or the role may not use it.
        """
        backend, version, schema, usable, role, oid = connection.execute(KNOWN).fetchone() or (None,) * 6
        self.pooled = backend != connection.info.backend_pid
        if version is None or oid is None:
            return
        if not usable:
            raise InputError(
                f"store: pgvector is in schema {schema!r}, which role {role!r} may not use,"
                f' expected GRANT USAGE ON SCHEMA "{schema}" TO "{role}"'
            )
        if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
            raise InputError(f"store: pgvector {version}, expected 0.8 or newer: ALTER EXTENSION vector UPDATE")
        self.extension = f'"{schema}"'
        register(connection, oid)


LINKS: weakref.WeakSet[PostgresConnection] = weakref.WeakSet()
INHERITED: list[Any] = []  # connections of the parent process, neither used nor closed


def abandon_inherited() -> None:
    """Leave all connections to the parent after a fork, and replace locks its threads may hold."""
    for link in LINKS:
        INHERITED.append(link.open)
        link.open, link.lock = None, threading.RLock()


os.register_at_fork(after_in_child=abandon_inherited)


def replace_journal(cursor: psycopg.Cursor[Any], before: Journal, after: Journal) -> None:
    """Replace the journal if it is unchanged, in the cursor's transaction, and write the audit log."""
    update = "UPDATE journal SET content = %s, digest = %s WHERE digest = %s"
    if cursor.execute(update, (*after.dump(), before.dump()[1])).rowcount != 1:
        raise Conflict
    if after != before:
        cursor.execute(
            "INSERT INTO history (at, who, version, changes) VALUES (%s, %s, %s, %s)", audit_row(before, after)
        )
