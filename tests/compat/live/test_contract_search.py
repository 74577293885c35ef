"""What every adapter promises of searches: both parts in one state, nearest first, filtered by bound values."""

from dataclasses import replace

import numpy as np
import pytest

from compat.errors import InputError
from compat.live.items import Item, Journal
from compat.live.store import Ask
from tests.helpers.live_stores import (
    NEW,
    OLD,
    TEXT,
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


def apart(queries, rows, distance):
    """Row by row."""
    if distance == "cosine":
        queries, rows = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (queries, rows))
    return ((queries[:, None].astype(np.float64) - rows[None]) ** 2).sum(2)


def nearest(found, row):
    """Ids of what a query found."""
    return [found.ids[at] for at in found.nearest[row] if at >= 0]


@pytest.mark.parametrize("distance", ["l2", "cosine"])
def test_each_part_is_searched_nearest_first(opened, distance):
    store = running(create(opened(), distance), 40)
    store.exchange(report(*range(0, 40, 3)), 0, 60.0)
    store.fill("bridge", [(f"i{n}", n + 1, new(200 + n)) for n in range(0, 40, 2)], store.journal())
    queries = {"old": vector(90, OLD * 5), "bridge": vector(91, NEW * 5), "new": vector(92, NEW * 5)}
    asks = [Ask(name, rows.reshape(5, -1)) for name, rows in queries.items()]  # type: ignore[arg-type]
    items = everything(store)
    for k in (1, 4, 40):
        for ask, found in zip(asks, store.search(asks, k), strict=True):
            part = [i for i in items if (i.new is None) == (ask.column != "new") and getattr(i, ask.column) is not None]
            rows = np.stack([getattr(i, ask.column) for i in part])
            order = apart(ask.queries, rows, distance).argsort(1)[:, :k]
            assert [nearest(found, q) for q in range(5)] == [[part[n].id for n in line] for line in order]
            by_id = {i.id: i for i in part}
            assert len(set(found.ids)) == len(found.ids) == len(found.meta) == len(found.vectors)
            assert [dict(m) for m in found.meta] == [by_id[id].meta for id in found.ids]
            np.testing.assert_array_equal(found.vectors, [getattr(by_id[id], ask.column) for id in found.ids])
            assert set(found.nearest.ravel().tolist()) - {-1} == set(range(len(found.ids)))


def test_empty_parts_find_nothing(store):
    asks = [Ask("old", vector(0)[None]), Ask("new", new(0)[None])]
    assert [nearest(found, 0) for found in store.search(asks[:1], 3)] == [[]]
    running(store, 2)
    assert [nearest(found, 0) for found in store.search(asks, 3)] == [nearest(store.search(asks[:1], 3)[0], 0), []]
    store.exchange(report(0, 1), 0, 60.0)
    old, after = store.search(asks, 3)
    assert (nearest(old, 0), sorted(nearest(after, 0))) == ([], ["i0", "i1"])
    assert (old.ids, old.meta, len(old.vectors), old.vectors.shape) == ([], [], 0, (0, OLD))
    assert store.search([], 3) == []


def test_searches_follow_every_write(store, opened):
    """An item is in one part, and a write of another handle is seen by the next search."""
    other, asks = opened(), [Ask("old", vector(0)[None]), Ask("new", new(0)[None])]

    def parts():
        return [sorted(nearest(found, 0)) for found in store.search(asks, 9)]

    running(store, 3)
    assert parts() == [["i0", "i1", "i2"], []]
    other.exchange(report(1), 0, 60.0)
    assert parts() == [["i0", "i2"], ["i1"]]
    other.put(Item("i2", "c2", {}, 40, new=new(40)), other.journal())
    assert parts() == [["i0"], ["i1", "i2"]]
    other.put(Item("i1", "c1", {}, 41, old=vector(41)), other.journal())
    assert parts() == [["i0", "i1"], ["i2"]]
    other.put(Item("i9", "c9", {}, 42, old=vector(42), new=new(42)), other.journal())
    assert parts() == [["i0", "i1"], ["i2", "i9"]]
    other.delete("i0")
    other.delete("i9")
    assert parts() == [["i1"], ["i2"]]
    other.put(Item("i2", "c2", {}, 43), other.journal())
    assert parts() == [["i1"], []]
    other.put(item(5), other.journal())
    other.fill("old", [("i2", 43, vector(43))], other.journal())
    assert parts() == [["i1", "i2", "i5"], []]
    other.exchange(report(5), 0, 60.0)
    before = other.journal()
    other.revert(before, replace(before, phase="rolled_back"))
    assert parts() == [["i1", "i2", "i5"], []]


