"""Whole migrations on every adapter: what is served live is what the replay says, and a rollback brings it back."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import average_precision_score

from compat import Embeddings, backfill_curve, serve
from compat.errors import InputError
from compat.experience import OwnForward, learning_curve
from compat.live import Item, Journal, Migration, Models, Rows, Searcher, Writer
from compat.live.worker import Worker
from compat.merge import QueryZScore
from compat.methods import KernelGallery, Pair, Procrustes, Upgrade
from compat.models import Precomputed
from compat.orders import Random
from compat.progress import backfill_order, completion_ratios
from tests.helpers.pairs import normal, rotation

OLD, NEW, QUERIES, ITEMS, CLASSES = 6, 7, 12, 90, 5
SEED, REFIT, POINTS = 3, (0.2, 0.5), completion_ratios(11)


def planted() -> Embeddings:
    """Queries and items in classes; the new space is the old one rotated, with one dimension more and less noise."""
    rows = QUERIES + ITEMS
    labels = torch.arange(rows) % CLASSES
    centres = normal(CLASSES, NEW, seed=1)
    new = F.normalize(centres[labels] + 0.6 * normal(rows, NEW, seed=2), dim=1)
    old = (new + 0.2 * normal(rows, NEW, seed=3)) @ rotation(NEW)[:, :OLD]
    return Embeddings(old[:QUERIES], new[:QUERIES], old[QUERIES:], new[QUERIES:], labels[:QUERIES], labels[QUERIES:])


DATA = planted()
NAMES = [f"q{n}" for n in range(QUERIES)] + [f"i{n}" for n in range(ITEMS)]


def method(kind) -> Upgrade:
    """Solved from other rows of the same two spaces."""
    new = F.normalize(normal(60, NEW, seed=8), dim=1)
    found = kind(Precomputed(OLD), Precomputed(NEW))
    if kind is not Upgrade:
        found.solve(Pair(new @ rotation(NEW)[:, :OLD], new, torch.arange(60) % CLASSES))
    return found


def models(upgrade: Upgrade, distance="cosine", learner=None, **options) -> Models:
    old, new = (
        torch.cat([getattr(DATA, f"{part}_{side}") for part in ("query", "gallery")]) for side in ("old", "new")
    )
    learns = {} if learner is None else {"learner": learner, "refit": REFIT}
    return Models(Rows(NAMES, new.numpy()), Rows(NAMES, old.numpy()), upgrade, distance=distance, **learns, **options)


def filled(store, distance="cosine"):
    store.create(Journal(OLD, distance, ("class",)))
    old, labels = DATA.gallery_old.numpy(), DATA.gallery_labels.tolist()
    store.add(Item(f"i{n}", f"i{n}", {"class": labels[n]}, old=old[n]) for n in range(ITEMS))
    return store


def mean_ap(hits) -> float:
    """Of all rankings, which are of the whole gallery."""
    found = []
    for query, ranking in enumerate(hits):
        assert sorted(hit.id for hit in ranking) == sorted(NAMES[QUERIES:])
        relevant = [hit.meta["class"] == DATA.query_labels[query].item() for hit in ranking]
        found.append(average_precision_score(relevant, [-hit.distance for hit in ranking]))
    return float(np.mean(found))


def live(store, its: Models) -> list[float]:
    """mAP at 0, 10, ..., 100 % of a migration."""
    migration, found = Migration(store, its), []
    migration.plan(Random(), SEED, batch=7)
    searcher = Searcher(store, its)
    for point in POINTS:
        migration.run(until=float(point))
        assert store.counts().new == int(np.floor(point * ITEMS))
        found.append(mean_ap(searcher.search_many(NAMES[:QUERIES], ITEMS)))
    assert migration.run().phase == "complete"
    assert migration.verify().counts == (ITEMS, ITEMS, 0, 0, 0)
    assert migration.finalize().phase == "finalized"
    assert mean_ap(searcher.search_many(NAMES[:QUERIES], ITEMS)) == pytest.approx(found[-1])
    return found


@pytest.mark.parametrize("distance", ["cosine", "l2"])
@pytest.mark.parametrize("kind", [Upgrade, Procrustes, KernelGallery])
def test_the_live_curve_is_the_replayed_one(opened, kind, distance):
    upgrade = method(kind)
    found = live(filled(opened(), distance), models(upgrade, distance))
    expected = backfill_curve(serve(upgrade, DATA), backfill_order(ITEMS, SEED), POINTS, distance=distance).mean_ap
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert np.ptp(expected) > 0.01


@pytest.mark.parametrize("kind", [Upgrade, KernelGallery])
def test_so_it_is_where_each_query_has_its_own_scales(opened, kind):
    upgrade, rule, order = method(kind), QueryZScore(30, fewest=20), backfill_order(ITEMS, SEED)
    found = live(filled(opened()), models(upgrade, merge=rule))
    served = serve(upgrade, DATA)
    expected = backfill_curve(served, order, POINTS, merge=rule).mean_ap
    np.testing.assert_allclose(found, expected, atol=1e-6)
    raw = backfill_curve(served, order, POINTS).mean_ap
    np.testing.assert_allclose(expected[[0, 1, 2, -1]], raw[[0, 1, 2, -1]])
    assert np.abs(expected - raw).max() > 0.002


def test_so_it_is_where_a_learner_learns_on_the_way(opened):
    upgrade, learner = method(Upgrade), OwnForward(Precomputed(OLD), Precomputed(NEW))
    store = filled(opened())
    found = live(store, models(upgrade, learner=learner))
    order = [backfill_order(ITEMS, SEED)]
    expected = learning_curve(serve(upgrade, DATA), upgrade, learner, order, REFIT, POINTS)[0].mean_ap
    np.testing.assert_allclose(found, expected, atol=1e-6)
    plain = backfill_curve(serve(upgrade, DATA), order, POINTS).mean_ap
    assert np.abs(expected - plain).max() > 0.01
    assert store.counts().new == ITEMS


@pytest.mark.parametrize("kind", [Upgrade, KernelGallery])
def test_a_rollback_restores_all_rankings(opened, kind):
    store, its = filled(opened()), models(method(kind))
    searcher, migration = Searcher(store, its), Migration(store, its)
    before = searcher.search_many(NAMES[:QUERIES], ITEMS)
    migration.plan(Random(), SEED, batch=7)
    migration.run(until=0.37)
    Writer(store, its).put("i5", "i5", {"class": 0})
    assert [h.id for h in searcher.search("q0", ITEMS)] != [h.id for h in before[0]]
    assert migration.rollback().phase == "rolled_back"
    after = searcher.search_many(NAMES[:QUERIES], ITEMS)
    assert [[hit[:3] for hit in hits] for hits in after] == [[hit[:3] for hit in hits] for hits in before]
    migration.plan(Random(), SEED)
    assert migration.run().phase == "complete"
    assert store.counts().new == ITEMS


def test_a_worker_that_was_overtaken_while_it_learned_spoils_nothing(opened):
    """It was stopped when it had learned from a half; meanwhile another one went on, and learned from four fifths."""
    upgrade, learner, refit = method(Upgrade), OwnForward(Precomputed(OLD), Precomputed(NEW)), (0.5, 0.8)
    store, its = filled(opened()), replace(models(upgrade, learner=learner), refit=refit)
    Migration(store, its).plan(Random(), SEED, batch=7)
    worker, calls = Worker(store, its), []
    bridge = worker.write_bridge

    def overtaken(*arguments):
        calls.append(store.journal().learned)
        Worker(store, its).run(until=0.9)
        bridge(*arguments)

    worker.write_bridge = overtaken  # type: ignore[method-assign]
    worker.run(until=0.9)
    assert calls == [0]
    assert (store.journal().learned, store.counts().new) == (72, 81)
    order = [backfill_order(ITEMS, SEED)]
    expected = learning_curve(serve(upgrade, DATA), upgrade, learner, order, refit, POINTS)[0].mean_ap[9]
    assert mean_ap(Searcher(store, its).search_many(NAMES[:QUERIES], ITEMS)) == pytest.approx(expected, abs=1e-6)


def test_a_worker_that_was_overtaken_by_another_migration_does_not_go_on_with_it(opened):
    """Its model is not that migration's."""
    store, its = filled(opened()), models(method(Upgrade))
    rows = its.new(NAMES)
    other = replace(its, new=Rows(NAMES, 2 - rows))
    asked: list[list[str]] = []

    class Slow(Rows):
        def __call__(self, contents):
            asked.append(contents)
            if len(asked) == 3:  # the first is a probe
                Migration(store, its).rollback()
                Migration(store, other).plan(Random(), SEED, batch=7)
                Migration(store, other).run(until=0.5)
            return super().__call__(contents)

    slow = replace(its, new=Slow(NAMES, rows))
    Migration(store, slow).plan(Random(), SEED, batch=7)
    with pytest.raises(InputError, match="migration 2"):
        Migration(store, slow).run()
    assert (len(asked), store.counts().new) == (3, ITEMS // 2)
    for item in store.sample(20):
        np.testing.assert_allclose(item.new, other.new([item.content])[0], rtol=1e-6)
