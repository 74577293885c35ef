"""Top-k replay with faiss against the exact replay, against plain loops, and a case worked out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compat import Embeddings, backfill_curve, backfill_order
from compat.engine.exact import distances
from compat.errors import InputError
from compat.topk import topk_curve
from tests.helpers.spaces import random_embeddings


def slow_topk(e, order, progress, distance, k, top_k):
    """Rank every query's gallery anew at each completion ratio and keep k; without ties."""
    items = len(e.gallery_old)
    old = distances(e.query_old, e.gallery_old, distance).numpy()
    new = distances(e.query_new, e.gallery_new, distance).numpy()
    labels, groups = e.gallery_labels.numpy(), e.gallery_groups.numpy()
    mean_ap: list[float] = []
    cmc: dict[int, list[float]] = {j: [] for j in top_k}
    for ratio in progress:
        backfilled = np.zeros(items, bool)
        backfilled[order[: math.floor(ratio * items)]] = True
        precisions, ranks = [], []
        for query in range(len(old)):
            merged = np.where(backfilled, new[query], old[query])
            kept = groups != e.query_groups[query].item()
            relevant = (labels == e.query_labels[query].item())[kept]
            if relevant.any():
                ranked = relevant[np.argsort(merged[kept])][:k]
                places = np.flatnonzero(ranked) + 1
                precisions.append(sum(n / place for n, place in enumerate(places, 1)) / min(relevant.sum(), k))
                ranks.append(places[0] if len(places) else math.inf)
        mean_ap.append(float(np.mean(precisions)))
        for j in cmc:
            cmc[j].append(float(np.mean(np.array(ranks) <= j)))
    return mean_ap, cmc


cases = {
    "seed": st.integers(0, 10**6),
    "items": st.integers(5, 40),
    "grouped": st.booleans(),
    "distance": st.sampled_from(["cosine", "l2"]),
}


@settings(max_examples=15, deadline=None)
@given(**cases, tied=st.booleans(), more=st.integers(0, 3))
def test_of_the_whole_gallery_equals_the_exact_curve(seed, items, grouped, distance, tied, more):
    e = random_embeddings(seed, items=items, tied=tied, classes=3, grouped=grouped)
    order = backfill_order(items, seed)
    exact = backfill_curve(e, order, 6, distance=distance, metrics=("ndcg_10",))
    found = topk_curve(e, order, 6, k=items + more, distance=distance)
    np.testing.assert_allclose(found.mean_ap, exact.mean_ap, atol=1e-12)
    np.testing.assert_allclose(found.ndcg, exact.figures["ndcg_10"][0], atol=1e-12)
    for j, values in exact.cmc.items():
        np.testing.assert_array_equal(found.cmc[j], values)
    np.testing.assert_array_equal(found.negative_flip_rate, exact.negative_flip_rate)
    assert (found.queries, found.queries_without_positive) == (exact.queries, exact.queries_without_positive)
    assert found.auc == pytest.approx(exact.auc)
    assert found.recall.tolist() == [1] * 6


@settings(max_examples=15, deadline=None)
@given(**cases, k=st.integers(1, 10))
def test_equals_ranking_and_cutting(seed, items, grouped, distance, k):
    e = random_embeddings(seed, items=items, classes=3, grouped=grouped)
    order, ratios, top_k = backfill_order(items, seed), [0.0, 0.25, 0.6, 1.0], (1, k)
    mean_ap, cmc = slow_topk(e, order, ratios, distance, k, top_k)
    found = topk_curve(e, order, ratios, k=k, top_k=top_k, distance=distance)
    np.testing.assert_allclose(found.mean_ap, mean_ap, atol=1e-12)
    for j in top_k:
        np.testing.assert_allclose(found.cmc[j], cmc[j], atol=1e-12)


