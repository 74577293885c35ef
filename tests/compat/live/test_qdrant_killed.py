"""A process is killed at each write of a Qdrant in a folder, one after the other, and another goes on."""

import itertools

import numpy as np
import pytest

from compat.live import Item, Journal, Migration, Models, Rows, Searcher, Writer, open_store
from tests.helpers.live_stores import OLD, new, vector

pytest.importorskip("qdrant_client")

from qdrant_client.local.persistence import CollectionPersistence
from qdrant_client.local.qdrant_local import QdrantLocal

COUNT = 5
NAMES = [f"c{n}" for n in range(COUNT + 1)]
MODELS = Models(
    Rows(NAMES, np.stack([new(n) for n in range(COUNT + 1)])),
    Rows(NAMES, np.stack([vector(n) for n in range(COUNT + 1)])),
)


class Killed(BaseException):
    """It cannot be caught, and nothing is written after it."""


class Disk:
    """Writes so many times."""

    def __init__(self, monkeypatch) -> None:
        self.left = 10**9
        for kind, step in (
            (CollectionPersistence, "persist"),
            (CollectionPersistence, "delete"),
            (QdrantLocal, "_save"),
        ):
            monkeypatch.setattr(kind, step, self.counted(getattr(kind, step)))

    def counted(self, write):
        def writes(*args, **options):
            if self.left == 0:
                raise Killed
            self.left -= 1
            return write(*args, **options)

        return writes


def go_on(store) -> None:
    """A migration that is rolled back half way, and another to its end, from wherever it is."""
    migration = Migration(store, MODELS)
    if store.journal().migration == 0:
        migration.plan(batch=2)
    if store.journal().migration == 1:
        if store.journal().phase in ("planned", "running"):
            migration.run(until=0.5)
            Writer(store, MODELS).put("i0", f"c{COUNT}")
            migration.rollback()
        if store.journal().phase == "rolling_back":
            migration.rollback()
        migration.plan(batch=2)
    if store.journal().phase in ("planned", "running"):
        migration.run()
    if store.journal().phase == "complete":
        assert migration.verify(COUNT).drifted == []
    if store.journal().phase == "verified":
        migration.finalize()


def looked_at(store) -> None:
    """Each item is there, whole, and is found."""
    for n in range(COUNT):
        item = store.get(f"i{n}")
        number = int(item.content[1:])
        assert number == n or (n, number) == (0, COUNT)
        assert item.old is not None or item.new is not None
        assert item.old is None or np.array_equal(item.old, vector(number))
        assert item.new is None or np.array_equal(item.new, new(number))
    found = Searcher(store, MODELS).search("c1", COUNT)
    assert sorted(hit.id for hit in found) == [f"i{n}" for n in range(COUNT)]
    assert found[0].id == "i1"


@pytest.mark.slow
@pytest.mark.usefixtures("unsynced")
def test_nothing_is_lost_whichever_write_is_the_last(tmp_path, monkeypatch):
    disk, writes = Disk(monkeypatch), 0
    for kills in itertools.count():
        url = f"qdrant:///{tmp_path}/{kills}/gallery"
        store = open_store(url)
        store.create(Journal(OLD, "cosine"))
        store.add(Item(f"i{n}", f"c{n}", {}, old=vector(n)) for n in range(COUNT))
        disk.left = kills
        try:
            go_on(store)
            break
        except Killed:
            writes += 1
        finally:
            disk.left = 10**9
            store.close()
        store = open_store(url)
        looked_at(store)
        go_on(store)
        looked_at(store)
        assert store.journal().phase == "finalized"
        assert store.counts() == (COUNT, COUNT, 0, 0, 0)
        store.close()
    assert writes > 50
