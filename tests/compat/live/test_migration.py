"""A migration from plan to end, and what it refuses."""

from dataclasses import replace

import numpy as np
import pytest

from compat.errors import InputError
from compat.live import Journal, Migration, Rows, Searcher, Writer, open_store
from compat.live.control import pause, resume, status, throttle
from compat.live.items import Phase
from compat.live.sqlite.store import SqliteStore
from compat.live.store import amended
from compat.orders import Density, Entropy, Random, Uncertainty
from tests.live_galleries import ITEMS, NEW, OLD, QUERIES, items, made, matrices, models


@pytest.fixture
def store(tmp_path):
    store = made(tmp_path / "gallery.db")
    yield store
    store.close()


def rankings(store, its, k=ITEMS):
    found = Searcher(store, its).search_many([f"query {n}" for n in range(QUERIES)], k)
    return [[(hit.id, hit.distance) for hit in hits] for hits in found]


class Failing(Rows):
    """The new model, which cannot read some items."""

    def __init__(self, *bad: str) -> None:
        contents, _, new = matrices()
        super().__init__(contents, new)
        self.bad = set(bad)

    def __call__(self, contents):
        if self.bad & set(contents):
            raise OSError("image file is truncated")
        return super().__call__(contents)


def test_from_plan_to_end(store):
    migration = Migration(store, models())
    assert migration.plan(batch=7).phase == "planned"
    seen = []
    assert migration.run(0.5, on_batch=lambda n, written: seen.append((n, written))).phase == "running"
    assert seen == [(7, 7), (7, 7), (6, 6)]
    assert migration.run().phase == "complete"
    assert migration.verify().counts == (ITEMS, ITEMS, 0, 0, 0)
    assert migration.finalize().phase == "finalized"
    item = store.get("i3")
    assert item.old is None
    np.testing.assert_array_equal(item.new, matrices()[2][3])


def test_a_second_migration_begins_where_the_first_ended(store):
    first = Migration(store, models())
    first.plan()
    first.run()
    before = rankings(store, models())
    first.verify()
    first.finalize()
    assert rankings(store, models()) == before
    contents, _, new = matrices()
    third = np.random.default_rng(5).normal(size=(len(contents), 3)).astype(np.float32)
    later = models(old=Rows(contents, new), new=Rows(contents, third))
    second = Migration(store, later)
    journal = second.plan()
    assert (journal.migration, journal.dim, journal.new_dim) == (2, NEW, 3)
    assert rankings(store, later) == before
    second.run(0.5)
    assert store.counts().new == ITEMS // 2
    second.run()
    second.verify()
    second.finalize()
    np.testing.assert_array_equal(store.get("i3").new, third[3])


@pytest.mark.parametrize("phase", ["planned", "running", "paused", "complete", "verified", "rolling_back"])
def test_one_migration_at_a_time(store, phase: Phase):
    its = models()
    Migration(store, its).plan()
    amended(store, lambda journal: replace(journal, phase=phase))
    with pytest.raises(InputError, match=f"plan: migration 1 is {phase}, expected none under way"):
        Migration(store, its).plan()


@pytest.mark.parametrize("verb", ["run", "verify", "finalize", "rollback"])
def test_nothing_is_done_without_a_plan(store, verb):
    with pytest.raises(InputError, match=f"{verb}: the store is in phase none, expected"):
        getattr(Migration(store, models()), verb)()


def test_others_models_are_refused_and_nothing_is_lost(store):
    migration = Migration(store, models())
    migration.plan()
    migration.run(0.5)
    before = rankings(store, models())
    contents, _, new = matrices()
    for other in (Rows(contents, new + 1e-3), Rows(contents, new[:, :3])):
        for refused in (Migration, Searcher):
            with pytest.raises(InputError, match=r"models.new: .* which the migration began with"):
                refused(store, models(new=other))
        with pytest.raises(InputError, match=r"models.new"):
            Writer(store, models(new=other)).put("i1", "item 1")
    assert rankings(store, models()) == before


