"""Translation of a PostgreSQL server's errors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors

from compat.errors import InputError

OURS = r"\b(vectors|lacking|bridge)_\d+\b"  # tables of generations


class Undone(OSError):
    """The server rolled back a transaction in favour of another."""


class Gone(Undone):
    """A generation's table was dropped since the journal was read."""


class Taken(InputError):
    """Another process created a table of this name."""


@contextmanager
def translate_errors() -> Iterator[None]:
    """Translate the server's errors to this library's, each one line.

    Raises:
        Undone: a deadlock, or a lock which others held too long.
        OSError: the server does not answer, is starting, or its disk is full.
        Taken: the table exists.
        InputError: any other error.
    """
    try:
        yield
    except (errors.DeadlockDetected, errors.SerializationFailure, errors.LockNotAvailable) as error:
        raise Undone(one_line(error)) from error
    except errors.DuplicateTable as error:
        raise Taken(f"store: {one_line(error)}, expected none") from error
    except (errors.UndefinedTable, errors.InvalidSchemaName) as error:
        if re.search(OURS, str(error)):  # dropped since the journal was read
            raise Gone(one_line(error)) from error
        raise InputError(f"store: {one_line(error)}, expected a store made by `init`") from error
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise OSError(one_line(error)) from error
    except psycopg.Error as error:
        raise InputError(f"store: {one_line(error)}, expected a statement the server accepts") from error
    except UnicodeEncodeError as error:
        raise InputError(f"store: {error.object[:80]!r} is not UTF-8, expected text") from error


def one_line(error: Exception) -> str:
    """Return a server's message in one line."""
    return " ".join(str(error).split())
