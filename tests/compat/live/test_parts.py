"""One part in memory: exact while it is small, approximate beyond, over rows that come and go."""

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compat.live.sqlite.parts import Part
from compat.live.store import Approximate

DIM = 6


def vectors(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, DIM)).astype(np.float32)


def apart(query: np.ndarray, rows: np.ndarray, distance: str) -> np.ndarray:
    if distance == "l2":
        return np.linalg.norm(rows - query, axis=1)
    return 1 - rows @ query / np.linalg.norm(rows, axis=1) / np.linalg.norm(query)


@pytest.mark.parametrize("distance", ["cosine", "l2"])
@given(st.lists(st.tuples(st.booleans(), st.sets(st.integers(0, 40), min_size=1, max_size=12)), max_size=12), st.data())
@settings(max_examples=60, deadline=None)
def test_rows_that_come_and_go_are_searched_exactly(distance, changes, data):
    part = Part(np.empty(0, np.int64), vectors(0), distance)
    held: dict[int, np.ndarray] = {}
    for seed, (adds, rows) in enumerate(changes):
        some = np.array(sorted(rows))
        part.remove(some)
        for row in rows:
            held.pop(row, None)
        if adds:
            values = vectors(len(some), seed)
            part.add(some, values)
            held |= dict(zip(some.tolist(), values, strict=True))
    allowed = data.draw(st.none() | st.sets(st.integers(0, 60)))
    query = vectors(1, 99)
    found = part.search(query, 5, None if allowed is None else np.isin(np.arange(70), sorted(allowed)))[0]
    rows = np.array([row for row in sorted(held) if allowed is None or row in allowed], np.int64)
    assert part.count == len(held)
    assert len(set(found.tolist())) == len(found) == min(5, len(rows))
    if len(rows):
        truth = apart(query[0], np.stack([held[row] for row in rows.tolist()]), distance)
        got = apart(query[0], np.stack([held[row] for row in found.tolist()]), distance)
        np.testing.assert_allclose(got, np.sort(truth)[: len(found)], atol=1e-6)


def clustered(count: int, seed: int) -> np.ndarray:
    chance = np.random.default_rng(seed)
    centres = np.random.default_rng(7).normal(size=(40, 16))
    return (centres[chance.integers(0, 40, count)] + 0.5 * chance.normal(size=(count, 16))).astype(np.float32)


@pytest.mark.parametrize("distance", ["cosine", "l2"])
def test_an_approximate_part_keeps_its_floor_while_it_shrinks(distance):
    gallery, queries = clustered(6000, 0), clustered(100, 1)
    part = Part(np.arange(6000), gallery, distance, Approximate(1000, 0.9))
    assert not part.exact
    assert part.probes < part.index.nlist
    order = np.random.default_rng(2).permutation(6000)
    for removed in (0, 1500, 2900):
        part.remove(order[:removed])
        assert not part.outgrown
        exact = Part(order[removed:], gallery[order[removed:]], distance)
        found = [
            len(np.intersect1d(a, b)) for a, b in zip(part.search(queries, 10), exact.search(queries, 10), strict=True)
        ]
        assert np.mean(found) / 10 >= 0.9
        assert not np.isin(part.search(queries, 10), order[:removed]).any()
    part.remove(order[:3001])
    assert part.outgrown


def test_a_filter_that_leaves_few_is_searched_exactly():
    gallery, queries = clustered(4000, 0), clustered(20, 1)
    part = Part(np.arange(4000), gallery, "l2", Approximate(1000, 0.5))
    allowed = np.arange(0, 4000, 8)
    exact = faiss.knn(queries, gallery[allowed], 10)[1]
    np.testing.assert_array_equal(part.search(queries, 10, np.isin(np.arange(4000), allowed)), allowed[exact])


def test_a_filter_that_leaves_many_who_are_all_far_away_finds_as_many_as_there_are():
    near, far = (
        np.random.default_rng(seed).normal(at, 0.1, (3000, 6)).astype(np.float32) for seed, at in ((0, 0), (1, 9))
    )
    part = Part(np.arange(6000), np.concatenate([near, far]), "l2", Approximate(1000, 0.5))
    allowed = np.arange(3000, 6000)
    assert part.probes < part.index.nlist // 2
    found = part.search(near[:20], 10, np.isin(np.arange(6000), allowed))
    np.testing.assert_array_equal(found, allowed[faiss.knn(near[:20], far, 10)[1]])


def test_a_part_outgrows_its_index():
    small = Part(np.arange(50), vectors(50), "l2", Approximate(100))
    assert not small.outgrown
    small.add(np.arange(50, 101), vectors(51))
    assert small.outgrown
    much = Part(np.arange(3000), vectors(3000), "l2")
    much.remove(np.arange(2600))
    assert much.outgrown


def test_an_empty_part_finds_nothing():
    assert Part(np.empty(0, np.int64), vectors(0), "cosine").search(vectors(3), 5).shape == (3, 0)


def test_vectors_of_length_0_are_found_last():
    rows = np.stack([np.zeros(DIM), np.ones(DIM)]).astype(np.float32)
    assert Part(np.array([4, 9]), rows, "cosine").search(np.ones((1, DIM), np.float32), 2).tolist() == [[9, 4]]
