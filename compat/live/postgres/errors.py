"""What the errors of a PostgreSQL server mean."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors

from compat.errors import InputError

OURS = r"\b(vectors|lacking|bridge)_\d+\b"  # tables of generations


class Undone(OSError):
    """The server undid a transaction in favour of another."""


class Gone(Undone):
    """A table of a generation is not there: it was dropped since the journal was read."""


class Taken(InputError):
    """A table of this name was made meanwhile."""


@contextmanager
def translate_errors() -> Iterator[None]:
    """The server's errors as this library's, each one line.

    Raises:
        Interrupted: a deadlock, a table that others did not let go of in time.
        OSError: the server is gone, is starting, or its disk is full.
        Taken: a table that is there.
        InputError: all others.
    """
    try:
        yield
    except (errors.DeadlockDetected, errors.SerializationFailure, errors.LockNotAvailable) as error:
        raise Undone(one_line(error)) from error
    except errors.DuplicateTable as error:
        raise Taken(f"store: {one_line(error)}, expected none") from error
    except (errors.UndefinedTable, errors.InvalidSchemaName) as error:
        if re.search(OURS, str(error)):  # dropped since its journal was read, and of no use to the one of now
            raise Gone(one_line(error)) from error
        raise InputError(f"store: {one_line(error)}, expected a store that `init` made") from error
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise OSError(one_line(error)) from error
    except psycopg.Error as error:
        raise InputError(f"store: {one_line(error)}, expected what the server takes") from error
    except UnicodeEncodeError as error:
        raise InputError(f"store: {error.object[:80]!r} is not UTF-8, expected text") from error


def one_line(error: Exception) -> str:
    """What a server says, in one line."""
    return " ".join(str(error).split())