def test_a_model_that_changed_under_its_name_is_noticed(store):
    migration = Migration(store, models())
    migration.plan()
    migration.run(0.5)
    contents, _, new = matrices()
    drifted = Rows(contents, new + np.float32(0.01))
    drifted.version = migration.models.new.version
    with pytest.raises(InputError, match=r"models.new: item .* is not stored as it embeds it"):
        Migration(store, models(new=drifted)).run()


def test_an_old_model_that_is_not_the_store_s_is_noticed(store):
    contents, old, _ = matrices()
    with pytest.raises(InputError, match=r"models.old: item .* is not stored as it embeds it"):
        Migration(store, models(old=Rows(contents, old[:, ::-1]))).plan()
    assert Migration(store, models(old=Rows(contents, 3 * old))).plan().phase == "planned"


def test_what_cannot_be_read_is_served_as_before_and_blocks_the_end(store):
    new = Failing("item 3", "item 8")
    its = models(new=new)
    migration = Migration(store, its)
    migration.plan(batch=7)
    assert migration.run().phase == "complete"
    assert store.counts() == (ITEMS, ITEMS - 2, 0, 2, 0)
    assert "image file is truncated" in store.get("i3").failure
    (hits,) = Searcher(store, its).search_many(["query 0"], ITEMS)
    assert {hit.id for hit in hits if hit.part == "old"} == {"i3", "i8"}
    assert migration.verify().counts.failed == 2
    with pytest.raises(InputError, match="finalize: the store is in phase complete"):
        migration.finalize()
    new.bad = {"item 8"}
    assert store.retry() == 2
    migration.run()
    assert store.counts().failed == 1
    Writer(store, its).delete("i8")
    migration.verify()
    assert migration.finalize().phase == "finalized"


def test_an_item_that_appears_after_verification_blocks_the_end(store):
    migration = Migration(store, models())
    migration.plan()
    migration.run()
    migration.verify()
    store.put(items()[0]._replace(version=99), store.journal())
    with pytest.raises(InputError, match="finalize: 1 pending items and 0 dead letters, expected all items migrated"):
        migration.finalize()


def test_a_model_that_is_away_pauses_the_migration(store, monkeypatch):
    class Away(Failing):
        def __call__(self, contents):
            if len(contents) == 7:
                raise ConnectionError("no route")
            return super().__call__(contents)

    monkeypatch.setattr("compat.live.extraction.wait", lambda seconds: None)
    migration = Migration(store, models(new=Away()))
    migration.plan(batch=7)
    journal = migration.run()
    assert (journal.phase, journal.note) == (
        "paused",
        "models.new: ConnectionError: no route, expected a model that answers",
    )
    assert rankings(store, models())
    assert Migration(store, models()).run().phase == "complete"


def test_a_store_that_fails_is_tried_again_and_nothing_is_lost(store, monkeypatch):
    monkeypatch.setattr("compat.live.extraction.wait", lambda seconds: None)
    migration = Migration(store, models())
    migration.plan(batch=7)
    plain, fails = SqliteStore.exchange, [OSError("database or disk is full")] * 3

    def exchange(self, report, *rest):
        if report.done and fails:
            raise fails.pop()
        return plain(self, report, *rest)

    monkeypatch.setattr(SqliteStore, "exchange", exchange)
    assert migration.run(0.5).phase == "running"
    assert not fails
    fails.extend([OSError("database or disk is full")] * 99)
    with pytest.raises(InputError, match=r"store: OSError: database or disk is full, .* run goes on from there"):
        migration.run()
    assert store.counts().new == ITEMS // 2
    assert rankings(store, models())
    fails.clear()
    assert migration.run().phase == "complete"


