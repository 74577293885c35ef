"""The store in PostgreSQL with pgvector."""

from compat.errors import InputError

try:
    import psycopg  # noqa: F401
except ImportError as error:  # not installed, or without libpq
    raise InputError("store: no psycopg, expected pip install compat-bench[postgres]") from error
