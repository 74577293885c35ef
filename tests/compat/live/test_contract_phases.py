"""What every adapter promises of what all items go through at once: rolled back, finalized, and closed."""

from dataclasses import replace

import numpy as np
import pytest

from compat.live.items import Counts, Item
from compat.live.store import Conflict
from tests.helpers.live_stores import NEW, everything, item, new, report, running, same, turned, vector


def test_revert_clears_all_that_is_new(store):
    running(store, 4)
    store.exchange(report(0, 1, failed=[("i2", 3, "unreadable")]), 0, 60.0)
    store.put(Item("i7", "c7", {}, 8, new=new(7)), store.journal())
    before = turned(store, phase="rolling_back")
    after = replace(before, phase="rolled_back")
    with pytest.raises(Conflict):
        store.revert(before, after)  # i7 has no old embedding
    assert (store.counts(), store.journal()) == (Counts(5, 3, 1, 1, 0), before)
    store.fill("old", [("i7", 8, vector(7))], store.journal())
    with pytest.raises(Conflict):
        store.revert(after, before)
    assert store.counts() == Counts(5, 3, 1, 1, 0)
    store.revert(before, after)
    assert (store.counts(), store.journal()) == (Counts(5, 0, 5, 0, 0), after)
    expected = [item(n) for n in range(4)] + [Item("i7", "c7", {}, 8, old=vector(7))]
    assert all(same(a, b) for a, b in zip(everything(store), expected, strict=True))


def test_old_embeddings_are_dropped_once_all_are_new_and_become_those_of_the_next(store):
    running(store, 3)
    store.fill("bridge", [("i0", 1, new(60))], store.journal())
    store.exchange(report(0, 1), 0, 60.0)
    before = turned(store, phase="verified")
    finalized = replace(before, phase="finalized")
    with pytest.raises(Conflict):
        store.drop_old(before, finalized)  # i2 is not migrated
    assert (len(store.gallery().ids), store.journal()) == (3, before)
    turned(store, phase="running")
    store.exchange(report(2), 0, 60.0)
    with pytest.raises(Conflict):
        store.drop_old(before, finalized)  # the phase is another
    assert len(store.gallery().ids) == 3
    before = turned(store, phase="verified")
    store.drop_old(before, finalized)
    assert (store.gallery().ids, store.journal()) == ([], finalized)
    assert all(same(store.get(f"i{n}"), item(n, old=None, new=new(n))) for n in range(3))

    advanced = replace(finalized, phase="none", dim=NEW, new_dim=0, generation=1)
    with pytest.raises(Conflict):
        store.advance(before, advanced)
    assert store.gallery().ids == []
    store.advance(finalized, advanced)
    assert store.journal() == advanced
    assert all(same(store.get(f"i{n}"), item(n, old=new(n))) for n in range(3))
    assert store.counts() == Counts(3, 0, 3, 0, 0)
    np.testing.assert_array_equal(store.gallery().old, [new(n) for n in range(3)])


def test_a_store_that_is_opened_again_has_all(store, opened):
    running(store, 4, order=[3, 2, 1, 0])
    store.exchange(report(0, failed=[("i1", 2, "unreadable")]), 0, 60.0)
    store.beat("searcher", {"p99": 0.5})
    kept = store.journal(), store.counts(), everything(store), store.gallery().place.tolist(), store.beats(60.0)
    assert store.size() > 0
    store.close()
    store.close()
    again = opened()
    found = again.journal(), again.counts(), everything(again), again.gallery().place.tolist(), again.beats(60.0)
    assert all(same(a, b) for a, b in zip(kept[2], found[2], strict=True))
    assert (kept[:2], kept[3:]) == (found[:2], found[3:])
    assert again.get("i1").failure == "unreadable"
    assert again.size() > 0


@pytest.mark.parametrize("change", [{"migration": 2}, {"learned": 5}])
def test_fill_refuses_what_was_made_for_an_earlier_moment(store, change):
    running(store, 2)
    during = store.journal()
    turned(store, rate=1.0)
    assert store.fill("bridge", [("i0", 1, new(60))], during) == 1
    turned(store, **change)
    with pytest.raises(Conflict):
        store.fill("bridge", [("i0", 1, new(61)), ("i1", 2, new(61))], during)
    first, second = everything(store)
    assert first.bridge is None or first.bridge.tolist() == new(60).tolist()
    assert second.bridge is None