def test_by_hand():
    """One query on a line at 0; items a (relevant), b, c, d (relevant). Old distances 2, 1, 3, 4; new 1, 2, 3, 1."""
    line = Embeddings(
        query_old=[[0.0]],
        query_new=[[0.0]],
        gallery_old=[[2.0], [1.0], [3.0], [4.0]],
        gallery_new=[[1.0], [2.0], [3.0], [-1.0]],
        query_labels=[7],
        gallery_labels=[7, 8, 8, 7],
    )
    found = topk_curve(line, [0, 1, 2, 3], [0.0, 0.25, 0.5, 1.0], k=2, top_k=(1, 2), distance="l2")
    at_0 = (1 / 2) / 2  # b a
    at_1 = (1 / 2) / 2  # a and b tied at 1
    at_2 = 1 / 2  # a b
    at_4 = 1.0  # a and d tied at 1
    assert found.mean_ap.tolist() == [at_0, at_1, at_2, at_4]
    assert found.cmc[1].tolist() == [0, 0, 1, 1]
    assert found.cmc[2].tolist() == [1, 1, 1, 1]


def test_a_cut_off_named_twice_counts_once():
    e = random_embeddings(0)
    assert topk_curve(e, range(30), 2, top_k=(1, 1)).cmc[1].tolist() == topk_curve(e, range(30), 2).cmc[1].tolist()


def test_no_positive_among_the_nearest_is_no_hit():
    line = Embeddings([[0.0]], [[0.0]], [[1.0], [2.0]], [[1.0], [2.0]], [7], [8, 7])
    found = topk_curve(line, [0, 1], 2, k=1, top_k=(1,), distance="l2")
    assert (found.mean_ap.tolist(), found.cmc[1].tolist()) == ([0, 0], [0, 0])


def test_ignored_items_take_no_place():
    """Three items of the query's group are nearest; k = 1 still finds the next one."""
    rows = [[1.0], [2.0], [3.0], [4.0], [5.0]]
    line = Embeddings([[0.0]], [[0.0]], rows, rows, [7], [7, 7, 8, 7, 8], [3], [3, 3, 3, 4, 4])
    found = topk_curve(line, range(5), 6, k=1, top_k=(1,), distance="l2")
    assert found.mean_ap.tolist() == [1] * 6


@pytest.mark.parametrize("scale", [1e-60, 1e30])
def test_magnitudes_that_float32_squares_do_not_hold(scale):
    e = random_embeddings(6)
    fields = [getattr(e, name).numpy() for name in vars(e)]
    rows = ("query_old", "query_new", "gallery_old", "gallery_new")
    scaled = Embeddings(**{n: v * scale if n in rows else v for n, v in zip(vars(e), fields, strict=True)})
    for distance in ("cosine", "l2") if scale > 1 else ("cosine",):
        expected = topk_curve(e, range(30), 3, k=5, distance=distance)
        found = topk_curve(scaled, range(30), 3, k=5, distance=distance)
        np.testing.assert_allclose(found.mean_ap, expected.mean_ap, atol=1e-12)


@pytest.mark.parametrize("distance", ["cosine", "l2"])
@pytest.mark.parametrize("index", ["IVF8,Flat", "HNSW4"])
def test_recall_of_an_approximate_index(index, distance):
    e = random_embeddings(7, queries=30, items=400)
    found = topk_curve(e, backfill_order(400, 0), 3, k=20, distance=distance, index=index, recall_queries=10)
    assert ((found.recall > 0.1) & (found.recall <= 1)).all()
    if index.startswith("IVF"):
        assert (found.recall < 1).all()


@pytest.mark.parametrize("tied", [False, True])
def test_an_index_of_one_list_is_exact(tied):
    e = random_embeddings(8, items=60, tied=tied)
    order = backfill_order(60, 0)
    flat, one = (topk_curve(e, order, 4, k=10, index=index) for index in ("Flat", "IVF1,Flat"))
    np.testing.assert_allclose(one.recall, 1, atol=0)
    if not tied:
        np.testing.assert_allclose(one.mean_ap, flat.mean_ap, atol=1e-12)
        assert one.cmc[1].tolist() == flat.cmc[1].tolist()


