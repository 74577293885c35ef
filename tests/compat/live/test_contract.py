"""What every adapter promises, `compat.live.Store`, but for claims (test_contract_exchange), searches
(test_contract_search) and what all items go through at once (test_contract_phases)."""

from dataclasses import replace

import numpy as np
import pytest

from compat.errors import InputError
from compat.live.items import Counts, Item, Journal
from compat.live.store import Conflict
from tests.helpers.live_stores import (
    NEW,
    OLD,
    TEXT,
    claim,
    create,
    everything,
    item,
    new,
    planned,
    report,
    running,
    same,
    turned,
    vector,
)


def test_a_store_is_made_once_and_empty(store, opened):
    assert store.counts() == Counts(0, 0, 0, 0, 0)
    assert store.gallery().old.shape == (0, OLD)
    assert store.gallery(new=True).new.shape == (0, 0)
    assert (store.get("i0"), store.sample(3), store.without_old(3)) == (None, [], [])
    store.add([item(0)])
    with pytest.raises(InputError, match="store"):
        create(store)
    with pytest.raises(InputError, match="store"):
        create(opened())
    assert store.counts().total == 1


def test_where_none_was_made_there_is_none(opened):
    for _ in range(2):
        with pytest.raises(InputError):
            opened().journal()
    create(opened())


def test_items_are_added_in_order(store):
    assert store.add(item(n) for n in (2, 0, 1)) == 3
    assert store.add([]) == 0
    assert store.add([item(3)]) == 1
    found = store.gallery()
    assert found.ids == ["i2", "i0", "i1", "i3"]
    assert found.version.tolist() == [3, 1, 2, 4]
    assert found.place.tolist() == [-1] * 4
    assert found.old.dtype == np.float32
    np.testing.assert_array_equal(found.old, [vector(n) for n in (2, 0, 1, 3)])
    assert all(same(store.get(f"i{n}"), item(n)) for n in range(4))


def test_items_without_a_version_get_one_that_none_has(store):
    store.add(item(n, version=0) for n in range(20))
    assert len({0, *store.gallery().version.tolist()}) == 21


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        (item(0), "id"),
        (item(2), "id"),
        (item(3, old=vector(3, OLD + 1)), "old"),
        (item(3, old=vector(3)[None]), "old"),
        (item(3, old=np.array([0, 1, np.nan, 1], np.float32)), "old"),
        (item(3, old=np.array([0, 1, np.inf, 1], np.float32)), "old"),
        (item(3, meta={"year": float("nan")}), "meta: of item 'i3'"),
    ],
    ids=["there", "twice", "dimension", "shape", "nan", "infinite", "meta"],
)
def test_items_are_added_all_or_none(store, wrong, names):
    store.add([item(0)])
    with pytest.raises(InputError, match=names) as error:
        store.add([item(1), item(2), wrong, item(4)])
    assert "\n" not in str(error.value)
    assert store.gallery().ids == ["i0"]
    assert store.add([item(1)]) == 1


@pytest.mark.parametrize("year", [float("nan"), float("inf"), np.int64(3), {3}])
def test_what_json_does_not_have_is_no_meta(store, year):
    store.add([item(0)])
    for write in (
        lambda: store.put(item(0, meta={"year": year}), store.journal()),
        lambda: store.describe("i0", {"year": year}),
    ):
        with pytest.raises(InputError, match=r"^meta: of item 'i0' .* expected JSON values$"):
            write()
    assert same(store.get("i0"), item(0))


def test_the_journal_is_replaced_only_as_it_was_read(store, opened):
    first = store.journal()
    assert first == Journal(OLD, "l2", ("lang", "year"), store=first.store)
    assert first.store
    second = replace(first, fingerprint={"new": TEXT}, rate=2.5, note=TEXT)
    store.amend(first, second)
    assert store.journal() == second
    with pytest.raises(Conflict):
        opened().amend(first, replace(first, note="late"))
    assert store.journal() == second
    store.amend(second, second)
    assert opened().journal() == second


def test_a_journal_that_was_tampered_with_is_refused(store, traits):
    store.add([item(0)])
    traits.tamper(store)
    with pytest.raises(InputError, match="journal") as error:
        store.journal()
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="journal"):
        store.put(item(1), Journal(OLD, "l2"))
    with pytest.raises(InputError, match="journal"):
        store.exchange(report(), 1, 60.0)


def test_put_writes_an_item_and_puts_it_in_place_of_another(store):
    running(store, 3)
    during = store.journal()
    store.exchange(report(), 3, 60.0)
    store.exchange(report(failed=[("i1", 2, "unreadable")]), 0, 60.0)
    fresh = Item("i9", TEXT, {"lang": TEXT, "list": [1, None]}, 90, new=new(9))
    store.put(fresh, during)
    assert same(store.get("i9"), fresh)
    other = Item("i1", "else", {}, 91, old=vector(91), bridge=new(92), new=new(91))
    store.put(other, during)
    assert same(store.get("i1"), other)
    store.put(Item("i2", "else", {}, 93), during)
    assert same(store.get("i2"), Item("i2", "else", {}, 93))
    assert store.gallery().place.tolist() == [0, -1]
    assert store.counts() == Counts(4, 2, 2, 0, 1)


