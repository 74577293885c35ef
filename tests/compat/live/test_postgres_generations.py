"""Generations in PostgreSQL: stores of the first layout, plans while users write, and tables that somebody reads."""

import json
from dataclasses import replace
from hashlib import sha256
from itertools import pairwise

import numpy as np
import pytest

from compat.errors import InputError
from compat.live import Migration, Models, Rows, Searcher, Writer
from compat.live.items import Counts, Journal
from compat.live.store import Ask, Conflict
from tests.helpers.live_stores import NEW, OLD, create, item, new, planned, report, running, same, turned, vector

psycopg = pytest.importorskip("psycopg")
from compat.live.postgres import generations  # noqa: E402
from compat.live.postgres.store import PostgresStore  # noqa: E402

FIRST = """
CREATE SCHEMA "{0}"; SET search_path = "{0}", public;
CREATE TABLE journal (one int PRIMARY KEY CHECK (one = 1), content text NOT NULL, digest text NOT NULL);
CREATE TABLE items (row bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id text NOT NULL UNIQUE, content text NOT NULL,
    meta jsonb NOT NULL, version bigint NOT NULL, place bigint NOT NULL DEFAULT -1, failure text, old vector,
    bridge vector, new vector);
CREATE UNLOGGED TABLE claims (row bigint PRIMARY KEY, worker text NOT NULL, backend int NOT NULL,
    born timestamptz NOT NULL, until timestamptz NOT NULL);
CREATE UNLOGGED TABLE beats (name text PRIMARY KEY, at timestamptz NOT NULL, figures jsonb NOT NULL);
CREATE TABLE near (part text PRIMARY KEY, dim int NOT NULL, items bigint NOT NULL, ef int NOT NULL);
CREATE INDEX pending ON items (place, row) WHERE new IS NULL AND failure IS NULL;
CREATE INDEX near_old ON items USING hnsw ((old::vector(3)) vector_cosine_ops) WHERE vector_dims(old) = 3;
INSERT INTO near VALUES ('old', 3, 8, 40)
"""
NAMES = [f"i{n}" for n in range(9)]
WAS, IS = (np.random.default_rng(0).normal(size=(9, dim)).astype(np.float32) for dim in (3, 4))
MODELS = Models(Rows(NAMES, IS), Rows(NAMES, WAS))
ADDED = {"store", "generation", "doubt"}  # to the journal, since


@pytest.fixture
def adapter():
    return "postgres"


def first(url, phase, migrated=0, failed=()):
    """A store as the first layout had it, 8 items planned from the last to the first, of which some are migrated."""
    store = PostgresStore(url)
    begun = (1, phase, 8, 4, MODELS.fingerprint, "Random 0", 3)
    its = Journal(3, "cosine", ("lang",), *(() if phase == "none" else begun))
    content = json.dumps({k: v for k, v in its.record().items() if k not in ADDED}, sort_keys=True)
    with psycopg.connect(**store.link.address.parameters, autocommit=True) as base:
        base.execute("CREATE EXTENSION IF NOT EXISTS vector")
        for statement in FIRST.format(store.link.schema).split(";\n"):
            base.execute(statement)
        base.execute("INSERT INTO journal VALUES (1, %s, %s)", (content, sha256(content.encode()).hexdigest()))
        for n in range(8):
            after = str(IS[n].tolist()) if n >= 8 - migrated else None
            before = None if phase == "finalized" else str(WAS[n].tolist())
            why = "unreadable" if n in failed else None
            base.execute(
                "INSERT INTO items (id, content, meta, version, place, failure, old, new)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
                (f"i{n}", f"i{n}", json.dumps({"lang": "de" if n % 2 else "en"}), n + 1,
                 -1 if phase == "none" else 7 - n, why, before, after),
            )  # fmt: skip
        base.execute("DELETE FROM items WHERE id = 'i7'")  # no later item gets its row number
    return store