def test_searches_follow_a_second_migration_of_another_dimension(store):
    running(store, 3)
    assert nearest(store.search([Ask("old", vector(0)[None])], 1)[0], 0) == ["i0"]
    store.exchange(report(0, 1, 2), 0, 60.0)
    finalized = turned(store, phase="finalized")
    store.drop_old(finalized, finalized)
    assert nearest(store.search([Ask("new", new(1)[None])], 1)[0], 0) == ["i1"]
    store.advance(finalized, replace(finalized, phase="none", dim=NEW, new_dim=0, generation=1))
    assert nearest(store.search([Ask("old", new(2)[None])], 1)[0], 0) == ["i2"]
    planned(store, ["i0"], new_dim=OLD)
    turned(store, phase="running")
    assert store.exchange(report(done=[("i0", 1, vector(0))], migration=2), 0, 60.0).written == 1
    found = store.search([Ask("old", new(0)[None]), Ask("new", vector(7)[None])], 9)
    assert [sorted(nearest(part, 0)) for part in found] == [["i1", "i2"], ["i0"]]
    np.testing.assert_array_equal(found[1].vectors, [vector(0)])


def test_filters_hold_on_both_parts(store):
    running(store, 12)
    store.exchange(report(*range(6)), 0, 60.0)
    asks = [Ask("old", vector(0)[None]), Ask("new", new(0)[None])]

    def kept(where):
        return [sorted(nearest(found, 0)) for found in store.search(asks, 99, where)]

    assert kept({"lang": "en"}) == [["i10", "i6", "i8"], ["i0", "i2", "i4"]]
    assert kept({"lang": "fr"}) == kept({"year": 5}) == [[], []]
    store.describe("i6", {"lang": "en", "year": 5})
    store.describe("i0", {"lang": "de", "year": 5})
    store.describe("i1", {"lang": "en", "year": "5"})
    store.describe("i2", {"lang": "en", "year": 2.5})
    assert kept({"lang": "en"}) == [["i10", "i6", "i8"], ["i1", "i2", "i4"]]
    assert kept({"year": 5}) == [["i6"], ["i0"]]
    assert kept({"year": "5"}) == [[], ["i1"]]
    assert kept({"year": 2.5}) == [[], ["i2"]]
    assert kept({"year": 5, "lang": "en"}) == [["i6"], []]
    assert kept({}) == kept(None)
    assert len(nearest(store.search(asks, 2, {"lang": "en"})[0], 0)) == 2


def test_filters_compare_as_python_does(store):
    running(store, 4)
    for n, year in enumerate((True, 1, 1.0, 0)):
        store.describe(f"i{n}", {"year": year})
    asks = [Ask("old", vector(0)[None])]
    for value in (True, 1, 1.0, np.int64(1), np.float32(1), np.bool_(True)):
        assert sorted(store.search(asks, 9, {"year": value})[0].ids) == ["i0", "i1", "i2"]
    for none in (False, 0, np.int8(0)):
        assert store.search(asks, 9, {"year": none})[0].ids == ["i3"]


@pytest.mark.parametrize("value", [[1], {"a": 1}, b"1", 2**63, -(2**70), float("nan"), float("inf"), object()])
def test_a_value_that_no_store_compares_is_refused(store, value):
    running(store, 2)
    with pytest.raises(InputError, match=r"^where: year = .*, expected text, a number below 2\^63"):
        store.search([Ask("old", vector(0)[None])], 1, {"year": value})


def test_a_field_that_the_store_does_not_know_is_refused(store):
    running(store, 2)
    for name in ("Lang", TEXT, "id", ""):
        with pytest.raises(InputError, match="where") as error:
            store.search([Ask("old", vector(0)[None])], 1, {name: "en"})
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", [TEXT, "a.b", "a b", "$[0]", "{a,b}", "'", '"', "%s", "%(a)s", "a->b"])
def test_fields_and_values_are_only_text(opened, name):
    store = opened()
    store.create(Journal(OLD, "l2", (name, "lang")))
    store.add([item(0, meta={name: TEXT}), item(1, meta={name: "en"}), item(2, meta={"lang": "en"})])
    ask = [Ask("old", vector(0)[None])]
    assert [nearest(store.search(ask, 9, {name: value})[0], 0) for value in (TEXT, "en")] == [["i0"], ["i1"]]
    assert store.search(ask, 9, {name: "' OR '1'='1"})[0].ids == []
    assert same(store.get("i0"), item(0, meta={name: TEXT}))


@pytest.mark.parametrize("apart_by", [1e-3, 1e-4])
def test_near_equal_vectors_are_told_apart_by_cosine(opened, traits, apart_by):
    """Near-duplicates, padded or collapsed embeddings: from float32 products, they would all be equally far."""
    if not traits.near_duplicates:
        pytest.skip("it compares by products")
    chance = np.random.default_rng(0)
    rows = (chance.normal(size=OLD) + apart_by * chance.normal(size=(60, OLD))).astype(np.float32)
    query = (rows[0] + apart_by * chance.normal(size=OLD)).astype(np.float32)
    store = create(opened(), "cosine")
    store.add(item(n, old=row) for n, row in enumerate(rows))
    unit = rows.astype(np.float64) / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    asked = query.astype(np.float64) / np.linalg.norm(query.astype(np.float64))
    truth = [f"i{n}" for n in np.argsort(((unit - asked) ** 2).sum(1))[:10]]
    found = nearest(store.search([Ask("old", query[None])], 10)[0], 0)
    assert len(set(found) & set(truth)) >= 9
