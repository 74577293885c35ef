"""Parts in memory that are built anew by a thread while the file goes on."""

import threading

import numpy as np
import pytest

from compat.live import open_store
from compat.live.store import Ask
from tests.live_stores import OLD, create, item, report, running, vector


@pytest.mark.parametrize("column", ["old", "new"])
def test_a_part_that_was_built_of_a_later_state_is_not_searched_in_an_earlier_one(column, tmp_path):
    path = tmp_path / "gallery.db"
    store, other = (open_store(f"sqlite:///{path}") for _ in range(2))
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
