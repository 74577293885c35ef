"""What happens at a bad moment to a Qdrant, which has no transactions and no snapshot: moves, endings, deaths."""

import threading
from dataclasses import replace
from unittest import mock

import pytest

from compat.errors import InputError
from compat.live.items import Counts, Item
from compat.live.store import Ask, Conflict
from tests.helpers.live_stores import NEW, claim, everything, item, new, report, running, same, turned, vector

pytest.importorskip("qdrant_client")

from tests.helpers.qdrant_moments import Between, in_folder, on_both

ASKS = [Ask("old", vector(0)[None]), Ask("new", new(0)[None])]


@pytest.fixture
def adapter(request) -> str:
    return request.param


def parts(store):
    """Ids of each."""
    return [sorted(found.ids) for found in store.search(ASKS, 99)]


@on_both
def test_an_item_that_moves_between_the_two_reads_is_found(store, opened):
    running(store, 6)
    other = opened()

    def move(calls):
        other.exchange(report(calls - 1), 0, 60.0)

    for after in (False, True):
        with Between(store, "query_batch_points", move, after):
            for _ in range(3):
                old, late = parts(store)
                assert {*old, *late} == {f"i{n}" for n in range(6)}


@in_folder
@pytest.mark.parametrize("swapped", [False, True])
def test_with_a_mover_on_the_way_none_is_missed_unless_the_new_part_is_read_first(store, swapped):
    """Also the negative control: in the other order this test sees items that are in neither."""
    running(store, 60)
    missed, numbers, stop = 0, iter(range(60)), threading.Event()

    def move() -> None:
        for n in numbers:
            store.exchange(report(n), 0, 60.0)
            if stop.is_set():
                return

    if swapped:
        with Between(store, "query_batch_points", lambda _: store.exchange(report(next(numbers)), 0, 60.0), True):
            for _ in range(5):
                late, old = (store.search([ask], 99)[0].ids for ask in reversed(ASKS))
                missed += {*late, *old} != {f"i{n}" for n in range(60)}
        assert missed == 5
        return
    thread = threading.Thread(target=move)
    thread.start()
    try:
        while thread.is_alive():
            old, late = parts(store)
            missed += {*late, *old} != {f"i{n}" for n in range(60)}
    finally:
        stop.set()
        thread.join()
    assert missed == 0
    assert store.counts().new == 60


@on_both
def test_the_asks_come_back_in_their_order(store):
    running(store, 4)
    store.exchange(report(1), 0, 60.0)
    assert [sorted(found.ids) for found in store.search(ASKS[::-1], 9)] == [["i1"], ["i0", "i2", "i3"]]


@on_both
def test_a_search_that_a_rollback_overtakes_is_of_one_state(store, opened):
    running(store, 4)
    store.exchange(report(0, 1), 0, 60.0)
    before = turned(store, phase="rolling_back")
    other = opened()

    def revert(calls):
        if calls == 1:
            other.revert(before, replace(before, phase="rolled_back"))

    with Between(store, "query_batch_points", revert, after=True) as between:
        assert parts(store) == [["i0", "i1", "i2", "i3"], []]
    assert between.calls > 1


@on_both
@pytest.mark.parametrize("ending", ["revert", "finalize"])
def test_a_worker_that_slept_since_an_earlier_migration_harms_nothing(store, opened, ending):
    """It had looked at the journal, and goes on after the migration ended and, in the end, another one began."""
    running(store, 3)
    zombie, kept = opened(), []

    def meanwhile(calls):
        if calls > 1:
            return
        if ending == "revert":
            before = turned(store, phase="rolling_back")
            store.revert(before, replace(before, phase="rolled_back"))
            turned(store, phase="running", migration=2)
        else:
            store.exchange(report(0, 1, 2, worker="host:2:2"), 0, 60.0)
            before = turned(store, phase="verified")
            store.drop_old(before, final := replace(before, phase="finalized"))
            store.advance(final, replace(final, phase="none", dim=NEW, new_dim=0))
            turned(store, phase="running", migration=2, new_dim=NEW)
        kept.extend(everything(store))

    late = report(0, 1, failed=[("i2", 3, "unreadable")])
    with Between(zombie, "update_vectors", meanwhile):
        turn = zombie.exchange(late, 9, 60.0)
    assert (turn.work, turn.left, len(kept)) == ([], True, 3)
    assert all(same(a, b) for a, b in zip(everything(store), kept, strict=True))
    assert store.counts() == Counts(3, 0, 3, 0, 0)


@on_both
def test_a_failed_item_of_an_earlier_migration_is_none_of_the_next(store, opened):
    running(store, 2)
    zombie = opened()

    def meanwhile(calls):
        before = turned(store, phase="rolling_back")
        store.revert(before, replace(before, phase="rolled_back"))
        turned(store, phase="running", migration=2)

    with Between(zombie, "set_payload", meanwhile):
        zombie.exchange(report(done=[], failed=[("i0", 1, "unreadable")]), 0, 60.0)
    assert store.counts() == Counts(2, 0, 2, 0, 0)
    assert (store.get("i0").failure, store.failures(9), store.retry()) == (None, [], 0)


