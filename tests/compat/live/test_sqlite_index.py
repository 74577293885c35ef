"""One part in memory: exact while it is small, approximate beyond, over rows that come and go."""

import threading
import tracemalloc

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compat.engine.exact import Distance
from compat.live.sqlite.index import SqliteIndex
from compat.live.sqlite.lists import train_lists
from compat.live.store import Approximate

DIM = 6
CHANGES = st.sampled_from(["add", "remove", "hide", "show"])


def vectors(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, DIM)).astype(np.float32)


def apart(query: np.ndarray, rows: np.ndarray, distance: str) -> np.ndarray:
    if distance == "l2":
        return np.linalg.norm(rows - query, axis=1)
    return 1 - rows @ query / np.linalg.norm(rows, axis=1) / np.linalg.norm(query)


@pytest.mark.parametrize("distance", ["cosine", "l2"])
@given(st.lists(st.tuples(CHANGES, st.sets(st.integers(0, 40), min_size=1, max_size=12)), max_size=12), st.data())
@settings(max_examples=60, deadline=None)
def test_rows_that_come_and_go_are_searched_exactly(distance, changes, data):
    part = SqliteIndex(np.empty(0, np.int64), vectors(0), distance)
    held: dict[int, np.ndarray] = {}
    hidden: set[int] = set()
    for seed, (change, rows) in enumerate(changes):
        some = np.array(sorted(rows))
        if change == "hide":
            part.hide(some)
            hidden |= rows & set(held)
        elif change == "show":
            part.show(None if seed % 2 else some)
            hidden -= hidden if seed % 2 else rows
        else:
            part.remove(some)
            hidden -= rows
            held = {row: vector for row, vector in held.items() if row not in rows}
        if change == "add":
            values = vectors(len(some), seed)
            part.add(some, values)
            held |= dict(zip(some.tolist(), values, strict=True))
    allowed = data.draw(st.none() | st.sets(st.integers(0, 60)))
    query = vectors(1, 99)
    found = part.search(query, 5, None if allowed is None else np.isin(np.arange(50), sorted(allowed)))[0]
    rows = np.array(sorted(row for row in held if row not in hidden and (allowed is None or row in allowed)), np.int64)
    assert part.count == len(held)
    assert len(set(found.tolist())) == len(found) == min(5, len(rows))
    if len(rows):
        truth = apart(query[0], np.stack([held[row] for row in rows.tolist()]), distance)
        got = apart(query[0], np.stack([held[row] for row in found.tolist()]), distance)
        np.testing.assert_allclose(got, np.sort(truth)[: len(found)], atol=1e-6)


@pytest.mark.parametrize("distance", ["cosine", "l2"])
@pytest.mark.parametrize("apart_by", [1e-3, 1e-4, 1e-6])
@pytest.mark.parametrize("asked", [1, 50])
def test_near_equal_vectors_are_told_apart(distance, apart_by, asked):
    chance = np.random.default_rng(0)
    gallery, queries = (
        (30 * (np.ones(32) + apart_by * chance.normal(size=(count, 32)))).astype(np.float32) for count in (1500, asked)
    )
    found = SqliteIndex(np.arange(1500), gallery, distance).search(queries, 10)
    for query, rows in zip(queries.astype(np.float64), found, strict=True):
        best = gallery[np.argsort(_float64(query, gallery, distance))[:10]]
        assert _float64(query, gallery[rows], distance).max() <= _float64(query, best, distance).max() * (1 + 1e-6)


def _float64(query: np.ndarray, rows: np.ndarray, distance: str) -> np.ndarray:
    """Squared distances by differences, of unit vectors under cosine."""
    rows = rows.astype(np.float64)
    if distance == "cosine":
        query, rows = query / np.linalg.norm(query), rows / np.linalg.norm(rows, axis=1)[:, None]
    return ((rows - query) ** 2).sum(1)


def clustered(count: int, seed: int) -> np.ndarray:
    chance = np.random.default_rng(seed)
    centres = np.random.default_rng(7).normal(size=(40, 16))
    return (centres[chance.integers(0, 40, count)] + 0.5 * chance.normal(size=(count, 16))).astype(np.float32)


def approximate(rows: np.ndarray, gallery: np.ndarray, distance: Distance, settings: Approximate) -> SqliteIndex:
    """A part whose lists are built."""
    part = SqliteIndex(rows, gallery, distance, settings)
    part.update_lists()
    part.wait()
    assert not part.exact
    return part


