"""Large parts in PostgreSQL: an index that is made, measured, made anew and dropped while items come and go."""

import numpy as np
import pytest

from compat.live import Item, Journal
from compat.live.store import Approximate, Ask
from tests.live_stores import placed, turned

pytest.importorskip("psycopg")
from compat.live.items import Column, Report
from compat.live.postgres import parts as postgres_parts
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
    found.keeper.looked = float("inf")
    yield found
    found.close()


def rows(count, dim, seed=0):
    return np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)


def filled(store, distance="cosine", count=ITEMS, dim=OLD):
    store.create(Journal(dim, distance, ("lang",)))
    store.add(
        Item(f"i{n}", f"c{n}", {"lang": "de" if n % 30 else "en"}, n + 1, v) for n, v in enumerate(rows(count, dim))
    )
    turned(store, migration=1, phase="running", new_dim=NEW)
    return store


def move(store, numbers, dim=NEW, migration=1):
    vectors = rows(ITEMS, dim, seed=7)
    done = [(f"i{n}", n + 1, vectors[n]) for n in numbers]
    assert store.exchange(Report("host:1:1", migration, done), 0, 60.0).written == len(done)


def near(store):
    """What is known of the indexes, and which there are."""
    with store.transaction() as cursor:
        known = cursor.execute("SELECT part, dim, items FROM near ORDER BY part").fetchall()
        there = cursor.execute("SELECT indexname FROM pg_indexes WHERE schemaname = current_schema()").fetchall()
    assert sorted(f"near_{part}" for part, *_ in known) == sorted(
        {name for (name,) in there if name[:5] == "near_"} - {"near_pkey"}
    )
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


def scans(store, part):
    """How often an index was used so far."""
    with store.transaction() as cursor:
        name = f"near_{part}"
        row = cursor.execute("SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = %s AND schemaname ="
                             " current_schema()", (name,)).fetchone()  # fmt: skip
    return row[0]


@pytest.mark.parametrize("distance", ["cosine", "l2"])
def test_a_part_that_outgrows_the_limit_is_searched_by_an_index(store, distance):
    filled(store, distance)
    assert near(store) == []
    assert agree(store, distance=distance) == 1
    store.keeper.keep(BOTH)
    assert near(store) == [("old", OLD, ITEMS)]
    measured = (scans(store, "old") for _ in range(1000))  # told when the connection that did it is gone
    before = next(count for count in measured if count >= postgres_parts.TRIED)
    assert agree(store, distance=distance) >= 0.9
    store.link.outside("SELECT pg_stat_force_next_flush()")
    assert scans(store, "old") == before + 5
    move(store, range(40))
    store.keeper.keep(BOTH)
    assert near(store) == [("new", NEW, 40), ("old", OLD, ITEMS)]
    assert agree(store, distance=distance) >= 0.9


def test_a_part_that_shrinks_is_found_whole_and_scanned_in_the_end(store):
    filled(store)
    store.keeper.keep(BOTH)
    for last in range(20, ITEMS, 20):
        move(store, range(last - 20, last))
        assert agree(store) >= 0.9
    assert agree(store, k=ITEMS) == 1
    store.keeper.keep(BOTH)
    assert near(store) == [("new", NEW, 100)]
    assert agree(store) >= 0.9


def test_an_index_is_made_anew_when_its_part_has_halved(store):
    filled(store)
    store.keeper.keep(BOTH)
    move(store, range(50))
    store.keeper.keep(["old"])
    assert near(store) == [("old", OLD, ITEMS)]
    move(store, range(50, 70))
    store.keeper.keep(["old"])
    assert near(store) == [("old", OLD, 50)]


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


def test_indexes_outlive_no_change_of_what_they_are_of(store):
    """Rolled back, planned with another dimension, finalized, and the next migration: all is found."""
    filled(store)
    move(store, range(60))
    store.keeper.keep(BOTH)
    assert len(near(store)) == 2
    before = turned(store, phase="rolling_back")
    store.revert(before, after := Journal(OLD, "cosine", ("lang",), 1, "rolled_back", new_dim=NEW))
    assert near(store) == []
    assert agree(store) == 1

    turned(store, migration=2, phase="running", new_dim=5)
    store.keeper.keep(BOTH)
    placed(store, [f"i{n}" for n in range(ITEMS)])
    assert near(store) == []
    move(store, range(ITEMS), 5, 2)
    store.keeper.keep(BOTH)
    assert near(store) == [("new", 5, ITEMS)]
    before = turned(store, phase="verified")
    store.drop_old(before, after := Journal(OLD, "cosine", ("lang",), 2, "finalized", new_dim=5))
    assert near(store) == [("new", 5, ITEMS)]
    store.advance(after, Journal(5, "cosine", ("lang",), 2))
    assert near(store) == []
    assert agree(store, dims=(5, NEW)) == 1
    turned(store, migration=3, phase="running", new_dim=NEW)
    store.keeper.keep(BOTH)
    assert near(store) == [("old", 5, ITEMS)]
    move(store, range(40), NEW, 3)
    assert agree(store, dims=(5, NEW)) >= 0.9


def test_what_is_known_of_an_index_that_is_gone_is_not_believed(store):
    filled(store)
    store.keeper.keep(["old"])
    with store.transaction() as cursor:
        cursor.execute("DROP INDEX near_old")
    assert agree(store) == 1
    store.keeper.keep(["old"])
    assert near(store) == [("old", OLD, ITEMS)]


def test_an_index_of_another_dimension_disturbs_no_write(store):
    """As one may be made just when the next migration begins."""
    filled(store)
    postgres_parts.make(store.link, "new", NEW + 1, "cosine")
    move(store, range(ITEMS))
    assert agree(store) == 1
    store.keeper.keep(["new"])
    assert near(store) == [("new", NEW, ITEMS)]


def test_of_several_processes_one_keeps_the_indexes(store, url):
    filled(store)
    other = PostgresStore(url, approximate=Approximate(ABOVE))
    with store.transaction() as cursor:
        cursor.execute("LOCK TABLE items IN SHARE UPDATE EXCLUSIVE MODE")  # as whoever makes one
        other.keeper.keep(["old"])
    assert near(store) == []
    other.keeper.keep(["old"])
    assert near(other) == [("old", OLD, ITEMS)]
    other.close()


def test_searches_see_to_it_by_themselves(store):
    filled(store)
    store.keeper.looked = -float("inf")
    agree(store)
    store.keeper.thread.join()
    assert near(store) == [("old", OLD, ITEMS)]
    agree(store)
    assert not store.keeper.thread.is_alive()  # it has just looked


def test_what_is_too_wide_for_an_index_is_scanned(store):
    filled(store, count=ABOVE + 1, dim=2001)
    store.keeper.keep(["old"])
    assert near(store) == []
    assert store.search([Ask("old", rows(1, 2001))], 1)[0].ids == ["i0"]
