"""The replay against re-ranking query by query with scikit-learn, cases worked out by hand, and invariants."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compat import Embeddings, backfill_curve, backfill_order
from compat.engine.exact import EngineGallery, distances
from compat.errors import InputError
from compat.metrics import BackfillCurve
from compat.topk import topk_curve
from tests.helpers.spaces import random_embeddings, slow_curve


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    queries=st.integers(1, 8),
    items=st.integers(1, 25),
    classes=st.integers(1, 6),
    tied=st.booleans(),
    grouped=st.booleans(),
    distance=st.sampled_from(["cosine", "l2"]),
    progress=st.lists(st.integers(0, 20), min_size=1, max_size=8, unique=True),
    chunk=st.integers(1, 9),
)
def test_equals_reranking_with_scikit_learn(seed, queries, items, classes, tied, grouped, distance, progress, chunk):
    e = random_embeddings(seed, queries, items, tied, classes, grouped)
    order, ratios = backfill_order(items, seed), np.sort(progress) / 20
    expected = slow_curve(e, order, ratios, distance)
    if not (expected["ranks"] > 0).any():
        with pytest.raises(InputError, match="none of the"):
            backfill_curve(e, order, ratios, distance=distance)
        return
    curve = backfill_curve(e, order, ratios, distance=distance, query_chunk=chunk, per_query=True)
    assert curve.average_precision is not None
    assert curve.first_rank is not None
    np.testing.assert_allclose(curve.average_precision[:, 0].T, expected["precision"], atol=1e-12)
    np.testing.assert_array_equal(curve.first_rank[:, 0].T, expected["ranks"])
    np.testing.assert_allclose(curve.mean_ap, expected["mean_ap"], atol=1e-12)
    np.testing.assert_allclose(curve.negative_flip_rate, expected["flips"], atol=1e-12)
    for k, values in expected["cmc"].items():
        np.testing.assert_allclose(curve.cmc[k], values, atol=1e-12)
    assert curve.queries == (expected["ranks"][0] > 0).sum()
    assert curve.queries + curve.queries_without_positive == queries


def test_by_hand():
    """One query on a line at 0; items a (relevant), b, c (relevant). Old distances 2, 1, 3; new 1, 2, 1."""
    line = Embeddings(
        query_old=[[0.0]],
        query_new=[[0.0]],
        gallery_old=[[2.0], [1.0], [3.0]],
        gallery_new=[[1.0], [2.0], [-1.0]],
        query_labels=[7],
        gallery_labels=[7, 8, 7],
    )
    curve = backfill_curve(line, [0, 1, 2], [0.0, 0.4, 0.7, 1.0], distance="l2", top_k=(1, 2))
    at_0 = (1 / 2 + 2 / 3) / 2  # b a c
    at_1 = (1 / 2 + 2 / 3) / 2  # a and b tied at 1, then c at 3
    at_2 = (1 + 2 / 3) / 2  # a b c
    at_3 = 1.0  # a and c tied at 1, then b
    assert curve.mean_ap.tolist() == pytest.approx([at_0, at_1, at_2, at_3])
    assert curve.cmc[1].tolist() == [0, 0, 1, 1]
    assert curve.cmc[2].tolist() == [1, 1, 1, 1]
    assert curve.negative_flip_rate.tolist() == [0, 0, 0, 0]
    trapezoids = 0.4 * (at_0 + at_1) / 2 + 0.3 * (at_1 + at_2) / 2 + 0.3 * (at_2 + at_3) / 2
    assert curve.auc == pytest.approx(trapezoids)


def test_a_tie_with_a_wrong_item_is_no_hit_at_1():
    ones = np.ones((2, 2))
    tied = Embeddings(ones, ones, ones, ones, [0, 1], [0, 1])
    curve = backfill_curve(tied, [0, 1], 2)
    assert curve.cmc[1].tolist() == [0, 0]
    assert curve.mean_ap.tolist() == [0.5, 0.5]


def test_ends_are_the_old_and_the_new_system():
    e = random_embeddings(0)
    curve = backfill_curve(e, backfill_order(30, 0))
    for end, query, gallery in ((0, e.query_old, e.gallery_old), (-1, e.query_new, e.gallery_new)):
        labels = (e.query_labels, e.gallery_labels, e.query_groups, e.gallery_groups)
        alone = backfill_curve(Embeddings(query, query, gallery, gallery, *labels), range(30), [0.0])
        assert curve.mean_ap[end] == alone.mean_ap[0]


@pytest.mark.parametrize("tied", [True, False])
def test_the_order_of_the_gallery_rows_changes_nothing(tied):
    e = random_embeddings(1, items=200, tied=tied)
    order = backfill_order(200, 0)
    shuffle = np.random.default_rng(3).permutation(200)
    position = np.argsort(shuffle)
    shuffled = Embeddings(
        e.query_old,
        e.query_new,
        e.gallery_old[shuffle],
        e.gallery_new[shuffle],
        e.query_labels,
        e.gallery_labels[shuffle],
        e.query_groups,
        e.gallery_groups[shuffle],
    )
    curve, again = backfill_curve(e, order), backfill_curve(shuffled, position[order])
    np.testing.assert_allclose(curve.mean_ap, again.mean_ap, rtol=1e-14)  # sums run in another order
    assert curve.cmc[1].tolist() == again.cmc[1].tolist()


def test_identical_spaces_give_a_flat_curve():
    e = random_embeddings(2)
    same = Embeddings(
        e.query_old, e.query_old, e.gallery_old, e.gallery_old, e.query_labels, e.gallery_labels, e.query_groups,
        e.gallery_groups,
    )  # fmt: skip
    curve = backfill_curve(same, backfill_order(30, 0), 21)
    assert len(set(curve.mean_ap.tolist())) == 1
    assert curve.negative_flip_rate.tolist() == [0] * 21


def test_several_orders_are_averaged_and_kept():
    e = random_embeddings(3)
    orders = [backfill_order(30, seed) for seed in range(4)]
    together = backfill_curve(e, orders)
    alone = [backfill_curve(e, order) for order in orders]
    np.testing.assert_array_equal(together.figures["mean_ap"], [curve.mean_ap for curve in alone])
    np.testing.assert_allclose(together.mean_ap, np.mean([curve.mean_ap for curve in alone], 0))
    np.testing.assert_allclose(together.cmc[5], np.mean([curve.cmc[5] for curve in alone], 0))
    np.testing.assert_allclose(together.negative_flip_rate, np.mean([c.negative_flip_rate for c in alone], 0))


def test_negative_flips_against_another_system():
    e = random_embeddings(4, grouped=False)
    curve = backfill_curve(e, range(30), per_query=True)
    assert curve.first_rank is not None
    evaluated = curve.first_rank[:, 0, 0] > 0
    flips = backfill_curve(e, range(30), correct_before=np.ones(12, bool)).negative_flip_rate
    wrong = (curve.first_rank[evaluated, 0] != 1).mean(0)
    np.testing.assert_allclose(flips, wrong)


def test_zero_vectors_are_at_cosine_distance_one():
    found = distances(torch.tensor([[0.0, 0.0], [1.0, 0.0]]), torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 3.0]]))
    assert found.tolist() == [[1, 1, 1], [1, 0, 1]]


def test_the_metric_adds_chunks_as_it_adds_processes():
    e = random_embeddings(5)
    step = torch.randint(0, 4, (2, 30), generator=torch.Generator().manual_seed(0))

    def metric():
        return BackfillCurve(
            EngineGallery(e.gallery_old, e.gallery_new, e.gallery_labels, e.gallery_groups, step, points=3)
        )

    queries = (e.query_old, e.query_new, e.query_labels, e.query_groups)
    whole, first, second = metric(), metric(), metric()
    whole.update(*queries)
    first.update(*(q[:5] for q in queries))
    second.update(*(q[5:] for q in queries))
    for name in ("sums", "queries", "skipped"):
        torch.testing.assert_close(getattr(first, name) + getattr(second, name), getattr(whole, name))


def broken(**changes):
    fields = {
        "query_old": np.ones((2, 3)),
        "query_new": np.ones((2, 4)),
        "gallery_old": np.ones((5, 3)),
        "gallery_new": np.ones((5, 4)),
        "query_labels": [0, 1],
        "gallery_labels": [0, 1, 0, 1, 0],
    }
    return Embeddings(**{**fields, **changes})


nan = np.ones((5, 4))
nan[3, 1] = np.nan
infinite = np.ones((5, 4), np.float32)
infinite[2, 0] = -np.inf


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gallery_new": nan}, r"gallery_new: NaN or infinite values \(first in row 3\), expected finite"),
        ({"gallery_new": infinite}, r"gallery_new: NaN or infinite values \(first in row 2\), expected finite"),
        ({"gallery_new": infinite.astype(np.float16)}, r"gallery_new: NaN or infinite values \(first in row 2\)"),
        ({"gallery_new": np.ones((4, 4))}, r"gallery_new: shape \(4, 4\), expected 5 rows as in gallery_old"),
        ({"gallery_labels": [0, 1]}, r"gallery_labels: shape \(2,\), expected 5 rows"),
        ({"query_old": np.ones((2, 2))}, r"query_old: shape \(2, 2\), expected 3 columns as in gallery_old \(5, 3\)"),
        ({"query_new": np.ones(2)}, r"query_new: shape \(2,\), expected \(rows, dimension\)"),
        ({"query_labels": [0.5, 1.0]}, r"query_labels: torch.float32, expected integers"),
        ({"query_groups": [0, 1]}, r"gallery_groups: none, expected the groups of both"),
        ({"query_old": "images"}, r"query_old: str, expected an array or tensor"),
        (
            {"query_old": np.ones((0, 3)), "query_new": np.ones((0, 4)), "query_labels": np.ones(0, int)},
            r"query_old: shape \(0, 3\), expected at least one row",
        ),
    ],
)
def test_wrong_embeddings_name_the_field(changes, message):
    with pytest.raises(InputError, match=message):
        broken(**changes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"order": [0, 1, 2, 3, 3]}, "order: 3 twice, expected a permutation of 0 to 4"),
        ({"order": [4, 1, 4, 1, 0]}, "order: 4 twice, expected a permutation of 0 to 4"),
        ({"order": [0, 1, 2, 3, 5]}, "order: 5, expected a permutation of 0 to 4"),
        ({"order": [0, 1, 2]}, r"order: shape \(3,\), expected \(5,\)"),
        ({"order": [0.0, 1.0, 2.0, 3.0, 4.0]}, "order: float64, expected integers"),
        ({"progress": [0.0, 1.2]}, r"progress: 1.2, expected completion ratios in \[0, 1\]"),
        ({"progress": [-0.1, 1.0]}, r"progress: -0.1, expected completion ratios in \[0, 1\]"),
        ({"progress": [float("nan")]}, r"progress: nan, expected completion ratios in \[0, 1\]"),
        ({"progress": [0.5, 0.5]}, "expected ascending"),
        ({"progress": []}, "expected a list of completion ratios"),
        ({"progress": 1}, "progress: 1 points, expected at least 2"),
        ({"top_k": (0,)}, "top_k: 0, expected at least 1"),
        ({"correct_before": [True]}, r"correct_before: shape \(1,\), expected \(2,\)"),
    ],
)
def test_wrong_arguments_name_the_field(arguments, message):
    with pytest.raises(InputError, match=message):
        backfill_curve(broken(), **{"order": range(5), **arguments})


def test_queries_without_positives_are_skipped_and_counted():
    curve = backfill_curve(broken(query_labels=[0, 9]), range(5))
    assert (curve.queries, curve.queries_without_positive) == (1, 1)
    with pytest.raises(InputError, match="query_labels: none of the 2 queries has a relevant gallery item"):
        backfill_curve(broken(query_labels=[8, 9]), range(5))


def test_strings_and_negative_labels_are_named():
    with pytest.raises(InputError, match=r"^query_labels: strings, expected integers$"):
        broken(query_labels=np.array(["a", "b"]))
    with pytest.raises(InputError, match=r"^query_new: strings, expected numbers$"):
        broken(query_new=[["a"], ["b"]])
    with pytest.raises(InputError, match=r"^gallery_labels: -5 in row 1, expected labels of 0 and more$"):
        broken(gallery_labels=[0, -5, -6, 0, 0])


@pytest.mark.parametrize("replay", [backfill_curve, topk_curve])
def test_zero_vectors_are_counted_under_cosine_alone(replay):
    e = random_embeddings(0)
    e.gallery_old[[3, 7]] = 0
    with pytest.warns(
        UserWarning, match=r"^gallery_old: 2 zero vectors, at cosine distance 1 from everything$"
    ) as found:
        replay(e, range(30))
    assert len(found) == 1
    assert found[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        replay(e, range(30), distance="l2")


def test_a_subset_is_the_embeddings_of_its_rows_and_a_replacement_is_checked():
    e = random_embeddings(1, 9, 20)
    part = e.subset(np.array([4, 0]), torch.arange(20) % 3 == 0)
    for name in vars(e):
        rows = [4, 0] if name.startswith("query") else list(range(0, 20, 3))
        assert torch.equal(getattr(part, name), getattr(e, name)[rows]), name
    assert vars(e.subset()) == vars(e)
    other = e.replace(gallery_old=e.gallery_old * 2)
    assert torch.equal(other.gallery_old, e.gallery_old * 2)
    assert all(torch.equal(getattr(other, name), getattr(e, name)) for name in vars(e) if name != "gallery_old")
    for wrong in ([], [20], [-1], [0.5], torch.ones(3, dtype=torch.bool)):
        with pytest.raises(InputError, match="gallery: rows "):
            e.subset(items=wrong)
    with pytest.raises(InputError, match=r"replace: 'gallery', expected some of query_old, "):
        e.replace(gallery=e.gallery_old)
    with pytest.raises(InputError, match="gallery_new: shape"):
        e.replace(gallery_old=e.gallery_old[:3])
