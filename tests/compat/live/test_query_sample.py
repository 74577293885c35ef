"""The sample that a searcher keeps: which items are in it, after whatever is written, and what is read for it."""

import numpy as np
import pytest
import torch

from compat.live import Migration, Searcher, Writer
from compat.live.query_sample import QuerySample, entering
from compat.live.verbs.forecast import forecast
from compat.merge import QueryZScore, lowest
from compat.orders import Random
from compat.progress import backfill_order
from tests.helpers.live_galleries import ITEMS, Failing, made, matrices, models, rankings

RULE, SEED = QueryZScore(10, fewest=5), 2


@pytest.fixture
def store(tmp_path):
    store = made(tmp_path / "gallery.db")
    yield store
    store.close()


def planned(store, its=None):
    migration = Migration(store, its or models(merge=RULE))
    migration.plan(Random(), SEED, batch=3)
    return migration


def sample_of(store) -> QuerySample:
    return QuerySample(store, RULE, torch.from_numpy, store.journal())


def rows(sample) -> list[int]:
    """The numbers of the sampled items."""
    _, old, new = matrices()
    found = [int((old == vector.numpy()).all(1).argmax()) for vector in sample.old]
    assert found == [int((new == vector.numpy()).all(1).argmax()) for vector in sample.new]
    return found


def test_it_is_the_replay_s_at_each_ratio(store):
    migration, order = planned(store), backfill_order(ITEMS, SEED)
    kept = sample_of(store)
    for count in range(0, ITEMS + 1, 4):
        migration.run(count / ITEMS)
        expected = order[RULE.places(count)].tolist()
        for sample in (kept.update(), sample_of(store).update()):
            assert sorted(rows(sample) if sample is not None else []) == sorted(expected)
    assert kept.current[0] == ITEMS


def test_each_item_is_read_once_and_the_ids_once(store, monkeypatch):
    migration, kept = planned(store), sample_of(store)
    read: list[str] = []
    scans: list[dict] = []
    get, gallery = store.get, store.gallery

    def counted_get(id):
        read.append(id)
        return get(id)

    def counted_gallery(**options):
        scans.append(options)
        return gallery(**options)

    migration.run(0)
    monkeypatch.setattr(store, "get", counted_get)
    monkeypatch.setattr(store, "gallery", counted_gallery)
    for count in range(ITEMS + 1):
        migration.run(count / ITEMS)
        kept.update()
        kept.update()
    assert len(set(read)) == len(read) <= len(kept.entering)
    assert scans.count({"old": False}) == 1


def test_items_written_anew_and_failed_ones_are_left_out(store):
    contents = matrices()[0]
    order = backfill_order(ITEMS, SEED)
    places = RULE.places(20)
    bad, written, deleted = (f"i{order[place]}" for place in places[:3])
    its = models(merge=RULE, new=Failing(contents[int(bad[1:])]))
    planned(store, its).run(0.5)
    kept = sample_of(store)
    assert sorted(rows(kept.update())) == sorted(order[places[1:]].tolist())
    searcher = Searcher(store, its)
    before = rankings(store, its, 5)
    Writer(store, its).put(written, "query 3")
    Writer(store, its).delete(deleted)
    assert sorted(rows(kept.update())) == sorted(order[places[1:]].tolist())
    assert sorted(rows(sample_of(store).update())) == sorted(order[places[3:]].tolist())
    assert len(searcher.search("query 1", 5)) == len(before[1])


def test_too_few_sampled_items_leave_distances_raw(store):
    its = models(merge=RULE)
    planned(store, its).run(0.5)
    order = backfill_order(ITEMS, SEED)
    for place in RULE.places(20)[:6]:
        Writer(store, its).delete(f"i{order[place]}")
    assert sample_of(store).update() is None
    hits = Searcher(store, its).search("query 1", ITEMS)
    assert all(hit.distance >= 0 for hit in hits)


def test_a_warm_searcher_has_it_and_the_end_needs_none(store):
    its = models(merge=RULE)
    migration = planned(store, its)
    migration.run(0.5)
    searcher = Searcher(store, its)
    searcher.warm()
    assert searcher.plan is not None
    sample = searcher.plan[1].sample
    assert sample is not None
    assert len(sample.known) == 10
    assert min(hit.distance for hit in searcher.search("query 1", ITEMS)) < 0
    migration.run()
    migration.verify()
    migration.finalize()
    assert all(hit.distance >= 0 for hit in searcher.search("query 1", ITEMS))


def test_a_forecast_does_not_foretell_the_merge(store):
    its = models(merge=RULE)
    planned(store, its)
    assert forecast(store, its, store.journal()).agreement is None


def test_the_places_that_ever_enter_are_those_of_all_samples():
    priority = QueryZScore(7, 2).priorities(200)
    expected = set[int]()
    for count in range(1, 201):
        expected |= set(lowest(priority[:count], 7).tolist())
    assert entering(priority, 7).tolist() == sorted(expected)
    assert len(entering(np.random.default_rng(0).random(10**5), 300)) < 2500