@pytest.mark.parametrize(
    ("phase", "migrated", "counts"),
    [
        ("none", 0, Counts(7, 0, 7, 0, 0)),
        ("planned", 0, Counts(7, 0, 7, 0, 0)),
        ("running", 4, Counts(7, 3, 3, 1, 0)),
        ("rolled_back", 0, Counts(7, 0, 7, 0, 0)),
        ("complete", 8, Counts(7, 7, 0, 0, 0)),
        ("finalized", 8, Counts(7, 7, 0, 0, 0)),
    ],
)
def test_a_store_of_the_first_layout_goes_on_in_the_phase_it_was_in(phase, migrated, counts, url):
    store = first(url, phase, migrated, {2} if phase == "running" else ())
    journal = store.journal()
    assert (journal.phase, store.counts()) == (phase, counts)
    assert journal.store
    if phase not in ("none", "rolled_back", "finalized"):
        assert store.gallery().place.tolist() == [7, 6, 5, 4, 3, 2, 1]
    again = PostgresStore(url)
    assert again.journal() == journal
    again.close()
    hits = Searcher(store, MODELS).search("i8", 9, {"lang": "en"})
    assert sorted(hit.id for hit in hits) == ["i0", "i2", "i4", "i6"]
    Writer(store, MODELS).put("i8", "i8")
    with store.transaction() as cursor:
        assert cursor.execute("SELECT row FROM items WHERE id = 'i8'").fetchone() == (9,)
    if phase != "finalized":
        migration = Migration(store, MODELS)
        if phase in ("none", "rolled_back"):
            migration.plan()
        store.retry()
        migration.run()
        migration.verify()
        migration.finalize()
    assert store.counts() == Counts(8, 8, 0, 0, 0)
    assert np.array_equal(store.get("i3").new, IS[3])
    store.close()


def test_a_store_of_a_later_layout_is_refused(opened):
    store = create(opened())
    with store.transaction() as cursor:
        cursor.execute("UPDATE layout SET version = 7")
    for _ in range(2):
        with pytest.raises(InputError, match=r"^store: schema \w+ has tables of version 7, expected 2 or less: update"):
            opened().counts()


def test_every_change_of_the_journal_is_in_the_history(url):
    store = first(url, "none")
    migration = Migration(store, MODELS)
    migration.plan()
    migration.run()
    migration.rollback()
    changes = [entry.changes for entry in store.history(99)][::-1]
    phases = [change["phase"] for change in changes if "phase" in change]
    assert phases[0][0] == "none"
    assert all(a[1] == b[0] for a, b in pairwise(phases))
    assert [after for _, after in phases] == ["planned", "running", "complete", "rolling_back", "rolled_back"]
    assert [entry.changes for entry in store.history(1)] == changes[-1:]
    store.close()


def there(store):
    with store.transaction() as cursor:
        return generations.tables(cursor)


def test_verbs_wait_for_nobody_who_reads(opened, server, monkeypatch):
    """An analyst has read all tables in a transaction that stays open."""
    store = running(create(opened()), 6)
    store.exchange(report(*range(6)), 0, 60.0)
    with psycopg.connect(server.url) as analyst:
        for table in ("items", *there(store)):
            analyst.execute(f'SELECT count(*) FROM "{store.link.schema}".{table}')
        before = turned(store, phase="verified")
        store.drop_old(before, after := replace(before, phase="finalized"))
        assert not store.sweep()
        assert there(store) == ["bridge_1", "lacking_0", "lacking_1", "vectors_0", "vectors_1"]
        store.put(item(9, old=None, new=new(9)), store.journal())
        store.advance(after, replace(after, phase="none", dim=NEW, new_dim=0, generation=1))
        planned(store, ["i0"], new_dim=OLD)
        assert analyst.execute(f'SELECT count(*) FROM "{store.link.schema}".vectors_0').fetchone() == (6,)
    while store.sweep():
        pass
    assert there(store) == ["bridge_2", "lacking_1", "lacking_2", "vectors_1", "vectors_2"]
    assert store.counts() == Counts(7, 0, 7, 0, 0)


def test_a_reader_whose_tables_are_dropped_reads_again(opened, monkeypatch):
    """The journal of its state names them, and they go before it comes to them."""
    store, other = running(create(opened()), 3), opened()
    journal, looked = store.journal(), []

    def meanwhile(*arguments):
        looked.append(arguments)
        if len(looked) == 1:
            before = turned(other, phase="rolling_back")
            other.revert(before, replace(before, phase="rolled_back"))
            while other.sweep():
                pass
        return check(*arguments)

    from compat.live.postgres import store as module

    check = module.check_way
    monkeypatch.setattr(module, "check_way", meanwhile)
    assert [sorted(part.ids) for part in store.search([Ask("old", vector(0)[None])], 9)] == [["i0", "i1", "i2"]]
    assert len(looked) == 2
    with pytest.raises(Conflict):
        store.search([Ask("old", vector(0)[None])], 9, during=journal)


