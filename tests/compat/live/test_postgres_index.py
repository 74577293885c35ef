"""Large parts in PostgreSQL: an index that is made, measured and made anew while items come and go."""

from dataclasses import replace

import numpy as np
import pytest

from compat.live import Item, Journal
from compat.live.store import Approximate, Ask
from tests.helpers.live_stores import planned, turned

pytest.importorskip("psycopg")
from compat.live.items import Column, Report
from compat.live.postgres import index_keeper as postgres_keeper
from compat.live.postgres.store import PostgresStore

ABOVE, ITEMS, OLD, NEW = 30, 120, 16, 12
BOTH: tuple[Column, ...] = ("old", "new")


@pytest.fixture
def adapter():
    return "postgres"


@pytest.fixture
def store(url):
    """Searched by an index above thirty items; searches do not look after it here."""
    found = PostgresStore(url, approximate=Approximate(ABOVE, 0.9))
    found.keeper.last_start = float("inf")
    yield found
    found.close()


def rows(count, dim, seed=0):
    return np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)


def filled(store, distance="cosine", count=ITEMS, dim=OLD):
    store.create(Journal(dim, distance, ("lang",)))
    store.add(
        Item(f"i{n}", f"c{n}", {"lang": "de" if n % 30 else "en"}, n + 1, v) for n, v in enumerate(rows(count, dim))
    )
    planned(store, [f"i{n}" for n in range(count)], new_dim=NEW)
    turned(store, phase="running")
    return store


def move(store, numbers, dim=NEW, migration=1):
    vectors = rows(ITEMS, dim, seed=7)
    done = [(f"i{n}", n + 1, vectors[n]) for n in numbers]
    assert store.exchange(Report("host:1:1", migration, done), 0, 60.0).written == len(done)


def near(store):
    """What is known of the indexes, which are those that there are: vectors, and how many are still searched."""
    with store.transaction() as cursor:
        known = cursor.execute("SELECT part, items, here FROM near ORDER BY part").fetchall()
        there = cursor.execute("SELECT indexname FROM pg_indexes WHERE schemaname = current_schema()").fetchall()
    assert {f"near_{part}" for part, *_ in known} == {name for (name,) in there if name[:5] == "near_"} - {"near_pkey"}
    return known


def agree(store, k=10, where=None, dims=(OLD, NEW), distance="cosine"):
    """The share of what is nearest by brute force that searches find; as many as there are, always."""
    items = [store.get(f"i{n}") for n in range(ITEMS)]
    found = []
    asks = [Ask(part, rows(5, dim, seed=9)) for part, dim in zip(BOTH, dims, strict=True)]
    for ask, its in zip(asks, store.search(asks, k, where), strict=True):
        part = [i for i in items if i is not None and (i.new is not None) == (ask.column == "new")]
        part = [i for i in part if not where or i.meta["lang"] == where["lang"]]
        vectors = np.array([getattr(i, ask.column) for i in part], np.float64).reshape(len(part), ask.queries.shape[1])
        for query, line in zip(ask.queries, its.nearest, strict=True):
            if distance == "cosine":
                far = -(vectors @ query) / np.linalg.norm(vectors, axis=1)
            else:
                far = ((vectors - query) ** 2).sum(1)
            best = {part[n].id for n in far.argsort()[:k]}
            assert len(line) == len(best)
            found.append(len(best & {its.ids[n] for n in line}) / len(best) if best else 1.0)
    return np.mean(found)


def scans(store, name):
    """How often an index was used so far."""
    store.link.execute_alone("SELECT pg_stat_force_next_flush()")
    with store.transaction() as cursor:
        row = cursor.execute("SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = %s AND schemaname ="
                             " current_schema()", (f"near_{name}",)).fetchone()  # fmt: skip
    return row[0]


@pytest.mark.parametrize("distance", ["cosine", "l2"])
def test_a_part_that_outgrows_the_limit_is_searched_by_an_index(store, distance):
    filled(store, distance)
    assert near(store) == []
    assert agree(store, distance=distance) == 1
    store.keeper.keep(BOTH)
    assert near(store) == [("vectors_0", ITEMS, ITEMS)]
    measured = (scans(store, "vectors_0") for _ in range(1000))  # told when the connection that did it is gone
    before = next(count for count in measured if count >= postgres_keeper.TRIED)
    assert agree(store, distance=distance) >= 0.9
    assert scans(store, "vectors_0") == before + 5
    move(store, range(40))
    store.keeper.keep(BOTH)
    assert near(store) == [("vectors_0", ITEMS, 80), ("vectors_1", 40, 40)]
    assert agree(store, distance=distance) >= 0.9


def test_an_index_stays_while_items_are_migrated_and_their_others_are_scanned_in_the_end(store):
    filled(store)
    store.keeper.keep(BOTH)
    for last in range(20, ITEMS, 20):
        move(store, range(last - 20, last))
        assert agree(store) >= 0.9
    assert agree(store, k=ITEMS) == 1
    before = scans(store, "vectors_0")
    store.keeper.keep(BOTH)
    assert near(store) == [("vectors_0", ITEMS, 0), ("vectors_1", 100, 100)]
    assert agree(store) >= 0.9
    assert scans(store, "vectors_0") == before