@pytest.mark.parametrize("distance", ["cosine", "l2"])
def test_an_approximate_part_keeps_its_floor_while_it_shrinks(distance):
    gallery, queries = clustered(6000, 0), clustered(100, 1)
    part = approximate(np.arange(6000), gallery, distance, Approximate(1000, 0.9))
    order = np.random.default_rng(2).permutation(6000)
    for removed in (0, 1500, 2900, 4500):
        part.remove(order[:removed])
        exact = SqliteIndex(order[removed:], gallery[order[removed:]], distance)
        found = [
            len(np.intersect1d(a, b)) for a, b in zip(part.search(queries, 10), exact.search(queries, 10), strict=True)
        ]
        assert np.mean(found) / 10 >= 0.9
        assert not np.isin(part.search(queries, 10), order[:removed]).any()


def test_a_part_that_is_mostly_removed_is_outgrown():
    part = SqliteIndex(np.arange(3000), vectors(3000), "l2")
    part.hide(np.arange(2900))
    part.remove(np.arange(2000))
    assert not part.outgrown
    part.remove(np.arange(2000, 2600))
    assert part.outgrown


def test_a_filter_that_leaves_few_is_searched_exactly():
    gallery, queries = clustered(4000, 0), clustered(20, 1)
    part = approximate(np.arange(4000), gallery, "l2", Approximate(1000, 0.5))
    allowed = np.arange(0, 4000, 8)
    exact = faiss.knn(queries, gallery[allowed], 10)[1]
    np.testing.assert_array_equal(part.search(queries, 10, np.isin(np.arange(4000), allowed)), allowed[exact])


def test_a_filter_that_leaves_many_who_are_all_far_away_finds_them():
    near, far = (
        np.random.default_rng(seed).normal(at, 0.1, (3000, 6)).astype(np.float32) for seed, at in ((0, 0), (1, 9))
    )
    part = approximate(np.arange(6000), np.concatenate([near, far]), "l2", Approximate(1000, 0.9))
    allowed = np.arange(3000, 6000)
    found, exact = (
        part.search(near[:50], 10, np.isin(np.arange(6000), allowed)),
        allowed[faiss.knn(near[:50], far, 10)[1]],
    )
    assert np.mean([len(np.intersect1d(a, b)) for a, b in zip(found, exact, strict=True)]) / 10 >= 0.9


def test_it_looks_at_each_vector_until_its_lists_are_built(monkeypatch):
    gallery, queries = clustered(4000, 0), clustered(20, 1)
    ready = threading.Event()

    def later(*args):
        ready.wait(30)
        return train_lists(*args)

    monkeypatch.setattr("compat.live.sqlite.index.train_lists", later)
    part = SqliteIndex(np.arange(3900), gallery[:3900], "l2", Approximate(1000, 0.5))
    for known in (3900, 4000):
        part.add(np.arange(part.count, known), gallery[part.count : known])
        exact = faiss.knn(queries, gallery[:known], 10)[1]
        np.testing.assert_array_equal(part.search(queries, 10), exact)
    assert part.exact
    ready.set()
    part.update_lists()
    part.wait()
    assert not part.exact


def test_its_memory_is_that_of_its_vectors():
    gallery = np.random.default_rng(0).normal(size=(2**16, 64)).astype(np.float32)
    tracemalloc.start()
    chunks = ((np.arange(start, start + 2**12), gallery[start : start + 2**12]) for start in range(0, 2**16, 2**12))
    part = SqliteIndex.build(chunks, 64, "cosine")
    part.search(gallery[:5], 10)
    part.update_lists()
    part.wait()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert not part.exact
    assert peak < 1.3 * gallery.nbytes


def test_an_empty_part_finds_nothing():
    assert SqliteIndex(np.empty(0, np.int64), vectors(0), "cosine").search(vectors(3), 5).shape == (3, 0)


def test_vectors_of_length_0_are_found_last():
    rows = np.stack([np.zeros(DIM), np.ones(DIM)]).astype(np.float32)
    assert SqliteIndex(np.array([4, 9]), rows, "cosine").search(np.ones((1, DIM), np.float32), 2).tolist() == [[9, 4]]


def test_vectors_of_length_0_are_as_far_as_what_is_at_right_angles():
    rows = np.array([[-1, 0.1], [0, 0], [-0.1, 1], [0.1, 1]], np.float32)
    assert SqliteIndex(np.arange(4), rows, "cosine").search(np.array([[1, 0]], np.float32), 4).tolist() == [
        [3, 1, 2, 0]
    ]


@pytest.mark.parametrize("size", [1e-30, 1e25])
def test_squares_of_huge_and_of_tiny_vectors_are_finite(size):
    gallery, query = size * vectors(50), size * vectors(1, 9)
    exact = np.argsort(np.linalg.norm(gallery.astype(np.float64) - query, axis=1))[:5]
    assert SqliteIndex(np.arange(50), gallery, "l2").search(query, 5)[0].tolist() == exact.tolist()