@pytest.mark.parametrize("call", ["journal", "beats"])
def test_a_store_that_is_away_between_two_batches_is_asked_again(store, monkeypatch, call):
    monkeypatch.setattr("compat.live.extraction.wait", lambda seconds: None)
    migration = Migration(store, models())
    migration.plan(batch=7)
    throttle(store, latency=1.0)
    plain = getattr(SqliteStore, call)
    fails: list[OSError] = []
    exchanged: list[int] = []

    def away(self, *rest):
        if fails:
            raise fails.pop()
        return plain(self, *rest)

    def on_batch(items, written):
        exchanged.append(written)
        if len(exchanged) == 2:
            fails.extend([OSError("the server is gone")] * 3)

    monkeypatch.setattr(SqliteStore, call, away)
    assert migration.run(on_batch=on_batch).phase == "complete"
    assert len(exchanged) > 2
    assert not fails


def test_a_batch_is_handed_in_before_the_worker_rests(store, monkeypatch):
    migration = Migration(store, models())
    migration.plan(batch=7)
    throttle(store, rate=0.1)  # of 70 seconds for a batch, longer than the lease
    migrated = []
    monkeypatch.setattr("compat.live.worker.wait", lambda seconds: migrated.append(store.counts().new))
    monkeypatch.setattr("compat.live.worker.GLANCE", 1e9)
    assert migration.run().phase == "complete"
    assert migrated == [7, 14, 21, 28, 35, 40]


def test_held_and_let_go(store):
    its = models()
    with pytest.raises(InputError, match="pause: the store is in phase none, expected running"):
        pause(store)
    migration = Migration(store, its)
    migration.plan(batch=5)

    def hold(batch: int, written: int) -> None:
        if store.counts().new >= 10 and store.journal().phase == "running":
            pause(store, "lunch")

    assert migration.run(on_batch=hold).phase == "paused"
    assert store.counts().new == 10
    assert status(store)["note"] == "lunch"
    with pytest.raises(InputError, match="pause: the store is in phase paused"):
        pause(store)
    assert resume(store).note == ""
    assert migration.run().phase == "complete"


def test_rates_are_checked(store):
    assert throttle(store, 200.0, 0.05).rate == 200
    for wrong in ({"rate": 0.0}, {"rate": -1.0}, {"latency": 0.0}):
        with pytest.raises(InputError):
            throttle(store, **wrong)


@pytest.mark.parametrize("dual", [False, True])
def test_a_rollback_restores_all_rankings_but_of_what_was_written(store, dual):
    its = models()
    before = rankings(store, its)
    migration = Migration(store, its)
    migration.plan(batch=3, dual=dual)
    migration.run(0.37)
    writer = Writer(store, its)
    writer.put("i5", "item 7")
    writer.delete("i6")
    assert (store.get("i5").old is None) is not dual
    assert migration.rollback().phase == "rolled_back"
    assert store.counts() == (ITEMS - 1, 0, ITEMS - 1, 0, 0)
    seven = {row: dict(hits)["i7"] for row, hits in enumerate(before)}
    for row, hits in enumerate(rankings(store, its)):
        assert [hit for hit in hits if hit[0] != "i5"] == [hit for hit in before[row] if hit[0] not in ("i5", "i6")]
        assert dict(hits)["i5"] == seven[row]
    assert migration.plan().migration == 2


def test_a_rollback_needs_an_old_model_for_what_was_written(store):
    its = models()
    migration = Migration(store, its)
    migration.plan()
    migration.run(0.5)
    Writer(store, its).put("new", "item 7")
    with pytest.raises(InputError, match=r"rollback: item 'new' has no old embedding, expected models.old"):
        Migration(store, models(old=None)).rollback()
    assert store.journal().phase == "running"
    migration.rollback()
    np.testing.assert_array_equal(store.get("new").old, matrices()[1][7])


@pytest.mark.parametrize(
    ("order", "message"), [(Entropy(), "no classifier"), (Uncertainty(), "uncertainty"), (Density(ITEMS), "neighbours")]
)
def test_an_order_that_needs_what_is_not_known_is_refused(store, order, message):
    with pytest.raises(InputError, match=message):
        Migration(store, models()).plan(order)
    assert store.journal().phase == "none"


