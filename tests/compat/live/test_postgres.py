"""What is PostgreSQL's own: several processes on one migration, killed clients and servers, and who is let in."""

import multiprocessing
import os
import signal
from contextlib import contextmanager

import numpy as np
import pytest

from compat.live import Migration, Models, Rows, Searcher, extraction, open_store
from compat.live.items import Counts
from compat.live.store import Ask
from compat.live.worker import CANARIES, Worker
from tests.helpers.live_stores import OLD, create, everything, item, new, report, running, same, turned, vector

psycopg = pytest.importorskip("psycopg")
from compat.live.postgres import connection as postgres_link  # noqa: E402
from compat.live.postgres.connection import PostgresConnection  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
ITEMS, BATCH = 60, 5


@pytest.fixture
def adapter():
    return "postgres"


class Watched(Rows):
    """A new model that does something before each batch, and remembers what it embedded."""

    def __init__(self, before=lambda batch: None):
        super().__init__([f"c{n}" for n in range(ITEMS)], np.stack([new(n) for n in range(ITEMS)]))
        self.before, self.saw = before, []

    def __call__(self, contents):
        if len(contents) > 1:  # no probe
            self.before(len(self.saw) // BATCH)
            self.saw += contents
        return super().__call__(contents)


def models(before=lambda batch: None):
    old = Rows([f"c{n}" for n in range(ITEMS)], np.stack([vector(n) for n in range(ITEMS)]))
    return Models(Watched(before), old, distance="l2")


def planned(store):
    create(store)
    store.add(item(n) for n in range(ITEMS))
    Migration(store, models()).plan(seed=1, batch=BATCH)
    return store


def migrated(store):
    assert store.counts() == Counts(ITEMS, ITEMS, 0, 0, 0)
    return all(same(found, item(n, new=new(n))) for n, found in enumerate(everything(store)))


@contextmanager
def process(work, *arguments):
    """A process beside this one, and the end of a pipe to it; killed in the end if it still lives."""
    here, there = multiprocessing.Pipe()
    found = multiprocessing.get_context("fork").Process(target=work, args=(there, *arguments))
    found.start()
    try:
        yield found, here
    finally:
        if found.is_alive():
            found.kill()
        found.join()


def work(pipe, url, before=lambda batch: None, lease=60.0):
    """Be a worker, and tell what it saw and wrote."""
    store, its = open_store(url), models(before)
    worker = Worker(store, its, lease)
    phase = worker.run().phase
    pipe.send((phase, its.new.saw, worker.figures))


@pytest.fixture
def url(server, tmp_path):
    return f"{server.url}&schema=s{tmp_path.name[-40:].lower().replace('-', '_')}{os.getpid()}"


def test_two_processes_share_a_migration(opened, url):
    store = planned(opened())
    both = multiprocessing.get_context("fork").Barrier(2)

    def meet(batch):
        if batch == 0:
            both.wait(60)

    with process(work, url, meet) as (_, one), process(work, url, meet) as (_, other):
        told = [end.recv() for end in (one, other)]
    saw = [told[0][1], told[1][1]]
    assert min(map(len, saw)) >= BATCH
    both_saw = saw[0] + saw[1]  # but for batches of one, which look like probes
    assert len(set(both_saw)) == len(both_saw) > ITEMS - 2 * BATCH  # none twice
    assert [figures["conflicts"] for *_, figures in told] == [0, 0]
    assert [phase for phase, *_ in told] == ["complete"] * 2
    assert migrated(store)


def test_one_that_was_stopped_past_its_lease_writes_nothing_stale(opened, url):
    store = planned(opened())

    def stop(batch):
        if batch == 1:
            os.kill(os.getpid(), signal.SIGSTOP)

    with process(work, url, stop, 0.0) as (stopped, pipe):
        os.waitpid(stopped.pid, os.WUNTRACED)
        assert store.counts().new == BATCH
        held = [w.id for w in store.exchange(report(worker="host:3:3", migration=1), BATCH, 0.0).work]
        assert len(held) == BATCH
        store.delete(held[0])
        Worker(store, models()).run()
        changed = [item(int(id[1:]), version=999, content="else") for id in held[1:3]]
        changed[0] = changed[0]._replace(new=new(77))
        for one in changed:  # the second is to be migrated, and only its version says that it is another
            store.put(one, store.journal())
        store.describe(held[3], {"lang": "fr"})
        os.kill(stopped.pid, signal.SIGCONT)
        phase, _, figures = pipe.recv()
    assert (phase, figures["written"], figures["conflicts"]) == ("complete", BATCH, BATCH)
    assert store.get(held[0]) is None
    assert [same(store.get(one.id), one) for one in changed] == [True] * 2
    assert [i.meta for i in everything(store) if i.id == held[3]] == [{"lang": "fr"}]
    assert store.counts() == Counts(ITEMS - 1, ITEMS - 2, 1, 0, 0)


def test_a_killed_client_loses_its_batch_alone(opened, url):
    store = planned(opened())

    def die(batch):
        if batch == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    with process(work, url, die) as (killed, _):
        killed.join(60)
    assert store.counts().new == 2 * BATCH
    its, left = models(), [w.content for w in store.pending(ITEMS)]
    assert Worker(store, its).run().phase == "complete"
    assert sorted(its.new.saw[-len(left) :]) == sorted(left)
    assert len(its.new.saw) <= len(left) + CANARIES
    assert migrated(store)


def test_a_killed_server_is_waited_for(opened, server, monkeypatch):
    store, seen = planned(opened()), []
    monkeypatch.setattr(extraction, "wait", lambda seconds: None)

    def kill(batch):
        if batch in (1, 3):
            server.kill()
            for read in (store.journal, store.counts, store.gallery, lambda: store.get("i0"), lambda: store.retry()):
                with pytest.raises(OSError, match=r"^[^\n]+$"):
                    read()
            server.start()
            seen.append(store.counts().new)

    other = opened()
    assert other.counts().new == 0
    worker = Worker(store, models(kill))
    assert worker.run().phase == "complete"
    assert seen == [BATCH, 3 * BATCH]
    assert worker.figures["conflicts"] == 0
    assert migrated(store)
    assert migrated(other)  # its connection was to the one before


def test_a_server_that_is_gone_between_two_batches(opened, server, monkeypatch):
    """The hand-in fails, and is done again when the server is back."""
    store = planned(opened())
    monkeypatch.setattr(extraction, "wait", lambda seconds: server.start())
    worker = Worker(store, models(lambda batch: server.kill() if batch == 2 else None))
    assert worker.run().phase == "complete"
    assert (worker.figures["written"], worker.figures["conflicts"]) == (ITEMS, 0)
    assert migrated(store)


def test_queries_see_every_item_once_while_they_move(opened, url):
    store = planned(opened())
    searcher, both = Searcher(store, models()), 0
    with process(work, url) as (mover, _):
        while store.journal().phase != "complete" and mover.is_alive():
            hits = searcher.search("c0", k=2 * ITEMS)
            assert sorted(hit.id for hit in hits) == sorted(f"i{n}" for n in range(ITEMS))
            both += len({hit.part for hit in hits}) == 2
    assert migrated(store)
    assert both > 0


def test_both_parts_are_of_one_state(opened):
    """What another connection commits between the two searches is seen by neither."""
    store, other = running(create(opened()), 4), opened()
    asks = [Ask("old", vector(0)[None]), Ask("new", new(0)[None])]

    def asked():
        yield asks[0]
        other.exchange(report(1), 0, 60.0)
        yield asks[1]

    found = store.search(asked(), 9)
    assert [sorted(part.ids) for part in found] == [["i0", "i1", "i2", "i3"], []]
    assert [sorted(part.ids) for part in store.search(asks, 9)] == [["i0", "i2", "i3"], ["i1"]]


@pytest.mark.parametrize(("step", "within"), [("put", "check_item"), ("exchange", "check_report")])
def test_the_phase_does_not_change_while_something_is_written(opened, monkeypatch, step, within):
    store, other = running(create(opened()), 2), opened()
    monkeypatch.setattr(postgres_link, "TRIES", 1)
    monkeypatch.setattr(postgres_link, "LOCAL", f"{postgres_link.LOCAL}; SET LOCAL lock_timeout = '50ms'")
    during, refused = store.journal(), []

    def meanwhile(*_):
        with pytest.raises(OSError, match="lock") as found:
            turned(other, phase="paused")
        refused.append(found)

    monkeypatch.setattr(f"compat.live.postgres.store.{within}", meanwhile)
    if step == "put":
        store.put(item(0, new=new(0)), during)
    else:
        store.exchange(report(0), 0, 60.0)
    assert len(refused) == 1
    assert store.counts().new == 1
    assert turned(other, phase="paused") == store.journal()


def test_what_was_undone_for_another_is_done_again(url, opened):
    create(opened())
    link, tries = PostgresConnection(url), []

    def step(cursor):
        tries.append(cursor.execute("UPDATE journal SET digest = digest || 'x'").rowcount)
        if len(tries) < 3:
            raise psycopg.errors.DeadlockDetected
        cursor.execute("UPDATE journal SET digest = substr(digest, 1, length(digest) - 1)")
        return link.journal.dim

    assert link.write(step) == OLD
    assert tries == [1, 1, 1]
    link.close()


def test_stores_of_one_server_do_not_know_of_each_other(opened, url):
    store = running(create(opened()), 2)
    other = open_store(url + "b")
    create(other).add([item(5)])
    assert (store.counts().total, other.gallery().ids, store.journal().phase) == (2, ["i5"], "running")
    other.close()
