"""Generations in SQLite: verbs that concern all items are one write of the journal, and users write meanwhile."""

from dataclasses import replace

import pytest

from compat.live.items import Item
from compat.live.migration import next_journal
from compat.live.sqlite import generations
from compat.live.sqlite import store as sqlite_store
from compat.live.sqlite.store import SqliteStore
from compat.live.store import Conflict
from tests.helpers.live_stores import NEW, claim, create, item, new, planned, report, running, turned, vector


@pytest.fixture
def store(tmp_path):
    found = create(SqliteStore(tmp_path / "gallery.db"))
    yield found
    found.close()


def tables(store) -> list[str]:
    with store.transaction("DEFERRED") as cursor:
        return sorted([*generations.tables(cursor), *generations.abandoned_tables(cursor)])


def of(*numbers):
    """Tables of these generations; the first one is no migration's, and so has no bridge."""
    return sorted(f"{name}_{n}" for n in numbers for name in ("bridge", "lacking", "vectors") if n or name != "bridge")


def written(store, step) -> int:
    """Rows that a step writes."""
    before = store.link.connection.total_changes
    step()
    return store.link.connection.total_changes - before


def test_users_add_write_and_delete_while_an_order_is_prepared(store, tmp_path, monkeypatch):
    monkeypatch.setattr(sqlite_store, "CHUNK", 3)
    store.add(item(n) for n in range(10))
    user = SqliteStore(tmp_path / "gallery.db")
    steps: list[None] = []
    writes = [
        lambda: user.delete("i1"),  # which has its place
        lambda: user.delete("i9"),  # which has none yet
        lambda: user.add([item(10), item(11)]),
        lambda: user.put(item(5, version=50), user.journal()),
    ]

    def gently(step):
        while step():
            if len(steps) < len(writes):
                writes[len(steps)]()
            steps.append(None)

    monkeypatch.setattr(sqlite_store, "repeat_with_pauses", gently)
    planned(store, [f"i{n}" for n in range(9, -1, -1)])
    turned(store, phase="running")
    assert len(steps) >= len(writes)
    assert store.misplaced(9) == []
    assert claim(store, 99) == ["i10", "i11", *(f"i{n}" for n in (8, 7, 6, 5, 4, 3, 2, 0))]
    assert tables(store) == of(0, 1)
    user.close()


def test_a_plan_that_fails_or_is_overtaken_leaves_nothing(store, monkeypatch):
    store.add(item(n) for n in range(4))
    before = store.journal()

    def gently(step):
        turned(store, note="meanwhile")

    monkeypatch.setattr(sqlite_store, "repeat_with_pauses", gently)
    with pytest.raises(Conflict):
        planned(store, ["i0"])
    assert store.journal() == replace(before, note="meanwhile")
    assert tables(store) == of(0)


def test_what_a_plan_left_that_was_killed_is_gone_after_the_next(store):
    store.add(item(n) for n in range(4))
    with store.transaction() as cursor:
        generations.stage(cursor, "staged_1")
    store.add([item(5)])
    store.delete("i1")
    planned(store, ["i3", "i0"])
    assert tables(store) == of(0, 1)
    assert store.gallery().place.tolist() == [1, -1, 0, -1]


def test_rollback_finalize_and_the_next_plan_write_the_journal_alone(store):
    running(store, 200)
    before = turned(store, phase="rolling_back")
    store.exchange(report(*range(100)), 0, 60.0)
    assert written(store, lambda: store.revert(before, replace(before, phase="rolled_back"))) == 2  # one in the audit
    planned(store, [f"i{n}" for n in range(200)])
    turned(store, phase="running")
    store.exchange(report(*range(200), migration=2), 0, 60.0)
    before = turned(store, phase="verified")
    after = replace(before, phase="finalized")
    assert written(store, lambda: store.drop_old(before, after)) == 2
    assert written(store, lambda: store.advance(after, next_journal(after))) == 2


def test_what_serves_no_more_is_swept_in_chunks_by_anyone(store, tmp_path):
    running(store, 25)
    store.exchange(report(*range(15)), 0, 60.0)
    before = turned(store, phase="rolling_back")
    store.revert(before, replace(before, phase="rolled_back"))
    sweeps = 0
    while SqliteStore(tmp_path / "gallery.db").sweep(4):
        sweeps += 1
        assert store.get("i3").new is None
    assert sweeps >= 25 // 4
    assert tables(store) == of(0)
    assert not store.sweep(4)
    planned(store, ["i2"], new_dim=NEW)
    assert not store.sweep(4)
    assert tables(store) == of(0, 2)
    assert store.gallery().ids == [f"i{n}" for n in range(25)]


def test_a_rollback_needs_no_vector_read_again(store):
    """What a searcher has in memory is shown again, and found."""
    from compat.live.store import Ask

    running(store, 12)
    asks = [Ask("old", vector(0)[None])]
    assert len(store.search(asks, 99)[0].ids) == 12
    part = store.indexes.columns["old"].index
    store.exchange(report(*range(7)), 0, 60.0)
    assert len(store.search(asks, 99)[0].ids) == 5
    before = turned(store, phase="rolling_back")
    store.put(Item("i3", "other", {}, 77, old=vector(99), new=new(99)), before)
    store.revert(before, replace(before, phase="rolled_back"))
    found = store.search(asks, 99)[0]
    assert sorted(found.ids) == sorted(f"i{n}" for n in range(12))
    assert found.vectors[found.ids.index("i3")].tolist() == vector(99).tolist()
    assert store.indexes.columns["old"].index is part or not store.indexes.columns["old"].whole