def ended(store):
    """The store after a whole migration."""
    migration = Migration(store, models())
    migration.plan()
    migration.run()
    migration.verify()
    migration.finalize()


def next_models(**options):
    contents, _, new = matrices()
    return models(**{"old": Rows(contents, new), "new": Rows(contents, new[:, :3])} | options)


@pytest.mark.parametrize(
    ("options", "order", "message"),
    [
        ({"old": Rows(*matrices()[:2])}, None, r"models\.old: item .* is not stored as it embeds it"),
        ({"new": Failing(*matrices()[0])}, None, r"models\.new: it reads none of the first"),
        ({}, Entropy(), "order: Entropy, but the old model has no classifier"),
        ({}, Uncertainty(), "uncertainty"),
        ({}, Density(ITEMS), "neighbours"),
    ],
)
def test_a_second_plan_that_is_refused_leaves_a_finalized_store_as_it_was(store, options, order, message):
    ended(store)
    before, found = store.journal(), rankings(store, models())
    with pytest.raises(InputError, match=message):
        Migration(store, next_models(**options)).plan(order)
    assert store.journal() == before
    assert rankings(store, models()) == found
    assert Migration(store, next_models()).plan(Density(2)).phase == "planned"


def test_other_plans_that_make_no_sense(store, tmp_path):
    empty = open_store(f"sqlite:///{tmp_path / 'empty.db'}")
    empty.create(Journal(OLD, "cosine"))
    with pytest.raises(InputError, match="no item has an old embedding"):
        Migration(empty, models()).plan()
    empty.close()
    with pytest.raises(InputError, match="batch: 0"):
        Migration(store, models()).plan(batch=0)
    with pytest.raises(InputError, match="dual: without an old model"):
        Migration(store, models(old=None)).plan(dual=True)
    with pytest.raises(InputError, match=r"models.new: it reads none of the first 8 items"):
        Migration(store, models(new=Failing(*matrices()[0]))).plan()
    with pytest.raises(InputError, match="distance: l2, expected cosine"):
        Migration(store, models(distance="l2"))
    for until in (-0.1, 1.1):
        with pytest.raises(InputError, match="until"):
            Migration(store, models()).run(until)


def test_a_store_that_cannot_compare_and_set_is_refused(store, monkeypatch):
    monkeypatch.setattr(SqliteStore, "capabilities", frozenset({"snapshot"}))
    with pytest.raises(InputError, match="SqliteStore cannot compare and set"):
        Migration(store, models()).plan()


@pytest.mark.parametrize("url", ["gallery.db", "sqlite://gallery.db", "mysql://localhost/x", ""])
def test_addresses_of_no_store(url):
    with pytest.raises(InputError, match=r"store: .*, expected sqlite:///path"):
        open_store(url)


def test_a_plan_that_was_overtaken_leaves_the_order_of_the_other(store):
    class Slow(Random):
        def orders(self, given, seeds):
            found = super().orders(given, seeds)
            Migration(store, models()).plan(seed=1, batch=7)
            places.extend(store.gallery().place.tolist())
            return found

    places: list[int] = []
    with pytest.raises(InputError, match=r"^plan: another migration was planned just now, expected none$"):
        Migration(store, models()).plan(Slow())
    assert (store.journal().order, store.journal().migration) == ("Random 1", 1)
    assert store.gallery().place.tolist() == places


def test_a_rollback_by_an_old_model_that_is_not_the_store_s_is_refused(store):
    migration = Migration(store, models(old=None))
    migration.plan()
    migration.run(0.5)
    Writer(store, models()).put("new", "item 7")
    contents, old, _ = matrices()
    with pytest.raises(InputError, match=r"^models.old: item 'i\d+' is not stored as it embeds it"):
        Migration(store, models(old=Rows(contents, -old))).rollback()
    assert store.journal().phase == "running"
    assert Migration(store, models()).rollback().phase == "rolled_back"
