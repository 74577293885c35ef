"""What is Qdrant's own: no snapshot, columns with names, a journal without transactions, addresses and errors."""

import os
import sys
import threading
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest

from compat.errors import InputError
from compat.live import Migration, Models, Rows, Searcher, Writer
from compat.live.items import Counts, Item
from compat.live.store import Ask, Conflict, open_store
from tests.live_stores import NEW, claim, create, everything, item, new, report, running, same, turned, vector

pytest.importorskip("qdrant_client")

from compat.live.qdrant_link import Busy, Link, Refused, models
from compat.live.qdrant_points import State, scaled, tag

ASKS = [Ask("old", vector(0)[None]), Ask("new", new(0)[None])]
BOTH = ("qdrant", "qdrant_http")
on_both = pytest.mark.parametrize("adapter", BOTH, indirect=True)
in_folder = pytest.mark.parametrize("adapter", ["qdrant"], indirect=True)
needs_stand = pytest.mark.skipif("QDRANT_URL" in os.environ, reason="a server does not break when it is told to")


@pytest.fixture
def adapter(request) -> str:
    return request.param


class Between:
    """Does something each time that a store calls a method, before or after it."""

    def __init__(self, store, step: str, does, after: bool = False) -> None:
        self.store, self.step, self.does, self.after, self.calls = store, step, does, after, 0
        self.call = store.link

    def __call__(self, step, *args, **options):
        if step != self.step:
            return self.call(step, *args, **options)
        self.calls += 1
        if not self.after:
            self.does(self.calls)
        found = self.call(step, *args, **options)
        if self.after:
            self.does(self.calls)
        return found

    def __getattr__(self, name):
        return getattr(self.call, name)

    def __enter__(self):
        self._set(self)
        return self

    def __exit__(self, *_):
        self._set(self.call)

    def _set(self, link) -> None:
        self.store.link = self.store.ledger.link = self.store.points.link = link


def parts(store):
    return [sorted(found.ids) for found in store.search(ASKS, 99)]


# The two parts are read one after the other.


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


# What comes late finds nothing to be written to.


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

    late = report(0, 1, dead=[("i2", 3, "unreadable")])
    with Between(zombie, "update_vectors", meanwhile):
        turn = zombie.exchange(late, 9, 60.0)
    assert (turn.work, turn.left, len(kept)) == ([], True, 3)
    assert all(same(a, b) for a, b in zip(everything(store), kept, strict=True))
    assert store.counts() == Counts(3, 0, 3, 0, 0)


@on_both
def test_a_dead_letter_of_an_earlier_migration_is_none_of_the_next(store, opened):
    running(store, 2)
    zombie = opened()

    def meanwhile(calls):
        before = turned(store, phase="rolling_back")
        store.revert(before, replace(before, phase="rolled_back"))
        turned(store, phase="running", migration=2)

    with Between(zombie, "set_payload", meanwhile):
        zombie.exchange(report(done=[], dead=[("i0", 1, "unreadable")]), 0, 60.0)
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
        assert worker.fill("bridge", other) == 2
    assert [same(store.get(f"i{n}"), item(n, new=new(n), bridge=new(n + 50))) for n in (0, 3)] == [True] * 2


@on_both
def test_of_two_workers_at_once_each_item_is_claimed_by_one(store, opened):
    running(store, 6)
    other, theirs = opened(), []
    with Between(store, "set_payload", lambda calls: theirs.extend(claim(other, 2, "host:2:2"))):
        mine = claim(store, 3)
    assert (mine, theirs) == (["i2"], ["i0", "i1"])


# The journal.


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
    state = store.ledger.state()
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
    with mock.patch.object(dying.ledger, "settle", side_effect=[None, KeyboardInterrupt]):
        with pytest.raises(KeyboardInterrupt):
            dying.revert(before, replace(before, phase="rolled_back"))
    gone = store.ledger.state().retired
    there = store.link("get_collection", store.items).config.params.vectors
    assert set(gone) <= set(there)
    assert [same(i, item(n)) for n, i in enumerate(everything(store))] == [True, True]
    turned(store, phase="running", migration=2)
    assert not set(gone) & set(store.link("get_collection", store.items).config.params.vectors)


@on_both
def test_items_that_were_half_added_are_added_again(store, opened):
    with mock.patch("compat.live.qdrant.CHUNK", 2):
        dying = opened()
        with Between(dying, "delete", lambda _: 1 / 0), pytest.raises(ZeroDivisionError):
            dying.add([item(0), item(1), item(2), item(2)])
        assert 2 <= store.counts().total < 4
        assert store.add(item(n, content="again") for n in range(5)) == 5
    assert [(i.id, i.content) for i in everything(store)] == [(f"i{n}", "again") for n in range(5)]
    with pytest.raises(InputError, match="'i0' twice"):
        store.add([item(0)])


