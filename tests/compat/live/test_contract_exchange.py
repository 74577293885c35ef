"""What every adapter promises of claims and of what workers hand in: late, twice, for what is no longer there."""

import multiprocessing
import os
import signal

import numpy as np
import pytest

from compat.errors import InputError
from compat.live.items import Counts, Item, Report
from compat.live.open import open_store
from compat.live.process import this_process
from tests.helpers.live_stores import NEW, claim, everything, item, new, report, running, same, turned, vector

A, B = "host:1:1", "host:2:2"


def test_batches_are_claimed_in_the_order_of_the_plan(store):
    running(store, 6, order=[5, 3, 1, 0, 2, 4])
    turn = store.exchange(report(worker=A), 2, 60.0)
    assert turn == (0, [("i5", 6, "c5", -1), ("i3", 4, "c3", -1)], True)
    assert claim(store, 3, B) == ["i1", "i0", "i2"]
    turn = store.exchange(report(5, 3, worker=A), 9, 60.0)
    assert (turn.written, [w.id for w in turn.work], turn.left) == (2, ["i4"], True)
    turn = store.exchange(report(4, worker=A), 9, 60.0)
    assert turn == (1, [], True)  # the rest is the other's
    assert store.exchange(report(1, 0, 2, worker=B), 9, 60.0) == (3, [], False)
    assert [same(found, item(n, new=new(n))) for n, found in enumerate(everything(store))] == [True] * 6


def test_what_was_written_since_the_plan_comes_first_also_below_a_limit(store):
    running(store, 3)
    store.put(Item("i2", "c2", {}, 20, old=vector(2)), store.journal())
    store.put(Item("i9", "c9", {}, 21), store.journal())
    assert claim(store, 1) in (["i2"], ["i9"])
    assert sorted(claim(store, 9, below=0)) == ["i2", "i9"]
    assert claim(store, 9)[2:] == ["i0", "i1"]


def test_only_what_is_below_the_limit_is_claimed_and_counts_as_left(store):
    running(store, 5)
    assert store.exchange(report(), 9, 60.0, below=0) == (0, [], False)
    assert claim(store, 9, A, below=2) == ["i0", "i1"]
    assert store.exchange(report(worker=B), 9, 60.0, below=2) == (0, [], True)
    assert store.exchange(report(0, 1, worker=A), 9, 60.0, below=2) == (2, [], False)
    assert claim(store, 9, A, below=3) == ["i2"]


def test_a_claim_that_nothing_was_handed_in_for_is_free_again(store):
    running(store, 3)
    assert claim(store, 2, A) == ["i0", "i1"]
    assert claim(store, 3, A) == ["i0", "i1", "i2"]


def test_a_count_of_zero_hands_in_and_claims_nothing(store):
    running(store, 2)
    assert store.exchange(report(0), 0, 60.0) == (1, [], True)
    assert claim(store, 9, B) == ["i1"]


def test_what_was_extracted_from_another_version_is_refused(store):
    running(store, 3)
    claim(store, 3)
    changed = item(1, content="else", version=50, meta={})
    store.put(changed, store.journal())
    assert store.exchange(report(0, 1, 2), 0, 60.0).written == 2
    assert same(store.get("i1"), changed)
    done = [("i1", 50, new(60))]
    assert store.exchange(report(done=done), 0, 60.0).written == 1
    assert same(store.get("i1"), changed._replace(new=new(60)))


def test_what_comes_twice_or_late_writes_nothing(store):
    running(store, 2)
    assert store.exchange(report(0), 0, 60.0).written == 1
    assert store.exchange(report(done=[("i0", 1, new(70))], failed=[("i0", 1, "late")]), 0, 60.0).written == 0
    assert same(store.get("i0"), item(0, new=new(0)))
    twice = [("i1", 2, new(1)), ("i1", 2, new(71))]
    assert store.exchange(report(done=twice), 0, 60.0).written == 1
    assert same(store.get("i1"), item(1, new=new(1)))


@pytest.mark.parametrize("changes", [{"migration": 2}, {"phase": "rolled_back"}, {"phase": "rolling_back"}])
def test_what_was_extracted_for_another_migration_writes_nothing(store, changes):
    running(store, 2)
    claim(store, 2)
    turned(store, **changes)
    turn = store.exchange(report(0, failed=[("i1", 2, "unreadable")]), 2, 60.0)
    assert (turn.written, turn.work) == (0, [])
    assert [same(found, item(n)) for n, found in enumerate(everything(store))] == [True] * 2