@pytest.mark.parametrize("change", [{"phase": "rolling_back"}, {"migration": 2}])
def test_put_is_refused_once_the_phase_or_the_migration_is_another(store, change):
    running(store, 1)
    during = store.journal()
    turned(store, **change)
    for n in (0, 7):
        with pytest.raises(Conflict):
            store.put(item(n, content="late", new=new(n)), during)
    assert [same(found, item(0)) for found in everything(store)] == [True]
    turned(store, phase="running", migration=1)
    turned(store, rate=3.0, note="nothing that matters")
    store.put(item(7, new=new(7)), during)
    assert same(store.get("i7"), item(7, new=new(7)))


@pytest.mark.parametrize(
    "vectors",
    [
        {"old": vector(0, OLD + 1)},
        {"new": vector(0, NEW + 1)},
        {"new": np.full(NEW, np.nan, np.float32)},
    ],
)
def test_put_refuses_vectors_that_do_not_fit(store, vectors):
    running(store, 1)
    for n in (0, 7):
        with pytest.raises(InputError, match=next(iter(vectors))):
            store.put(item(n, content="else", **vectors), store.journal())
    assert [same(found, item(0)) for found in everything(store)] == [True]


def test_describe_keeps_version_and_vectors(store):
    running(store, 2)
    store.exchange(report(0), 0, 60.0)
    assert claim(store, 5) == ["i1"]
    assert store.describe("i0", {"lang": TEXT})
    assert store.describe("i1", {"year": 3, "deep": {"a": [1.5, True, None]}})
    assert not store.describe("i7", {"lang": "en"})
    assert same(store.get("i0"), item(0, meta={"lang": TEXT}, new=new(0)))
    assert store.exchange(report(1), 0, 60.0).written == 1
    assert same(store.get("i1"), item(1, meta={"year": 3, "deep": {"a": [1.5, True, None]}}, new=new(1)))
    assert store.get("i7") is None


def test_delete(store):
    running(store, 3)
    store.exchange(report(0), 0, 60.0)
    assert [store.delete(id) for id in ("i0", "i0", "i7", "i1")] == [True, False, False, True]
    assert store.gallery().ids == ["i2"]
    assert store.counts() == Counts(1, 0, 1, 0, 0)
    store.put(item(0), store.journal())
    assert same(store.get("i0"), item(0))


@pytest.mark.parametrize("phase", ["running", "paused", "complete", "verified", "finalized", "rolling_back"])
def test_items_with_an_old_embedding_alone_are_refused_where_that_does_not_serve(store, phase):
    running(store, 2)
    turned(store, phase=phase)
    with pytest.raises(InputError, match=rf"^add: migration 1 is {phase}, expected phase none, planned or rolled_back"):
        store.add([item(7)])
    assert store.get("i7") is None


def test_ids_and_contents_are_only_text(store):
    odd = [TEXT, "\n", " ", "i%", "i_", "NULL", "1"]
    store.add(item(n, id=id, content=id) for n, id in enumerate(odd))
    planned(store, odd[::-1])
    turned(store, phase="running")
    assert claim(store, 99) == odd[::-1]
    assert store.exchange(report(done=[(id, n + 1, new(n)) for n, id in enumerate(odd)]), 0, 1.0).written == len(odd)
    assert [found.id for found in everything(store) if found.content == found.id] == odd
    assert store.fill("bridge", [(TEXT, 1, new(0))], store.journal()) == 1
    assert store.delete(TEXT)
    assert store.counts().new == len(odd) - 1


def test_counts_of_each_state(store):
    running(store, 5)
    store.exchange(report(0, 1, failed=[("i2", 3, "unreadable")]), 0, 60.0)
    store.put(Item("i7", "c7", {}, 8), store.journal())
    store.put(Item("i8", "c8", {}, 9, new=new(8)), store.journal())
    assert store.counts() == Counts(7, 3, 3, 1, 1)
    assert store.without_old(9) in (
        [("i7", 8, "c7", -1), ("i8", 9, "c8", -1)],
        [("i8", 9, "c8", -1), ("i7", 8, "c7", -1)],
    )
    assert len(store.without_old(1)) == 1


