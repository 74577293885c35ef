"""A migration of which a model, a store or an item fails, or an operator holds it."""

import socket
import subprocess
import sys

import pytest

from compat.errors import InputError
from compat.live import Migration, Searcher, Writer
from compat.live.control import pause, resume, status, throttle
from compat.live.sqlite.store import SqliteStore
from tests.helpers.live_galleries import ITEMS, Failing, items, made, models, rankings


@pytest.fixture
def store(tmp_path):
    store = made(tmp_path / "gallery.db")
    yield store
    store.close()


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


def test_a_batch_of_items_that_cannot_be_read_is_dead_as_the_model_reads_others(store):
    Migration(store, models(new=Failing())).plan(batch=20)
    Migration(store, models(new=Failing())).run(0.5)
    bad = [work.content for work in store.pending(ITEMS)]
    migration = Migration(store, models(new=Failing(*bad)))
    assert migration.run().phase == "complete"
    assert store.counts() == (ITEMS, ITEMS - 20, 0, 20, 0)
    assert store.retry() == 20
    assert migration.run().phase == "complete"
    assert store.counts().failed == 20


def test_a_model_that_reads_nothing_any_more_pauses_the_migration(store):
    new = Failing()
    migration = Migration(store, models(new=new))
    migration.plan(batch=16)
    journal = migration.run(on_batch=lambda *_: new.bad.update(item.content for item in items()))
    assert journal.phase == "paused"
    assert journal.note.startswith(
        "models.new: it failed on all 16 items of a batch (OSError: image file is truncated)"
    )
    assert store.counts() == (ITEMS, 16, ITEMS - 16, 0, 0)
    new.bad = set()
    assert migration.run().phase == "complete"


def test_a_rate_that_is_lifted_counts_at_once_and_so_does_a_pause(store, monkeypatch):
    migration = Migration(store, models())
    migration.plan(batch=5)
    throttle(store, rate=1e-6)
    waited = []

    def wait(seconds):
        waited.append(seconds)
        if len(waited) == 3:
            throttle(store, rate=1e-7)
        elif len(waited) == 7:
            pause(store)

    monkeypatch.setattr("compat.live.worker.wait", wait)
    assert migration.run().phase == "paused"
    assert store.counts().new == 10
    assert waited == [0.5] * 7


def test_what_a_dead_worker_did_is_no_speed(store):
    store.beat("another:1:1", {"items_per_second": 2.0, "conflicts": 0.0})
    assert status(store)["workers"] == 1
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    store.beat(f"{socket.gethostname()}:{gone.stdout.strip()}:1", {"items_per_second": 40.0, "conflicts": 0.0})
    found = status(store)
    assert (found["workers"], found["items_per_second"]) == (1, 2.0)


def test_an_item_that_appears_after_verification_blocks_the_end(store):
    migration = Migration(store, models())
    migration.plan()
    migration.run()
    migration.verify()
    store.put(items()[0]._replace(version=99), store.journal())
    with pytest.raises(InputError, match="finalize: 1 pending items and 0 failed items, expected all items migrated"):
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
        "models.new: ConnectionError: no route, expected a model which answers",
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
    with pytest.raises(InputError, match=r"store: OSError: database or disk is full, .* run continues from there"):
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