def test_a_deleted_item_is_not_resurrected(store):
    running(store, 3)
    claim(store, 3)
    store.delete("i1")
    store.delete("i2")
    store.put(item(2, version=90), store.journal())  # another item of the same name
    turn = store.exchange(report(0, 1, 2, failed=[("i1", 2, "unreadable")]), 9, 60.0)
    assert (turn.written, [w.id for w in turn.work]) == (1, ["i2"])
    assert store.get("i1") is None
    assert same(store.get("i2"), item(2, version=90))
    assert store.counts() == Counts(2, 1, 1, 0, 0)


@pytest.mark.parametrize("phase", ["planned", "paused", "complete"])
def test_nothing_is_handed_out_while_the_migration_does_not_run(store, phase):
    running(store, 3)
    claim(store, 2)
    turned(store, phase=phase)
    turn = store.exchange(report(0, failed=[("i1", 2, "unreadable")]), 9, 60.0)
    assert turn.work == []
    assert turn.left
    taken = phase != "planned"
    assert turn.written == int(taken)
    assert store.counts() == Counts(3, int(taken), 2 - int(taken) + int(not taken), int(taken), 0)


def test_a_vector_of_another_dimension_is_refused_and_nothing_else_written(store):
    running(store, 2)
    for wrong in (vector(1, NEW + 1), np.full(NEW, np.nan, np.float32)):
        with pytest.raises(InputError, match="new"):
            store.exchange(report(done=[("i0", 1, new(0)), ("i1", 2, wrong)]), 0, 60.0)
    assert store.counts().new == 0


def test_leases_end(store):
    running(store, 3)
    assert claim(store, 2, A, lease=-1.0) == ["i0", "i1"]
    assert claim(store, 2, B) == ["i0", "i1"]
    assert claim(store, 2, A) == ["i2"]
    assert store.exchange(report(0, 1, worker=A), 0, 60.0).written == 2  # late, and of the right versions
    assert store.exchange(report(0, 1, worker=B), 0, 60.0).written == 0


def hold(url: str, pipe) -> None:
    """Claim two items, say so, and wait for the end."""
    store = open_store(url)
    pipe.send([w.id for w in store.exchange(Report(this_process(), 1), 2, 3600.0).work])
    signal.pause()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_what_a_dead_process_claimed_is_free_at_once(store, url):
    if "many workers" not in store.capabilities:
        pytest.skip("one process at a time")
    running(store, 3)
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=hold, args=(url, there))
    process.start()
    try:
        assert here.recv() == ["i0", "i1"]
        assert claim(store, 9, this_process()) == ["i2"]
    finally:
        assert process.pid
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    until_free = (claim(store, 9, this_process()) for _ in range(1000))  # a server has to notice first
    assert ["i0", "i1", "i2"] in until_free


def test_failed_items_are_not_handed_out_until_they_are_tried_again(store):
    running(store, 3)
    store.exchange(report(failed=[("i0", 1, "'unreadable'; --"), ("i1", 99, "another version")]), 0, 60.0)
    assert same(store.get("i0"), item(0, failure="'unreadable'; --"))
    assert store.exchange(report(), 9, 60.0).work == [("i1", 2, "c1", -1), ("i2", 3, "c2", -1)]
    assert store.exchange(report(1, 2), 9, 60.0) == (2, [], False)
    assert store.retry() == 1
    assert store.retry() == 0
    assert claim(store, 9) == ["i0"]
    assert store.exchange(report(0), 9, 60.0) == (1, [], False)
    assert same(store.get("i0"), item(0, new=new(0)))


def test_a_failed_item_may_be_delivered_late(store):
    running(store, 1)
    store.exchange(report(failed=[("i0", 1, "unreadable")]), 0, 60.0)
    assert store.exchange(report(0), 0, 60.0).written == 1
    assert same(store.get("i0"), item(0, new=new(0)))


def test_processes_leave_figures_by_name(store, opened):
    running(store, 1)
    store.beat("searcher 1", {"p99": 0.5})
    opened().beat("searcher 1", {"p99": 0.25})
    store.exchange(report(worker=B, figures={"written": 3.0}), 0, 60.0)
    store.exchange(report(worker=A), 0, 60.0)
    assert store.beats(60.0) == {"searcher 1": {"p99": 0.25}, B: {"written": 3.0}}
    assert store.beats(-1.0) == {}
