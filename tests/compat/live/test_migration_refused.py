"""What a migration refuses."""

from dataclasses import replace

import numpy as np
import pytest

from compat.errors import InputError
from compat.live import Journal, Migration, Rows, Searcher, Writer, open_store
from compat.live.control import throttle
from compat.live.items import Phase
from compat.live.sqlite.store import SqliteStore
from compat.live.store import change_journal
from compat.methods.affine import Affine
from compat.models import Precomputed
from compat.orders import Density, Entropy, Random, Uncertainty
from tests.helpers.live_galleries import ITEMS, NEW, OLD, Failing, made, matrices, models, rankings


@pytest.fixture
def store(tmp_path):
    store = made(tmp_path / "gallery.db")
    yield store
    store.close()


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


@pytest.mark.parametrize("phase", ["planned", "running", "paused", "complete", "verified", "rolling_back"])
def test_one_migration_at_a_time(store, phase: Phase):
    its = models()
    Migration(store, its).plan()
    change_journal(store, lambda journal: replace(journal, phase=phase))
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
    with pytest.raises(InputError, match=r"models.new: item .* is not reproduced"):
        Migration(store, models(new=drifted)).run()


def test_an_old_model_that_is_not_the_store_s_is_noticed(store):
    contents, old, _ = matrices()
    with pytest.raises(InputError, match=r"models.old: item .* is not reproduced"):
        Migration(store, models(old=Rows(contents, old[:, ::-1]))).plan()
    assert Migration(store, models(old=Rows(contents, 3 * old))).plan().phase == "planned"


@pytest.mark.parametrize(
    ("order", "message"), [(Entropy(), "no classifier"), (Uncertainty(), "uncertainty"), (Density(ITEMS), "neighbours")]
)
def test_an_order_that_needs_what_is_not_known_is_refused(store, order, message):
    with pytest.raises(InputError, match=message):
        Migration(store, models()).plan(order)
    assert store.journal().phase == "none"


@pytest.mark.parametrize(
    ("options", "order", "message"),
    [
        ({"old": Rows(*matrices()[:2])}, None, r"models\.old: item .* is not reproduced"),
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
    with pytest.raises(InputError, match=r"first 8 items \(OSError: image file is truncated\), expected one which"):
        Migration(store, models(new=Failing(*matrices()[0]))).plan()
    for dims in ((OLD + 1, NEW), (OLD, NEW - 1)):
        upgrade = Affine(Precomputed(dims[0]), Precomputed(dims[1]))
        with pytest.raises(
            InputError, match=rf"models.upgrade: from {dims[0]} to {dims[1]} dimensions, expected {OLD} to {NEW}"
        ):
            Migration(store, models(upgrade=upgrade)).plan()
    assert store.journal().phase == "none"
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
    with pytest.raises(InputError, match=r"^plan: another migration has just been planned, expected none$"):
        Migration(store, models()).plan(Slow())
    assert (store.journal().order, store.journal().migration) == ("Random 1", 1)
    assert store.gallery().place.tolist() == places


def test_a_rollback_by_an_old_model_that_is_not_the_store_s_is_refused(store):
    migration = Migration(store, models(old=None))
    migration.plan()
    migration.run(0.5)
    Writer(store, models()).put("new", "item 7")
    contents, old, _ = matrices()
    with pytest.raises(InputError, match=r"^models.old: item 'i\d+' is not reproduced"):
        Migration(store, models(old=Rows(contents, -old))).rollback()
    assert store.journal().phase == "running"
    assert Migration(store, models()).rollback().phase == "rolled_back"


def test_a_plan_goes_on_if_the_speed_of_workers_is_set_meanwhile(store, monkeypatch):
    place, calls = type(store).place, []

    def throttled(self, *arguments):
        calls.append(arguments)
        if len(calls) < 3:
            throttle(store, rate=float(len(calls)))
        place(self, *arguments)

    monkeypatch.setattr(SqliteStore, "place", throttled)
    journal = Migration(store, models()).plan()
    assert (len(calls), journal.rate, store.journal()) == (3, 2.0, journal)
    assert len(set(store.gallery().place.tolist())) == ITEMS