# Whole migrations.


def models_of(count):
    names = [f"c{n}" for n in range(count)]
    old, after = np.stack([vector(n) for n in range(count)]), np.stack([new(n) for n in range(count)])
    return Models(Rows(names, after), Rows(names, old), distance="l2")


@on_both
def test_a_migration_that_is_rolled_back_and_begun_again_ends_well(store):
    its = models_of(40)
    store.add(item(n) for n in range(30))
    migration, writer, searcher = Migration(store, its), Writer(store, its), Searcher(store, its)
    assert "snapshot" not in store.capabilities
    migration.plan(batch=7)
    migration.run(until=0.5)
    writer.put("i31", "c31")
    writer.put("i1", "c32")
    assert migration.rollback().phase == "rolled_back"
    assert sorted(hit.id for hit in searcher.search("c0", 99)) == sorted(i.id for i in everything(store))
    migration.plan(batch=7)
    assert migration.run().phase == "complete"
    assert migration.verify().drifted == []
    assert migration.finalize().phase == "finalized"
    Migration(store, replace(its, old=its.new)).plan(batch=50)
    assert store.counts() == Counts(31, 0, 31, 0, 0)
    np.testing.assert_array_equal(store.get("i1").old, new(32))


# Addresses and errors.


@pytest.mark.parametrize(
    "url",
    ["qdrant://", "qdrant://host", "qdrant://host/name", "qdrant://host:1/", "qdrant://:1/name", "qdrant://h:x/name",
     "qdrant://host:1/a/b", "qdrant:///", "qdrantx://host:1/name", "qdrant://host:99999/name"],
)  # fmt: skip
def test_other_addresses_are_refused(url):
    with pytest.raises(InputError, match=r"^store: .*, expected qdrant://host:port/collection or qdrant:///folder/co"):
        open_store(url)


def test_addresses():
    assert Link("qdrant:////folder/name").address == "/folder"
    assert Link("qdrant:///folder/name").address == os.path.abspath("folder")
    assert Link("qdrants://host:6333/name").address == "https://host:6333"
    assert (Link("qdrant://host:6333/name").address, Link("qdrant://host:6333/name").collection) == (
        "http://host:6333",
        "name",
    )


def told(url) -> str:
    with pytest.raises(InputError) as error:
        open_store(url).journal()
    assert "\n" not in str(error.value)
    return str(error.value)


@needs_stand
def test_what_does_not_answer_is_told_in_one_line(stand):
    assert "expected a Qdrant server" in told("qdrant://127.0.0.1:1/name")
    assert "expected one that `init` made" in told(f"{stand.url}/name")
    stand.version = "1.17.9"
    assert "Qdrant 1.17.9" in told(f"{stand.url}/name")
    stand.broken = 500
    assert "expected a Qdrant server" in told(f"{stand.url}/name")


@needs_stand
def test_a_server_that_is_away_is_to_be_tried_again(stand):
    store = running(create(open_store(f"{stand.url}/name")), 2)
    stand.broken = 503
    with pytest.raises(OSError, match="503"):
        store.exchange(report(0), 1, 60.0)
    stand.broken = 429
    with pytest.raises(Busy) as error:
        store.counts()
    assert error.value.retry_after == 3
    stand.broken = 0
    assert store.exchange(report(0), 1, 60.0).written == 1


@needs_stand
def test_writes_wait_and_reads_ask_the_majority(stand):
    store = running(create(open_store(f"{stand.url}/name"), "cosine"), 2)
    store.exchange(report(0), 2, 60.0)
    store.put(item(1, new=new(1)), store.journal())
    store.search(ASKS, 3)
    store.sample(1)
    store.delete("i0")
    writes = [a for a in stand.asked if "/points" in a and not a.startswith("POST /collections/name/points?")]
    asked = [a for a in stand.asked if "/points" in a and "/count" not in a]
    reads = [a for a in asked if "consistency=majority" in a]
    assert len(reads) > 10
    assert all("wait=true" in a and "ordering=strong" in a for a in asked if a not in reads)
    assert len(writes) > 10


def test_a_folder_of_none_or_of_another_process_is_told_in_one_line(tmp_path):
    assert "expected one that `init` made" in told(f"qdrant:///{tmp_path}/none/name")
    assert not (tmp_path / "none").exists()
    with mock.patch("compat.live.qdrant_link.QdrantClient", side_effect=RuntimeError("already accessed")):
        assert "expected one process at a time" in told(f"qdrant:///{tmp_path}/name")


