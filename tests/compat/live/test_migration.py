"""A migration from plan to end, and back."""

import numpy as np
import pytest

from compat.errors import InputError
from compat.live import Migration, Rows, Writer
from tests.helpers.live_galleries import ITEMS, NEW, made, matrices, models, rankings


@pytest.fixture
def store(tmp_path):
    store = made(tmp_path / "gallery.db")
    yield store
    store.close()


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
