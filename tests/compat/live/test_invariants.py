"""Checks of a store's invariants, each of which finds what was broken behind the store's back, and backups."""

import numpy as np
import pytest

from compat.errors import InputError
from compat.live import Item, Journal, Migration, Models, Rows, Searcher, Writer
from compat.live.invariants import ScannedStore, check
from compat.live.sqlite.store import SqliteStore
from compat.live.store import Approximate

ITEMS = 40
NAMES = [f"i{n}" for n in range(ITEMS + 3)]
OLD, NEW = (np.random.default_rng(0).normal(size=(ITEMS + 3, dim)).astype(np.float32) for dim in (3, 5))
MODELS = Models(Rows(NAMES, NEW), Rows(NAMES, OLD))


@pytest.fixture
def store(tmp_path):
    found = SqliteStore(tmp_path / "gallery.db")
    found.create(Journal(3, "cosine"))
    found.add(Item(name, name, {}, old=old) for name, old in zip(NAMES[:ITEMS], OLD, strict=False))
    yield found
    found.close()


@pytest.fixture
def half(store):
    Migration(store, MODELS).plan(batch=5)
    Migration(store, MODELS).run(0.5)
    return store


@pytest.mark.parametrize("until", [None, 0.0, 0.5, 1.0])
def test_a_sound_store_passes_in_every_phase(store, until):
    if until is not None:
        Migration(store, MODELS).plan(batch=5)
        Migration(store, MODELS).run(until)
        Writer(store, MODELS).put("i41", "i41")
        Writer(store, MODELS).delete("i3")
    found = check(store, MODELS)
    assert (found.misplaced, found.drifted) == ([], [])
    assert found.recall == 1.0
    assert found.sampled >= 30
    assert any(name.startswith("check ") for name in store.beats(60.0))


@pytest.mark.parametrize(
    "broken",
    [
        "DELETE FROM vectors_0 WHERE row = 4",
        "DELETE FROM lacking_1 WHERE row = (SELECT min(row) FROM lacking_1)",
        "INSERT INTO lacking_1 SELECT row, 0, NULL FROM vectors_1 LIMIT 1",
        "INSERT INTO items (id, content, meta, version) VALUES ('bare', 'c', '{}', 1)",
    ],
)
def test_an_item_in_none_or_both_of_the_parts_is_named(half, broken):
    with half.transaction() as cursor:
        cursor.execute(broken)
    assert len(check(half, MODELS, queries=0).misplaced) >= 1


def test_a_worker_looks_at_some_of_it_every_now_and_then(store, monkeypatch):
    clock = iter(range(0, 10**6, 40))
    monkeypatch.setattr("compat.live.worker.time.monotonic", lambda: float(next(clock)))
    Migration(store, MODELS).plan(batch=5)
    with store.transaction() as cursor:
        cursor.execute("DELETE FROM vectors_0 WHERE row = 4")
    Migration(store, MODELS).run(0.8)
    (figures,) = (told for name, told in store.beats(60.0).items() if name.startswith("check "))
    assert figures == {"misplaced": 1, "drifted": 0, "sampled": 4}


def test_of_many_items_some_are_looked_at(half):
    assert half.misplaced(9, rows=5) == half.misplaced(9, rows=10**6) == []
    with half.transaction() as cursor:
        cursor.execute("DELETE FROM vectors_0")
    assert len(half.misplaced(99, rows=5)) == 5
    assert len(half.misplaced(99)) == ITEMS


def test_a_vector_of_another_item_is_named(half):
    first, second = (item.id for item in half.sample(2))
    with half.transaction() as cursor:
        cursor.execute(
            "UPDATE vectors_1 SET vector = (SELECT vector FROM vectors_1 JOIN items USING (row) WHERE id = ?)"
            " WHERE row = (SELECT row FROM items WHERE id = ?)",
            (first, second),
        )
    assert check(half, MODELS, sample=ITEMS, queries=0).drifted == [second]


def test_an_old_vector_that_its_model_does_not_make_is_named(store):
    with store.transaction() as cursor:
        cursor.execute("UPDATE vectors_0 SET vector = zeroblob(12) WHERE row = 4")
    assert check(store, MODELS, sample=ITEMS, queries=0).drifted == ["i3"]


def test_a_search_that_misses_what_a_scan_finds_has_a_recall_below_1(half, monkeypatch):
    monkeypatch.setattr(
        "compat.live.sqlite.index.SqliteIndex.search", lambda its, asked, *_: its.row_of[:1].repeat(len(asked))[:, None]
    )
    found = check(half, MODELS, sample=ITEMS, queries=2 * ITEMS)  # of all items, so also of those that are found
    assert 0 < (found.recall or 0) < 0.9


def test_a_scan_finds_what_a_search_does(half):
    mine, scanned = Searcher(half, MODELS), Searcher(ScannedStore(half), MODELS)
    for k in (1, 7, ITEMS):
        expected, found = ([hit[:3] for hit in its.search("i42", k)] for its in (mine, scanned))
        assert found == expected


def test_a_backup_is_a_store_of_its_own_in_the_same_phase(half, tmp_path):
    journal = half.backup(tmp_path / "copy.db")
    copy = SqliteStore(tmp_path / "copy.db", Approximate(5))
    assert journal == copy.journal()
    assert copy.journal().store != half.journal().store
    assert copy.counts() == half.counts()
    Migration(half, MODELS).run()
    assert copy.counts().new == ITEMS // 2
    Migration(copy, MODELS).run()
    Migration(copy, MODELS).verify()
    Migration(copy, MODELS).finalize()
    assert check(copy, MODELS).recall == 1.0
    assert half.journal().phase == "complete"
    with pytest.raises(InputError, match=r"^backup: .*copy.db', expected a new file"):
        half.backup(tmp_path / "copy.db")


def test_a_backup_in_the_place_of_the_store_is_refused_by_who_had_it_open(half, tmp_path):
    other = SqliteStore(half.path)
    assert other.counts().total == ITEMS
    half.backup(tmp_path / "copy.db")
    half.close()
    (tmp_path / "copy.db").replace(half.path)
    with pytest.raises(InputError, match="was deleted or replaced"):
        Migration(other, MODELS).run()
    assert Migration(half, MODELS).run().phase == "complete"


def test_a_damaged_store_leaves_no_backup(half, tmp_path):
    half.close()
    with half.path.open("r+b") as file:
        file.seek(3 * 4096)
        file.write(b"\xff" * 4096)
    with pytest.raises((InputError, OSError)):
        half.backup(tmp_path / "copy.db")
    assert sorted(file.name for file in tmp_path.iterdir() if "copy" in file.name) == []
