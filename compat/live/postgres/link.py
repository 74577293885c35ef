"""The link to a PostgreSQL server: its tables, its transactions, how vectors travel, and what its errors mean."""

from __future__ import annotations

import re
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit

import numpy as np

from compat.errors import InputError
from compat.live.items import Column, Journal, load_journal
from compat.live.store import Conflict

try:
    import psycopg
    from psycopg import errors, pq
    from psycopg.adapt import Dumper, Loader
    from psycopg.types import TypeInfo
except ImportError as error:
    raise InputError("store: no psycopg, expected pip install compat-bench[postgres]") from error

TABLES = (
    "CREATE TABLE journal (one int PRIMARY KEY CHECK (one = 1), content text NOT NULL, digest text NOT NULL)",
    "CREATE TABLE items (row bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id text NOT NULL UNIQUE,"
    " content text NOT NULL, meta jsonb NOT NULL, version bigint NOT NULL, place bigint NOT NULL DEFAULT -1,"
    " failure text, old vector, bridge vector, new vector)"
    # a move leaves a dead row and a dead entry in the indexes: the server clears them once a twentieth is dead
    " WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05)",
    # who claimed what: unlogged, as a crash of the server ends all claims
    "CREATE UNLOGGED TABLE claims (row bigint PRIMARY KEY, worker text NOT NULL, backend int NOT NULL,"
    " born timestamptz NOT NULL, until timestamptz NOT NULL)",
    "CREATE UNLOGGED TABLE beats (name text PRIMARY KEY, at timestamptz NOT NULL, figures jsonb NOT NULL)",
    "CREATE TABLE fits (migration bigint, learned bigint, content bytea NOT NULL, PRIMARY KEY (migration, learned))",
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
SESSION = {
    "jit": "off",
    "idle_in_transaction_session_timeout": "10s",  # a process that was stopped in the middle holds no lock for longer
}
SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY; LOCK TABLE items IN ACCESS SHARE MODE"
TRIES = 20
T = TypeVar("T")


class VectorDumper(Dumper):
    """A vector to what pgvector receives: its length, two bytes of nothing, big-endian float32."""

    format = pq.Format.BINARY

    def dump(self, obj: np.ndarray) -> bytes:
        return struct.pack(">HH", len(obj), 0) + obj.astype(">f4").tobytes()


class VectorLoader(Loader):
    """And back."""

    format = pq.Format.BINARY

    def load(self, data: Any) -> np.ndarray:
        return np.frombuffer(data, ">f4", offset=4).astype(np.float32)


class Link:
    """A connection, opened when it is first needed, and again when it was lost.

    Args:
        url: as libpq reads it, with `schema` among its parameters.

    Raises:
        InputError: a schema that is no plain name.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        parameters = dict(parse_qsl(parts.query, keep_blank_values=True))
        self.schema = parameters.pop("schema", "compat")
        if not re.fullmatch("[a-z_][a-z0-9_]{0,62}", self.schema):
            raise InputError(f"schema: {self.schema!r}, expected lower-case letters, digits and underscores")
        # urlunsplit would drop the slashes of an address without a host
        self.url = f"{parts.scheme}://{parts.netloc}{parts.path}?{urlencode(parameters)}"
        self.lock = threading.RLock()
        self.open: psycopg.Connection[Any] | None = None
        self.reached = False

    @property
    def connection(self) -> psycopg.Connection[Any]:
        """One that is open, as far as is known.

        Raises:
            InputError: there was never any.
        """
        if self.open is not None and self.open.closed:
            self.open = None
        if self.open is None:
            try:
                self.open = psycopg.connect(self.url, autocommit=True, **limits(self.url))
            except psycopg.Error as error:
                if self.reached:
                    raise
                raise InputError(f"store: {line(error)}; expected a PostgreSQL server that lets us in") from error
            self.reached = True
            prepare(self.open, self.schema)
        return self.open

    def close(self) -> None:
        """Give the connection up."""
        with self.lock:
            if self.open is not None:
                self.open.close()
                self.open = None

    @contextmanager
    def transaction(self, begin: str = "") -> Iterator[psycopg.Cursor[Any]]:
        """One transaction, on disk when it ends well, and undone otherwise.

        Args:
            begin: what it begins with.

        Raises:
            InputError: no store is here; something that the server refuses.
            OSError: the server is gone, or cannot go on.
        """
        with self.lock, told():
            connection = self.connection
            with connection.transaction():
                if begin:
                    connection.execute(begin)
                with connection.cursor(binary=True) as cursor:
                    yield cursor

    def outside(self, statement: str) -> None:
        """Do something that no transaction may hold."""
        with self.lock, told():
            self.connection.execute(statement)

    def write(self, step: Callable[[psycopg.Cursor[Any]], T]) -> T:
        """Do something in one transaction; again if it got in the way of another."""
        for _ in range(TRIES):
            try:
                with self.transaction() as cursor:
                    return step(cursor)
            except Interrupted as error:
                found = error
        raise found


class Interrupted(OSError):
    """The server undid a transaction in favour of another."""


@contextmanager
def told() -> Iterator[None]:
    """The server's errors as this library's, each one line.

    Raises:
        Interrupted: a deadlock, a table that others did not let go of in time.
        OSError: the server is gone, is starting, or its disk is full.
        InputError: all others.
    """
    try:
        yield
    except (errors.DeadlockDetected, errors.SerializationFailure, errors.LockNotAvailable) as error:
        raise Interrupted(line(error)) from error
    except (errors.UndefinedTable, errors.InvalidSchemaName) as error:
        raise InputError(f"store: {line(error)}, expected a store that `init` made") from error
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise OSError(line(error)) from error
    except psycopg.Error as error:
        raise InputError(f"store: {line(error)}, expected what the server takes") from error


def line(error: Exception) -> str:
    """What a server says, in one line."""
    return " ".join(str(error).split())


def limits(url: str) -> dict[str, Any]:
    """How long to wait for a server that does not answer, unless the address says so."""
    defaults = {"connect_timeout": 10, "tcp_user_timeout": 60_000}
    return {name: value for name, value in defaults.items() if f"{name}=" not in url}


def prepare(connection: psycopg.Connection[Any], schema: str) -> None:
    """Where names are looked up, how commits are kept, and vectors."""
    found = connection.execute(
        "SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE extname = 'vector'"
    ).fetchone()
    path = f'{schema}, "{"public" if found is None else found[0]}"'
    for name, value in {**SESSION, "search_path": path}.items():
        connection.execute("SELECT set_config(%s, %s, false)", (name, value))
    connection.execute(
        "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
    )
    if (kind := TypeInfo.fetch(connection, "vector")) is not None:
        kind.register(connection)
        dumper = type("VectorDumper", (VectorDumper,), {"oid": kind.oid})
        connection.adapters.register_dumper(np.ndarray, dumper)
        connection.adapters.register_loader(kind.oid, VectorLoader)


def read(cursor: psycopg.Cursor[Any], lock: str = "") -> Journal:
    """The journal, in the transaction of the cursor; with a lock nobody changes it until that ends."""
    row = cursor.execute(f"SELECT content, digest FROM journal {lock}").fetchone()
    if row is None:
        raise InputError("journal: none, expected that of the store")
    return load_journal(*row)


def replace(cursor: psycopg.Cursor[Any], before: Journal, after: Journal) -> None:
    """Replace the journal, in the transaction of the cursor, if it is as it was."""
    update = "UPDATE journal SET content = %s, digest = %s WHERE digest = %s"
    if cursor.execute(update, (*after.dump(), before.dump()[1])).rowcount != 1:
        raise Conflict


def make(link: Link, content: str, digest: str) -> None:
    """Make the extension and all tables.

    Raises:
        InputError: there is a store, or the server has no pgvector, or does not let us.
    """
    try:
        with link.transaction() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtext('compat'))")  # two at once would trip over each other
            cursor.execute("CREATE EXTENSION IF NOT EXISTS vector")
            cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {link.schema}")
    except InputError as error:
        raise InputError(f"{error} with pgvector, in a database in which we may make it") from error
    link.close()  # the next connection knows vectors
    with link.transaction() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('compat'))")
        if cursor.execute("SELECT to_regclass(%s)", (f"{link.schema}.journal",)).fetchone() != (None,):
            raise InputError(f"store: schema {link.schema} has one, expected another schema")
        for statement in TABLES:
            cursor.execute(statement)
        index(cursor)
        cursor.execute("INSERT INTO journal VALUES (1, %s, %s)", (content, digest))


def index(cursor: psycopg.Cursor[Any]) -> None:
    """Make the indexes by what an item has, anew if they are there."""
    cursor.execute(f"DROP INDEX IF EXISTS {', '.join(INDEXES)}")
    for name, of in INDEXES.items():
        cursor.execute(f"CREATE INDEX {name} ON items {of}")


def turn(cursor: psycopg.Cursor[Any], *changes: str) -> None:
    """Replace columns of the items. Whoever reads or writes them meanwhile keeps it from it for a moment only.

    Raises:
        Interrupted: others did not let go of the items.
    """
    cursor.execute("SET LOCAL lock_timeout = '2s'")
    for change in changes:
        cursor.execute(f"ALTER TABLE items {change}")
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
            found = cursor.execute("SELECT to_regclass(%s)", (f"{link.schema}.{name}",)).fetchone()
        if found != (None,):
            link.outside(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