def test_a_search_of_every_list_is_exact():
    e = random_embeddings(9)
    flat = topk_curve(e, range(30), 5, k=7)
    every = topk_curve(e, range(30), 5, k=7, index="IVF2,Flat", search="nprobe=2")
    np.testing.assert_allclose(every.mean_ap, flat.mean_ap, atol=1e-12)
    assert every.recall.tolist() == pytest.approx([1] * 5)


def test_chunks_change_nothing(monkeypatch):
    e = random_embeddings(9)
    whole = topk_curve(e, range(30), 5, k=7, index="IVF2,Flat")
    monkeypatch.setattr("compat.topk.MEMORY", 4000)
    monkeypatch.setattr("compat.engine.nearest.MEMORY", 4000)
    monkeypatch.setattr("compat.engine.nearest.ROWS", 7)
    parts = topk_curve(e, range(30), 5, k=7, index="IVF2,Flat")
    np.testing.assert_allclose(parts.mean_ap, whole.mean_ap, atol=1e-12)
    np.testing.assert_allclose(parts.recall, whole.recall, atol=1e-12)


@pytest.mark.parametrize("supported", [True, False])
def test_an_index_moves_to_the_gpus_if_it_can(monkeypatch, supported):
    moved = []

    def to_gpus(index):
        if not supported:
            raise RuntimeError("This index type is not implemented on GPU")
        moved.append(index)
        return index

    e = random_embeddings(10)
    expected = topk_curve(e, range(30), 3)
    monkeypatch.setattr("faiss.get_num_gpus", lambda: 1)
    monkeypatch.setattr("faiss.index_cpu_to_all_gpus", to_gpus)
    assert topk_curve(e, range(30), 3).mean_ap.tolist() == expected.mean_ap.tolist()
    assert len(moved) == (2 if supported else 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0}, "k: 0, expected at least 1"),
        ({"top_k": (1, 200)}, "top_k: 200, expected at most k = 100"),
        ({"top_k": (0,)}, "top_k: 0, expected at least 1"),
        ({"recall_queries": 0}, "recall_queries: 0, expected at least 1"),
        ({"distance": "dot"}, "distance: 'dot', expected cosine or l2"),
        ({"order": [range(30)] * 2}, r"order: shape \(2, 30\), expected one permutation, \(30,\)"),
        ({"order": [0] * 30}, "order: 0 twice, expected a permutation"),
        ({"index": "xyz"}, r"index: 'xyz' \(could not parse index string xyz\), expected a faiss index_factory string"),
        ({"index": "IVF64,Flat"}, r"index: 'IVF64,Flat' \(Number of training points \(30\) should be .*\), expected a"),
        (
            {"index": "IDMap,Flat"},
            r"index: 'IDMap,Flat' \(add does not make sense .*\), expected a faiss index_factory",
        ),
        (
            {"index": "IVF2,Flat", "search": "nprobe=-1"},
            r"search: 'nprobe=-1' \(.*\), expected parameters of IVF2,Flat",
        ),
        ({"index": "IVF2,Flat", "search": "nprobe=0"}, r"search: 'nprobe=0' \(.*\), expected parameters of IVF2,Flat"),
        ({"search": "depth=3"}, r"search: 'depth=3' \(.*\), expected parameters of Flat"),
    ],
)
def test_wrong_arguments_name_the_field(arguments, message):
    with pytest.raises(InputError, match=f"^{message}") as error:
        topk_curve(random_embeddings(0), **{"order": range(30), **arguments})
    assert "\n" not in str(error.value)


def test_no_query_with_a_positive():
    ones = np.ones((2, 3))
    with pytest.raises(InputError, match="query_labels: none of the 2 queries has a relevant gallery item"):
        topk_curve(Embeddings(ones, ones, ones, ones, [8, 9], [0, 1]), [0, 1])
