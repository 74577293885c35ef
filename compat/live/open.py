"""Open a store by its address."""

from __future__ import annotations

from typing import Any

from compat.errors import InputError
from compat.importing import resolved
from compat.live.store import Store


def open_store(url: str, **options: Any) -> Store:
    """Open the store at an address.

    Args:
        url: `sqlite:///path`, `postgresql://...`, `qdrant://host:port/collection` (experimental), or
            `module.Class://rest` for a store of your own, which gets the whole address.
        options: arguments of the adapter.

    Raises:
        InputError: no adapter for the address, or the adapter's package is not installed.
    """
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite" and rest.startswith("/"):
        from compat.live.sqlite.store import SqliteStore

        return SqliteStore(rest[1:], **options)
    if scheme in ("postgresql", "postgres"):
        from compat.live.postgres.store import PostgresStore

        return PostgresStore(url, **options)
    if scheme.startswith("qdrant"):
        from compat.live.qdrant.store import QdrantStore

        return QdrantStore(url, **options)
    module, _, name = scheme.rpartition(".")
    if rest and module and name.isidentifier():
        own: Store = resolved("store", scheme, "a class of stores")(url, **options)
        return own
    shown = f"{scheme}://..." if rest and scheme.isalnum() else "an address without a scheme"  # it may hold a password
    raise InputError(f"store: {shown}, expected sqlite:///path, postgresql://... or qdrant://... (experimental)")