@on_both
def test_a_write_that_a_phase_overtakes_is_refused(store, opened):
    running(store, 2)
    during, slow = store.journal(), opened()
    late = Item("i0", "late", {}, 70, new=new(70))
    with Between(slow, "upsert", lambda _: turned(store, phase="rolling_back")), pytest.raises(Conflict):
        slow.put(late, during)
    assert same(store.get("i0"), item(0))
    turned(store, phase="running")
    with Between(slow, "upsert", lambda _: turned(store, phase="rolling_back"), after=True), pytest.raises(Conflict):
        slow.put(late, during)  # written, but it does not count


@on_both
def test_a_write_for_columns_that_are_no_more_is_refused(store, opened):
    running(store, 2)
    slow = opened()
    before = turned(store, phase="rolling_back")

    def rolled_back(_):
        store.revert(before, replace(before, phase="rolled_back"))

    with Between(slow, "upsert", rolled_back), pytest.raises(Conflict):
        slow.put(Item("i9", "c9", {}, 70, old=vector(9), new=new(9)), before)
    assert store.get("i9") is None


@on_both
def test_what_is_deleted_within_a_batch_stops_nothing(store, opened):
    running(store, 5)
    worker = opened()
    with Between(worker, "update_vectors", lambda calls: calls == 1 and store.delete("i1")):
        assert worker.exchange(report(0, 1, 2, 3, 4), 0, 60.0).written == 4
    assert [i.id for i in everything(store) if i.new is not None] == ["i0", "i2", "i3", "i4"]
    other = [(f"i{n}", n + 1, new(n + 50)) for n in (0, 2, 3)]
    with Between(worker, "update_vectors", lambda calls: store.delete("i2")):
        assert worker.fill("bridge", other, worker.journal()) == 2
    assert [same(store.get(f"i{n}"), item(n, new=new(n), bridge=new(n + 50))) for n in (0, 3)] == [True] * 2


@on_both
def test_of_two_workers_at_once_each_item_is_claimed_by_one(store, opened):
    running(store, 6)
    other, theirs = opened(), []
    with Between(store, "set_payload", lambda calls: theirs.extend(claim(other, 2, "host:2:2"))):
        mine = claim(store, 3)
    assert (mine, theirs) == (["i2"], ["i0", "i1"])


@on_both
def test_the_journal_is_replaced_by_one_of_two_at_once(store, opened):
    other, first = opened(), store.journal()

    def meanwhile(calls):
        if calls == 1:
            other.amend(first, replace(first, note="theirs"))

    with Between(store, "set_payload", meanwhile), pytest.raises(Conflict):
        store.amend(first, replace(first, note="mine"))
    assert store.journal().note == "theirs"


@on_both
def test_who_was_followed_at_once_still_knows_that_it_won(store, opened):
    other, first = opened(), store.journal()
    second = replace(first, note="mine")

    def meanwhile(calls):
        if calls == 1:
            other.amend(second, replace(second, note="theirs"))

    with Between(store, "set_payload", meanwhile, after=True):
        store.amend(first, second)
    assert store.journal().note == "theirs"


@on_both
def test_a_plan_that_lost_leaves_no_columns(store, opened):
    store.add([item(0)])
    other, first = opened(), store.journal()

    def names():
        return set(store.link("get_collection", store.items).config.params.vectors)

    def meanwhile(calls):
        if calls == 1:
            other.amend(first, replace(first, migration=1, phase="planned", new_dim=NEW))

    with Between(store, "set_payload", meanwhile), pytest.raises(Conflict):
        store.amend(first, replace(first, migration=1, phase="planned", new_dim=NEW + 1))
    state = store.journals.state()
    assert names() == {state.old, state.bridge, state.new}
    turned(store, phase="running")
    before = turned(store, phase="rolling_back")
    store.revert(before, replace(before, phase="rolled_back"))
    assert names() == {state.old}


@on_both
def test_what_a_change_of_the_journal_left_to_do_is_done_later(store, opened):
    """It died after the change: vectors that are retired stay until the next."""
    running(store, 2)
    store.exchange(report(0), 0, 60.0)
    before = turned(store, phase="rolling_back")
    dying = opened()
    dies = mock.patch.object(dying.journals, "settle", side_effect=[None, KeyboardInterrupt])
    with dies, pytest.raises(KeyboardInterrupt):
        dying.revert(before, replace(before, phase="rolled_back"))
    gone = store.journals.state().retired
    there = store.link("get_collection", store.items).config.params.vectors
    assert set(gone) <= set(there)
    assert [same(i, item(n)) for n, i in enumerate(everything(store))] == [True, True]
    turned(store, phase="running", migration=2)
    assert not set(gone) & set(store.link("get_collection", store.items).config.params.vectors)


@on_both
def test_items_that_were_half_added_are_added_again(store, opened):
    with mock.patch("compat.live.qdrant.store.CHUNK", 2):
        dying = opened()
        with Between(dying, "delete", lambda _: 1 / 0), pytest.raises(ZeroDivisionError):
            dying.add([item(0), item(1), item(2), item(2)])
        assert 2 <= store.counts().total < 4
        assert store.add(item(n, content="again") for n in range(5)) == 5
    assert [(i.id, i.content) for i in everything(store)] == [(f"i{n}", "again") for n in range(5)]
    with pytest.raises(InputError, match="'i0' twice"):
        store.add([item(0)])
