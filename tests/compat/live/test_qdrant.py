"""What is Qdrant's own in quiet times: values of filters, pages, columns, a migration after a rolled-back one."""

from dataclasses import replace
from unittest import mock

import numpy as np
import pytest

from compat.live import Migration, Models, Rows, Searcher, Writer
from compat.live.items import Counts, Phase
from compat.live.store import Ask
from tests.helpers.live_stores import claim, everything, item, new, report, running, vector

pytest.importorskip("qdrant_client")

from compat.live.qdrant.points import JournalPoint, scale, tag
from tests.helpers.qdrant_moments import in_folder, on_both

ASKS = [Ask("old", vector(0)[None]), Ask("new", new(0)[None])]


@pytest.fixture
def adapter(request) -> str:
    return request.param


def models_of(count):
    names = [f"c{n}" for n in range(count)]
    old, after = np.stack([vector(n) for n in range(count)]), np.stack([new(n) for n in range(count)])
    return Models(Rows(names, after), Rows(names, old), distance="l2")


@on_both
def test_a_migration_that_is_rolled_back_and_begun_again_ends_well(store):
    its = models_of(40)
    store.add(item(n) for n in range(30))
    migration, writer, searcher = Migration(store, its), Writer(store, its), Searcher(store, its)
    assert "snapshot" not in store.capabilities
    migration.plan(batch=7)
    migration.run(until=0.5)
    writer.put("i31", "c31")
    writer.put("i1", "c32")
    assert migration.rollback().phase == "rolled_back"
    assert sorted(hit.id for hit in searcher.search("c0", 99)) == sorted(i.id for i in everything(store))
    migration.plan(batch=7)
    assert migration.run().phase == "complete"
    assert migration.verify().drifted == []
    assert migration.finalize().phase == "finalized"
    Migration(store, replace(its, old=its.new)).plan(batch=50)
    assert store.counts() == Counts(31, 0, 31, 0, 0)
    np.testing.assert_array_equal(store.get("i1").old, new(32))


def test_fields_and_values_are_one_keyword_each():
    """1, 1.0 and true are equal, as in SQL, and no others."""
    assert len({tag("a", value) for value in (1, 1.0, True)}) == 1
    values = [1, "1", 2, 1.5, None, "null", "", [1], ["1"], {"b": 1}, float("nan"), float("inf"), False]
    assert len({tag(name, value) for value in values for name in ("a", 'a", 1', "b")}) == 3 * len(values)


@on_both
def test_a_value_that_is_not_there_can_be_asked_for(store):
    store.add([item(0, meta={"lang": None}), item(1, meta={}), item(2, meta={"lang": "null"}), item(3)])
    found = store.search(ASKS[:1], 9, {"lang": None})[0]
    assert sorted(found.ids) == ["i0", "i1"]


def test_vectors_are_scaled_to_length_one_and_zero_stays():
    rows = np.array([[3, 4], [0, 0], [1e-30, 0]], np.float32)
    np.testing.assert_allclose(scale(rows, "cosine"), np.array([[0.6, 0.8], [0, 0], [1, 0]]), rtol=1e-6)
    assert scale(rows, "l2") is rows


@in_folder
def test_eras_grow_with_the_kind_of_phase(store):
    state: JournalPoint = store.journals.state()
    phases: list[Phase] = [
        "planned", "running", "paused", "complete", "verified", "rolling_back", "rolled_back", "none",
    ]  # fmt: skip
    eras = []
    for phase in phases:
        state = state.after(replace(state.journal, phase=phase))
        eras.append(state.era)
    assert eras == [0, 1, 1, 1, 1, 2, 3, 3]


@on_both
def test_large_batches_go_in_several_requests(store):
    with mock.patch("compat.live.qdrant.requests.CHUNK", 6), mock.patch("compat.live.qdrant.store.CHUNK", 6):
        running(store, 20, order=range(19, -1, -1))
        assert store.exchange(report(*range(20)), 0, 60.0).written == 20
        assert store.fill("bridge", ((f"i{n}", n + 1, new(n)) for n in range(20)), store.journal()) == 20
    with mock.patch("compat.live.qdrant.requests.PAGE", 3):
        assert store.gallery(new=True).place.tolist() == list(range(19, -1, -1))


@on_both
def test_pages_of_pending_items_meet_each_once(store):
    running(store, 12, order=range(11, -1, -1))
    for n in (1, 3, 5, 7, 9):
        store.put(item(n, version=50 + n), store.journal())
    store.exchange(report(0, failed=[("i2", 3, "unreadable")]), 3, 60.0)
    met, page = [], store.pending(2)
    while page:
        met += page
        store.delete(page[-1].id)
        page = store.pending(2, page[-1])
    assert sorted(p.id for p in met[:5]) == ["i1", "i3", "i5", "i7", "i9"]
    assert [(p.id, p.place) for p in met[5:]] == [("i11", 0), ("i10", 1), ("i8", 3), ("i6", 5), ("i4", 7)]
    assert met[0].version == 50 + int(met[0].id[1:])


@on_both
def test_claims_by_worker(store):
    running(store, 6)
    claim(store, 2)
    claim(store, 3, "host:2:2", lease=-5.0)
    found = store.claims()
    assert {name: count for name, (count, _) in found.items()} == {"host:1:1": 2, "host:2:2": 3}
    assert 50 < found["host:1:1"][1] < 61
    assert found["host:2:2"][1] < 0
    store.exchange(report(0), 0, 60.0)
    assert set(store.claims()) == {"host:2:2"}