def test_plan_rollback_and_finalize_keep_indexes(store):
    """The gallery that is searched after each has the index from the first moment."""
    filled(store)
    store.keeper.keep(BOTH)
    move(store, range(110))
    store.keeper.keep(BOTH)
    before = turned(store, phase="rolling_back")
    store.revert(before, back := replace(before, phase="rolled_back"))
    used = scans(store, "vectors_0")
    assert agree_old(store) >= 0.9
    assert scans(store, "vectors_0") == used + 5
    store.place([f"i{n}" for n in range(ITEMS)], back, replace(back, migration=2, phase="running", new_dim=5))
    assert agree_old(store) >= 0.9
    assert scans(store, "vectors_0") == used + 10
    while store.sweep():
        pass
    assert [part for part, *_ in near(store)] == ["vectors_0"]
    move(store, range(ITEMS), 5, 2)
    store.keeper.keep(BOTH)
    before = turned(store, phase="verified")
    store.drop_old(before, after := replace(before, phase="finalized"))
    while store.sweep():
        pass
    assert near(store) == [("vectors_2", ITEMS, ITEMS)]
    store.advance(after, replace(after, phase="none", dim=5, new_dim=0, generation=2))
    used = scans(store, "vectors_2")
    assert agree_old(store, 5) >= 0.9
    assert scans(store, "vectors_2") == used + 5


def agree_old(store, dim=OLD):
    """Likewise where the old part is all there is."""
    items = [item for n in range(ITEMS) if (item := store.get(f"i{n}")) is not None]
    vectors = np.array([item.old for item in items], np.float64)
    ask, found = Ask("old", rows(5, dim, seed=9)), []
    its = store.search([ask], 10)[0]
    for query, line in zip(ask.queries, its.nearest, strict=True):
        far = -(vectors @ query) / np.linalg.norm(vectors, axis=1)
        found.append(len({items[n].id for n in far.argsort()[:10]} & {its.ids[n] for n in line}) / 10)
    return np.mean(found)


def test_recall_is_measured_again_with_what_came_last(store, monkeypatch):
    """What is added later lies elsewhere; an index that finds too little of it is searched more widely."""
    filled(store)
    store.keeper.keep(BOTH)
    move(store, range(60))
    measured, wanted = [], {60: 40, 80: 160, 120: 0}

    def measure(link, part, recall):
        measured.append(part.table)
        return wanted[count]

    monkeypatch.setattr(postgres_keeper, "measure", measure)
    for count, expected in ((60, ["vectors_1"]), (80, ["vectors_1"]), (120, ["vectors_1"] * 2)):
        measured.clear()
        move(store, range(store.counts().new, count))
        store.keeper.keep(["new"])
        store.keeper.keep(["new"])
        assert measured == expected
        with store.transaction() as cursor:
            assert cursor.execute("SELECT ef FROM near WHERE part = 'vectors_1'").fetchone() == (wanted[count],)


def test_the_vectors_that_came_last_are_found(store):
    filled(store)
    move(store, range(ITEMS))
    with store.transaction() as cursor:
        found = postgres_keeper.draw_latest(cursor, "vectors_1")
        some = postgres_keeper.draw_vectors(cursor, "vectors_1")
    known = {tuple(v) for v in rows(ITEMS, NEW, seed=7)}
    assert 0 < len(found) <= 25
    assert {tuple(v) for v in [*found, *some]} <= known


def test_a_filter_that_leaves_little_finds_all_of_it(store):
    filled(store)
    store.keeper.keep(BOTH)
    move(store, range(0, ITEMS, 2))
    store.keeper.keep(BOTH)
    assert agree(store, 3, {"lang": "en"}) == 1
    assert agree(store, 10, {"lang": "de"}) >= 0.9
    assert agree(store, 10, {"lang": "fr"}) == 1


def test_an_index_that_finds_too_little_is_not_searched(store, monkeypatch):
    monkeypatch.setattr(store.keeper, "approximate", Approximate(ABOVE, 1.1))  # more than all
    filled(store)
    store.keeper.keep(["old"])
    with store.transaction() as cursor:
        found = cursor.execute("SELECT ef FROM near").fetchall()
    assert found == [(0,)]
    assert agree(store, 60) == 1


def test_what_is_known_of_an_index_that_is_gone_is_not_believed(store):
    filled(store)
    store.keeper.keep(["old"])
    with store.transaction() as cursor:
        cursor.execute("DROP INDEX near_vectors_0")
    assert agree(store) == 1
    store.keeper.keep(["old"])
    assert near(store) == [("vectors_0", ITEMS, ITEMS)]


def test_an_index_that_was_cut_short_is_made_anew(store):
    filled(store)
    with store.transaction() as cursor:
        cursor.execute("CREATE INDEX near_vectors_0 ON vectors_0 (row)")
        cursor.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'near_vectors_0'::regclass")
    store.keeper.keep(["old"])
    assert near(store) == [("vectors_0", ITEMS, ITEMS)]
    assert agree(store) >= 0.9


def test_of_several_processes_one_keeps_the_indexes(store, url):
    filled(store)
    other = PostgresStore(url, approximate=Approximate(ABOVE))
    with store.transaction() as cursor:
        cursor.execute("LOCK TABLE vectors_0 IN SHARE UPDATE EXCLUSIVE MODE")  # as whoever makes one
        other.keeper.keep(["old"])
    assert near(store) == []
    other.keeper.keep(["old"])
    assert near(other) == [("vectors_0", ITEMS, ITEMS)]
    other.close()


def test_searches_see_to_it_by_themselves(store):
    filled(store)
    store.keeper.last_start = -float("inf")
    agree(store)
    store.keeper.thread.join()
    assert near(store) == [("vectors_0", ITEMS, ITEMS)]
    agree(store)
    assert not store.keeper.thread.is_alive()  # it has just looked


def test_what_is_too_wide_for_an_index_is_scanned(store):
    filled(store, count=ABOVE + 1, dim=2001)
    store.keeper.keep(["old"])
    assert near(store) == []
    assert store.search([Ask("old", rows(1, 2001))], 1)[0].ids == ["i0"]