def test_a_table_that_is_missing_is_named(opened):
    store = running(create(opened()), 3)
    with store.transaction() as cursor:
        cursor.execute("DROP TABLE vectors_0")
    for step in (store.gallery, lambda: store.get("i0"), lambda: store.search([Ask("old", vector(0)[None])], 1)):
        with pytest.raises((InputError, OSError), match="vectors_0"):
            step()


def test_what_users_do_while_an_order_is_prepared_is_in_it(opened, monkeypatch):
    """Items that are put, changed, deleted and added once the order has been read are all open in it."""
    store, other = create(opened()), opened()
    store.add(item(n) for n in range(4))

    def meanwhile(*arguments):
        made(*arguments)
        during = other.journal()
        other.put(item(7), during)
        other.put(item(1, version=50), during)
        other.delete("i2")
        other.add([item(8)])

    made = generations.make
    monkeypatch.setattr(generations, "make", meanwhile)
    planned(store, ["i3", "i2", "i1", "unknown", "i0"])
    assert store.gallery().ids == ["i0", "i1", "i3", "i7", "i8"]
    assert store.gallery().place.tolist() == [4, 2, 0, -1, -1]
    assert store.counts() == Counts(5, 0, 5, 0, 0)
    with store.transaction() as cursor:
        assert cursor.execute("SELECT count(*) FROM lacking_1").fetchone() == (5,)


def test_a_plan_that_is_overtaken_while_it_is_prepared_changes_nothing(opened, monkeypatch):
    store, other = create(opened()), opened()
    store.add(item(n) for n in range(3))
    before = store.journal()

    def meanwhile(*arguments):
        made(*arguments)
        monkeypatch.setattr(generations, "make", made)
        turned(other, note="changed")

    made = generations.make
    monkeypatch.setattr(generations, "make", meanwhile)
    with pytest.raises(Conflict):
        planned(store, ["i0"])
    assert there(store) == ["lacking_0", "vectors_0"]
    assert store.journal() == replace(before, note="changed")
    planned(store, ["i0"])


def test_items_that_are_added_slowly_keep_nobody_waiting(opened):
    """Whoever plans meanwhile waits for them alone, so here it comes first."""
    store, other = create(opened()), opened()

    def slowly():
        yield item(0)
        turned(other, rate=2.0)
        other.put(item(5), other.journal())
        yield item(1)

    assert store.add(slowly()) == 2
    assert sorted(store.gallery().ids) == ["i0", "i1", "i5"]

    def planned_meanwhile():
        yield item(2)
        monkeypatched = generations.last_committed_row
        generations.last_committed_row = lambda link, cursor, before: 10**6  # does not wait, and has seen nothing
        try:
            planned(other, ["i0", "i1", "i5"])
        finally:
            generations.last_committed_row = monkeypatched
        yield item(3)

    assert store.add(planned_meanwhile()) == 2
    assert store.counts() == Counts(5, 0, 5, 0, 0)
    assert sorted(p.id for p in store.pending(9) if p.place == -1) == ["i2", "i3"]
    turned(store, phase="running")

    def running_by_now():
        yield item(4)

    with pytest.raises(InputError, match=r"^add: migration 1 is running"):
        store.add(running_by_now())


def test_a_hundred_rollbacks_leave_no_trace(opened):
    store = running(create(opened()), 2)
    for _ in range(20):
        before = turned(store, phase="rolling_back")
        store.revert(before, replace(before, phase="rolled_back"))
        planned(store, ["i1", "i0"])
        while store.sweep():
            pass
    assert len(there(store)) == 5
    with store.transaction() as cursor:
        columns = cursor.execute("SELECT max(attnum) FROM pg_attribute WHERE attrelid = 'items'::regclass").fetchone()
    assert columns == (5,)
    assert same(store.get("i0"), item(0))
