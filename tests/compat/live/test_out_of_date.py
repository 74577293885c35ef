"""Processes that were held up while their migration was rolled back and another one planned."""

import numpy as np
import pytest

from compat.errors import InputError
from compat.live import Item, Migration, Models, Rows, Searcher, Writer
from compat.live.items import Journal
from compat.live.migration import next_journal
from compat.live.sqlite.store import SqliteStore
from tests.helpers.live_stores import lose

NAMES = [f"i{n}" for n in range(12)]
CHANCE = np.random.default_rng(0)
OLD, NEW, OTHER = (CHANCE.standard_normal((12, dim)).astype(np.float32) for dim in (3, 4, 4))
FIRST, SECOND = (Models(Rows(NAMES, new), Rows(NAMES, OLD)) for new in (NEW, OTHER))


class Held(Rows):
    """Rows of a model during whose second batch something happens elsewhere."""

    def __init__(self, happens) -> None:
        super().__init__(NAMES, NEW)
        self.happens, self.calls = happens, 0

    def __call__(self, contents):
        if len(contents) > 1:
            self.calls += 1
            if self.calls == 2:
                self.happens()
        return super().__call__(contents)


@pytest.fixture
def store(tmp_path):
    found = SqliteStore(tmp_path / "gallery.db")
    found.create(Journal(3, "cosine"))
    found.add(Item(name, name, {}, old=old) for name, old in zip(NAMES, OLD, strict=True))
    Migration(found, FIRST).plan(batch=3)
    yield found
    found.close()


def again(store, share: float) -> None:
    Migration(store, FIRST).rollback()
    migration = Migration(store, SECOND)
    migration.plan(batch=3)
    if share:
        migration.run(share)


@pytest.mark.parametrize("share", [0, 0.5, 1])
def test_a_worker_writes_nothing_for_a_migration_that_is_not_its_own(store, share):
    held = Held(lambda: again(store, share))
    with pytest.raises(InputError, match=r"^run: migration 2 is \w+, expected 1, which this worker began with$"):
        Migration(store, Models(held, Rows(NAMES, OLD))).run()
    assert held.calls == 2
    Migration(store, SECOND).run()
    assert all(np.array_equal(store.get(name).new, OTHER[n]) for n, name in enumerate(NAMES))


def test_a_searcher_says_that_another_migration_needs_other_models(store):
    Migration(store, FIRST).run(0.5)
    searcher = Searcher(store, FIRST)
    assert len(searcher.search("i0", 12)) == 12
    again(store, 0)
    assert [hit.part for hit in searcher.search("i0", 12)] == ["old"] * 12
    Migration(store, SECOND).run(0.5)
    with pytest.raises(InputError, match=r"^models.new: \w+, expected \w+, which the migration began with$"):
        searcher.search("i0", 12)


def test_a_rollback_does_not_go_on_with_the_next_migration(store):
    Migration(store, FIRST).run(1.0)
    lose(store.path, "i0", 0)

    class Meanwhile(Rows):
        def __call__(self, contents):
            rows = super().__call__(contents)
            if store.journal().phase == "rolling_back":
                again(store, 0.5)
            return rows

    with pytest.raises(InputError, match=r"^rollback: migration 2 is running meanwhile, expected to roll back 1$"):
        Migration(store, Models(FIRST.new, Meanwhile(NAMES, OLD))).rollback()
    assert store.journal().migration == 2
    assert store.counts().new == 6


class Unreadable(Rows):
    def __call__(self, contents):
        raise ValueError("no image")


def test_a_searcher_of_the_migration_that_ended_serves_until_the_next_one_runs(store):
    migration = Migration(store, FIRST)
    migration.run()
    migration.verify()
    migration.finalize()
    searcher, writer = Searcher(store, FIRST), Writer(store, FIRST)
    expected = [(hit.id, hit.distance) for hit in searcher.search("i3", 12)]
    with pytest.raises(InputError, match=r"reads none of the first \d items"):
        Migration(store, Models(Unreadable(NAMES, OTHER), Rows(NAMES, NEW))).plan()
    ended = store.journal()
    assert ended.phase == "finalized"
    third = Models(Rows(NAMES, OTHER), Rows(NAMES, NEW))
    following = Searcher(store, third)
    assert [(hit.id, hit.distance) for hit in following.search("i3", 12)] == expected
    Writer(store, third).put("i4", "i4")
    assert np.array_equal(store.get("i4").new, NEW[4])
    store.advance(ended, next_journal(ended))  # a plan that failed right after it
    assert [(hit.id, hit.distance) for hit in searcher.search("i3", 12)] == expected
    writer.put("i5", "i5")
    assert np.array_equal(store.get("i5").old, NEW[5])
    with pytest.raises(InputError, match=r"^models.old: \w+, expected \w+, as the store is in phase none$"):
        Searcher(store, SECOND).search("i3", 12)
    Migration(store, third).plan(batch=3)
    assert [(hit.id, hit.distance) for hit in searcher.search("i3", 12)] == expected
    for its in (Searcher(store, third), Searcher(store, FIRST), following):
        assert [(hit.id, hit.distance) for hit in its.search("i3", 12)] == expected
    Migration(store, third).run(0.5)
    assert {hit.part for hit in following.search("i3", 12)} == {"old", "new"}
    with pytest.raises(InputError, match=r"^models.new: \w+, expected \w+, which the migration began with$"):
        searcher.search("i3", 12)


def test_a_searcher_made_after_a_rollback_is_checked_once_the_same_migration_is_planned_again(store):
    Migration(store, FIRST).run(0.5)
    Migration(store, FIRST).rollback()
    searcher = Searcher(store, SECOND)
    assert len(searcher.search("i3", 12)) == 12
    again = Migration(store, FIRST)
    again.plan(batch=3)
    again.run(0.5)
    with pytest.raises(InputError, match=r"^models.new: \w+, expected \w+, which the migration began with$"):
        searcher.search("i3", 12)