def test_a_sample_is_of_what_is_migrated(store):
    running(store, 30)
    assert store.sample(5) == []
    store.exchange(report(*range(10, 20)), 0, 60.0)
    assert store.sample(0) == []
    found = store.sample(5)
    assert 1 <= len(found) <= 5
    assert len({i.id for i in found}) == len(found)
    assert all(same(i, item(int(i.id[1:]), new=new(int(i.id[1:])))) for i in found)
    assert {i.id for i in store.sample(30)} <= {f"i{n}" for n in range(10, 20)}
    several = [store.sample(1) for _ in range(30)]  # never none, though two of three items are none of these
    assert all(len(some) == 1 for some in several)
    assert {i.id for some in several for i in some} <= {f"i{n}" for n in range(10, 20)}


def test_the_gallery_with_new_embeddings(store):
    running(store, 3, order=[2, 0, 1])
    store.exchange(report(1), 0, 60.0)
    store.put(Item("i7", "c7", {}, 8, new=new(7)), store.journal())
    found = store.gallery(new=True)
    assert (found.ids, found.version.tolist(), found.place.tolist()) == (["i0", "i1", "i2"], [1, 2, 3], [1, 2, 0])
    np.testing.assert_array_equal(found.old, [vector(n) for n in range(3)])
    missing = np.full(NEW, np.nan, np.float32)
    np.testing.assert_array_equal(found.new, [missing, new(1), missing])
    assert found.new.dtype == np.float32
    assert store.gallery().new.shape == (3, 0)


def test_each_migration_has_an_order_of_its_own(store):
    running(store, 4)
    before = turned(store, phase="rolling_back")
    store.revert(before, replace(before, phase="rolled_back"))
    assert store.gallery().place.tolist() == [-1] * 4
    planned(store, ["i3", "i1", "unknown"])
    assert store.gallery().place.tolist() == [-1, 1, -1, 0]
    store.add([item(7)])
    assert store.gallery().place.tolist() == [-1, 1, -1, 0, -1]


def test_an_order_that_comes_too_late_changes_nothing(store):
    running(store, 3, order=[2, 1, 0])
    before = store.journal()
    with pytest.raises(Conflict):
        store.place(["i0"], replace(before, note="other"), replace(before, migration=2, phase="planned"))
    assert (store.journal(), store.gallery().place.tolist()) == (before, [2, 1, 0])


def test_vectors_need_not_be_read_with_the_gallery(store):
    running(store, 3)
    store.exchange(report(1), 0, 60.0)
    found = store.gallery(old=False)
    assert (found.ids, found.old.shape, found.new.shape) == (["i0", "i1", "i2"], (3, 0), (3, 0))
    assert store.gallery(new=True, old=False).new.shape == (3, NEW)


def test_fill_writes_to_versions_that_are_there(store):
    running(store, 3)
    rows = [("i0", 1, new(50)), ("i1", 99, new(51)), ("i2", 3, new(52)), ("unknown", 1, new(53))]
    assert store.fill("bridge", iter(rows), store.journal()) == 2
    assert store.fill("bridge", [("i0", 1, new(60))], store.journal()) == 1
    assert store.fill("bridge", [], store.journal()) == 0
    assert store.fill("old", [("i1", 2, vector(61))], store.journal()) == 1
    expected = [item(0, bridge=new(60)), item(1, old=vector(61)), item(2, bridge=new(52))]
    assert all(same(a, b) for a, b in zip(everything(store), expected, strict=True))


def test_pending_items_are_met_once_page_by_page(store):
    running(store, 6, order=[4, 5, 0, 1, 2, 3])
    for id in ("z", "B", "a"):
        store.put(Item(id, id, {}, 50), store.journal())
    store.exchange(report(0, failed=[("i1", 2, "unreadable")]), 3, 60.0)
    first = store.pending(2)
    assert {p.place for p in first} == {-1}
    store.delete(first[-1].id)
    second = store.pending(2, first[-1])
    assert [p.place for p in second] == [-1, 0]
    store.exchange(report(5), 0, 60.0)
    third = store.pending(99, second[-1])
    assert store.pending(99, third[-1]) == []
    assert sorted(p.id for p in [*first, *second][:3]) == ["B", "a", "z"]
    assert [*second[1:], *third] == [("i4", 5, "c4", 0), ("i2", 3, "c2", 4), ("i3", 4, "c3", 5)]


def test_failures_and_claims_are_told(store):
    running(store, 5)
    assert (store.failures(9), store.claims()) == ([], {})
    store.exchange(report(failed=[("i1", 2, "unreadable"), ("i3", 4, "gone")]), 2, 60.0)
    store.exchange(report(worker="host:2:2"), 1, -5.0)
    failed = [item(1, failure="unreadable"), item(3, failure="gone")]
    assert all(same(a, b) for a, b in zip(store.failures(9), failed, strict=True))
    assert len(store.failures(1)) == 1
    found = store.claims()
    assert {worker: count for worker, (count, _) in found.items()} == {"host:1:1": 2, "host:2:2": 1}
    assert 0 < found["host:1:1"][1] <= 60 < 100
    assert found["host:2:2"][1] < 0