@on_both
def test_a_collection_of_something_else_is_left_alone(url, opened):
    link = Link(url)
    link.open(make=True)
    params = models.VectorParams(size=3, distance=models.Distance.DOT)
    link("create_collection", link.collection, vectors_config=params)
    try:
        assert "one vector without a name" in told(url)
        with pytest.raises(InputError, match="is a collection, expected a new one"):
            create(opened())
        link("delete_collection", link.collection)
        link("create_collection", link.collection, vectors_config={"text": params})
        assert "without a journal" in told(url)
        assert list(link("get_collection", link.collection).config.params.vectors) == ["text"]
    finally:
        link("delete_collection", link.collection)
        link.close()


@on_both
def test_making_a_store_that_was_cut_short_is_done_again(opened):
    dying = opened()
    with mock.patch.object(dying.ledger, "_note", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        create(dying)
    with pytest.raises(InputError, match="init"):
        opened().journal()
    create(opened())
    assert opened().counts().total == 0


def test_a_missing_package_is_told_in_one_line():
    ours = [name for name in sys.modules if name.startswith("compat.live.qdrant")]
    with mock.patch.dict(sys.modules, {"qdrant_client": None}):
        for name in ours:
            del sys.modules[name]
        with pytest.raises(InputError, match=r"pip install compat-bench\[qdrant\]$"):
            open_store("qdrant://host:6333/name")


@in_folder
def test_a_request_that_fits_nothing_is_told(store):
    with pytest.raises(Refused, match="expected a request that it takes"):
        store.link("retrieve", "nowhere", [1])


# Values.


def test_fields_and_values_are_one_keyword_each():
    """1, 1.0 and true are equal, as in SQL, and no others."""
    assert len({tag("a", value) for value in (1, 1.0, True)}) == 1
    values = [1, "1", 2, 1.5, None, "null", "", [1], ["1"], {"b": 1}, float("nan"), float("inf"), False]
    assert len({tag(name, value) for value in values for name in ("a", 'a", 1', "b")}) == 3 * len(values)


@on_both
def test_a_value_that_is_not_there_can_be_asked_for(store):
    store.add([item(0, meta={"lang": None}), item(1, meta={}), item(2, meta={"lang": "null"}), item(3)])
    found = store.search(ASKS[:1], 9, {"lang": None})[0]
    assert sorted(found.ids) == ["i0", "i1"]


def test_vectors_are_scaled_to_length_one_and_zero_stays():
    rows = np.array([[3, 4], [0, 0], [1e-30, 0]], np.float32)
    np.testing.assert_allclose(scaled(rows, "cosine"), [[0.6, 0.8], [0, 0], [1, 0]], rtol=1e-6)
    assert scaled(rows, "l2") is rows


@in_folder
def test_eras_grow_with_the_kind_of_phase(store):
    state: State = store.ledger.state()
    phases = ["planned", "running", "paused", "complete", "verified", "rolling_back", "rolled_back", "none"]
    eras = []
    for phase in phases:
        state = state.after(replace(state.journal, phase=phase))
        eras.append(state.era)
    assert eras == [0, 1, 1, 1, 1, 2, 3, 3]


@on_both
def test_large_batches_go_in_several_requests(store):
    running(store, 20)
    with mock.patch("compat.live.qdrant_requests.CHUNK", 6), mock.patch("compat.live.qdrant.CHUNK", 6):
        assert store.exchange(report(*range(20)), 0, 60.0).written == 20
        store.place([f"i{n}" for n in range(19, -1, -1)])
        assert store.fill("bridge", ((f"i{n}", n + 1, new(n)) for n in range(20))) == 20
    with mock.patch("compat.live.qdrant_requests.PAGE", 3):
        assert store.gallery(new=True).place.tolist() == list(range(19, -1, -1))


@on_both
def test_pages_of_pending_items_meet_each_once(store):
    running(store, 12, order=range(11, -1, -1))
    for n in (1, 3, 5, 7, 9):
        store.put(item(n, version=50 + n), store.journal())
    store.exchange(report(0, dead=[("i2", 3, "unreadable")]), 3, 60.0)
    met, page = [], store.pending(2)
    while page:
        met += page
        store.delete(page[-1].id)
        page = store.pending(2, page[-1])
    assert sorted(p.id for p in met[:5]) == ["i1", "i3", "i5", "i7", "i9"]
    assert [(p.id, p.place) for p in met[5:]] == [("i11", 0), ("i10", 1), ("i8", 3), ("i6", 5), ("i4", 7)]
    assert met[0].version == 50 + int(met[0].id[1:])


@on_both
def test_claims_by_worker(store):
    running(store, 6)
    claim(store, 2)
    claim(store, 3, "host:2:2", lease=-5.0)
    found = store.claims()
    assert {name: count for name, (count, _) in found.items()} == {"host:1:1": 2, "host:2:2": 3}
    assert 50 < found["host:1:1"][1] < 61
    assert found["host:2:2"][1] < 0
    store.exchange(report(0), 0, 60.0)
    assert set(store.claims()) == {"host:2:2"}
