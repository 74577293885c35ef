"""Parts in memory that are built anew by a thread while the file goes on."""

import threading
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from compat.errors import InputError
from compat.live.sqlite.file import KEPT, SCHEMA
from compat.live.sqlite.store import SqliteStore
from compat.live.store import Approximate, Ask
from tests.helpers.live_stores import OLD, create, item, report, running, vector


@pytest.mark.parametrize("column", ["old", "new"])
def test_a_part_that_was_built_of_a_later_state_is_not_searched_in_an_earlier_one(column, tmp_path):
    path = tmp_path / "gallery.db"
    store, other = (SqliteStore(path) for _ in range(2))
    running(create(store))
    other.exchange(report(0, 1), 0, 60)
    queries = np.stack([vector(7, OLD if column == "old" else 3)])
    asks = [Ask(column, queries)]
    expected = sorted(store.search(asks, 9)[0].ids)
    with store.transaction("DEFERRED") as cursor:
        journal = store.journal()
        cursor.execute("SELECT count(*) FROM items").fetchone()
        other.exchange(report(2, 3), 0, 60)
        other.put(item(8, new=vector(8, 3)), journal)
        thread = threading.Thread(target=store.indexes._build, args=(column, journal))
        store.indexes.builders[column] = thread
        thread.start()
        thread.join()
        assert sorted(store.indexes.search(cursor, asks[0], 9, None, journal).ids) == expected
    assert column in store.indexes.built
    here = {"old": ["i4", "i5"], "new": ["i0", "i1", "i2", "i3", "i8"]}[column]
    assert sorted(store.search(asks, 9)[0].ids) == here
    assert not store.indexes.built
    store.close()
    other.close()


def test_the_write_ahead_log_is_shortened_once_no_reader_needs_it(tmp_path, monkeypatch):
    monkeypatch.setattr("compat.live.sqlite.file.LONG", 2**15)
    monkeypatch.setattr("compat.live.sqlite.file.SHORTLY", 1)
    store, asking = (SqliteStore(tmp_path / "gallery.db") for _ in range(2))
    create(store)
    store.add([item(0)])
    log = tmp_path / "gallery.db-wal"
    with asking.transaction("DEFERRED") as cursor:
        assert cursor.execute("SELECT count(*) FROM items").fetchone() == (1,)
        for n in range(30):
            store.describe("i0", {"text": "x" * 4000 + str(n)})
        assert log.stat().st_size > 2**16
    for n in range(30):
        store.describe("i0", {"text": "y" * 4000 + str(n)})
    assert log.stat().st_size < 2**16
    assert '"text": "yyy' in asking.link.connection.execute("SELECT meta FROM items").fetchone()[0]
    store.close()
    asking.close()


def test_a_searcher_that_has_missed_what_is_forgotten_loads_anew(tmp_path, monkeypatch):
    monkeypatch.setattr("compat.live.sqlite.file.SCHEMA", SCHEMA.replace(str(KEPT), "8").replace(str(KEPT // 16), "2"))
    store, asking = (SqliteStore(tmp_path / "gallery.db") for _ in range(2))
    journal = running(create(store)).journal()
    asks = [Ask("old", vector(7, OLD)[None])]
    assert sorted(asking.search(asks, 9)[0].ids) == [f"i{n}" for n in range(6)]
    view = asking.indexes.columns["old"]
    store.delete("i0")
    assert "i0" not in asking.search(asks, 9)[0].ids
    assert asking.indexes.columns["old"] is view
    store.delete("i1")
    for n in range(20):
        store.put(item(8, new=vector(n, 3)), journal)
    with store.transaction() as cursor:
        assert cursor.execute("SELECT count(*) <= 9, max(seq) > 40 FROM changes").fetchone() == (1, 1)
    assert sorted(asking.search(asks, 9)[0].ids) == ["i2", "i3", "i4", "i5"]
    assert asking.indexes.columns["old"] is not view
    store.close()
    asking.close()


def test_what_is_searched_after_a_migration_is_what_was_searched_at_its_end(tmp_path):
    store = SqliteStore(tmp_path / "gallery.db")
    running(create(store))
    store.exchange(report(*range(6)), 0, 60)
    asks = [Ask("new", vector(7, 3)[None])]
    before = store.search([*asks, Ask("old", vector(7, OLD)[None])], 6)[0]
    view = store.indexes.columns["new"]
    seq = view.seq
    store.drop_old(store.journal(), replace(store.journal(), phase="finalized"))
    after = store.search(asks, 6)[0]
    assert (after.ids, after.nearest.tolist()) == (before.ids, before.nearest.tolist())
    assert store.indexes.columns["new"] is view
    assert view.seq == seq
    assert list(store.indexes.columns) == ["new"]
    store.close()


@pytest.mark.parametrize("blob", ["x'0011'", "x'00112233'", "'text'"])
@pytest.mark.parametrize("loaded", [False, True])
def test_a_damaged_vector_is_one_line_that_names_its_item(blob, loaded, tmp_path):
    store = SqliteStore(tmp_path / "gallery.db")
    create(store)
    store.add([item(n) for n in range(4)])
    asks = [Ask("old", np.stack([vector(7, OLD)]))]
    if loaded:
        store.search(asks, 2)
    with store.transaction() as cursor:
        cursor.execute(f"UPDATE vectors_0 SET vector = {blob} WHERE row = (SELECT row FROM items WHERE id = 'i2')")
    reads: list[Callable[[], object]] = [lambda: store.search(asks, 2), store.gallery]
    if len(blob) != len("x'00112233'"):  # a vector of another dimension is for `doctor` to tell
        reads.append(lambda: store.get("i2"))
    for read in reads:
        with pytest.raises(InputError, match=r"^store: the vector of item 'i2' is damaged, expected \d+ numbers"):
            read()
    store.put(item(2), store.journal())
    assert len(store.search(asks, 9)[0].ids) == 4
    store.close()


def test_a_warm_part_has_its_lists(tmp_path):
    store = SqliteStore(tmp_path / "gallery.db", Approximate(50))
    create(store).add(item(n) for n in range(100))
    store.warm(["old", "new"])
    part = store.indexes.columns["old"].index
    assert not part.exact
    assert list(store.indexes.columns) == ["old"]
    store.search([Ask("old", vector(7, OLD)[None])], 9)
    assert store.indexes.columns["old"].index is part
    store.close()
