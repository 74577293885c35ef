"""Parts in memory that are built anew by a thread while the file goes on."""

import threading

import numpy as np
import pytest

from compat.live.sqlite.store import SqliteStore
from compat.live.store import Ask
from tests.live_stores import OLD, create, item, report, running, vector


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
        thread = threading.Thread(target=store.views._build, args=(column, journal))
        store.views.builders[column] = thread
        thread.start()
        thread.join()
        assert sorted(store.views.found(cursor, asks[0], 9, None, journal).ids) == expected
    assert column in store.views.built
    here = {"old": ["i4", "i5"], "new": ["i0", "i1", "i2", "i3", "i8"]}[column]
    assert sorted(store.search(asks, 9)[0].ids) == here
    assert not store.views.built
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
