"""Distances standardised by each query's own sample: both engines and the cut-off lists against plain loops."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from compat import Embeddings, backfill_curve, backfill_order
from compat.curve_metrics import CURVE_METRICS
from compat.decision.overlap import nearest, overlap_curve
from compat.engine.exact import distances
from compat.errors import InputError
from compat.merge import QueryZScore, ReciprocalRank
from compat.relevance import Relevance
from compat.topk import topk_curve
from tests.helpers.spaces import BACKENDS, random_embeddings


def slow_values(e, order, ratio, rule, distance):
    """The values by which each query ranks the items, (Q, G): NaN for those of its group."""
    items, count = len(order), math.floor(ratio * len(order))
    spaces = [distances(e.query_old, e.gallery_old, distance), distances(e.query_new, e.gallery_new, distance)]
    old, new = (apart.double().numpy() for apart in spaces)
    queries, gallery = e.query_groups.numpy(), e.gallery_groups.numpy()
    sampled = [order[place] for place in np.argsort(np.random.default_rng(rule.seed).random(items)[:count])][
        : rule.size
    ]
    found = np.where(np.isin(np.arange(items), order[:count]), new, old)
    for q in range(len(old)):
        own = [item for item in sampled if gallery[item] != queries[q]] if count >= rule.fewest else []
        if own:
            means = [math.fsum(apart[q, own]) / len(own) for apart in (old, new)]
            deviations = [float(np.float32(apart[q, own].std())) for apart in (old, new)]
            if all(s > 1e-6 * m for m, s in zip(means, deviations, strict=True)):
                for item in range(items):
                    space = int(item in order[:count])
                    found[q, item] = ((old, new)[space][q, item] - means[space]) * (1 / deviations[space])
        found[q, gallery == queries[q]] = np.nan
    return found


def slow_curve(e, orders, progress, rule, distance):
    """Average precision and first rank (Q, S, T), every query's gallery ranked anew at each completion ratio."""
    shape = (len(e.query_old), len(orders), len(progress))
    precision, ranks = np.full(shape, np.nan), np.zeros(shape, int)
    for s, t in np.ndindex(shape[1:]):
        values = slow_values(e, orders[s], progress[t], rule, distance)
        for q in range(shape[0]):
            kept = ~np.isnan(values[q])
            relevant, value = (e.gallery_labels == e.query_labels[q]).numpy()[kept], values[q, kept]
            if relevant.any():
                precision[q, s, t] = average_precision_score(relevant, -value)
                ranks[q, s, t] = 1 + (value[~relevant] <= value[relevant].min()).sum()
    return precision, ranks


def curve_of(e, orders, progress: Any, rule, **options: Any):
    curve = backfill_curve(e, orders, progress, merge=rule, per_query=True, **options)
    return curve.average_precision, curve.first_rank, curve


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    items=st.integers(1, 40),
    classes=st.integers(1, 6),
    tied=st.booleans(),
    grouped=st.booleans(),
    distance=st.sampled_from(["l2", "cosine"]),
    progress=st.lists(st.integers(0, 12), min_size=1, max_size=6, unique=True),
    chunk=st.integers(1, 7),
    size=st.integers(3, 12),
)
def test_equals_ranking_anew_with_scikit_learn(
    seed, items, classes, tied, grouped, distance, progress, chunk, size
):  # fmt: skip
    e = random_embeddings(seed, 6, items, tied, classes, grouped)
    orders, ratios = [backfill_order(items, (seed, number)) for number in range(2)], np.sort(progress) / 12
    rule = QueryZScore(size, fewest=3, seed=seed)
    expected_precision, expected_ranks = slow_curve(e, orders, ratios, rule, distance)
    if not expected_ranks.any():
        with pytest.raises(InputError, match="none of the"):
            backfill_curve(e, orders, ratios, distance=distance, merge=rule)
        return
    for backend in BACKENDS:
        options: Any = {"distance": distance, "backend": backend, "query_chunk": chunk}
        precision, ranks, _ = curve_of(e, orders, ratios, rule, **options)
        np.testing.assert_array_equal(ranks, expected_ranks)
        np.testing.assert_allclose(precision, expected_precision, atol=1e-12)


@pytest.mark.parametrize("tied", [False, True])
def test_both_backends_agree_on_all_metrics(tied):
    e = random_embeddings(3, 40, 500, tied)
    orders, rule = [backfill_order(500, seed) for seed in range(2)], QueryZScore(50, 20)
    one, other = (
        backfill_curve(e, orders, 23, merge=rule, metrics=CURVE_METRICS, backend=backend) for backend in BACKENDS
    )
    for name, values in one.figures.items():
        np.testing.assert_allclose(values, other.figures[name], rtol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("distance", ["l2", "cosine"])
def test_raw_until_enough_are_migrated_and_at_both_ends(backend, distance):
    e, order = random_embeddings(1, 20, 60), backfill_order(60, 0)
    options: Any = {"distance": distance, "backend": backend}
    raw = curve_of(e, order, 13, None, **options)
    ours = curve_of(e, order, 13, QueryZScore(40, fewest=30), **options)
    same = (ours[1] == raw[1]).all((0, 1))
    assert same[[*range(6), 12]].all()
    assert not same[6:12].all()
    np.testing.assert_allclose(ours[0][..., [*range(6), 12]], raw[0][..., [*range(6), 12]], rtol=1e-13)


def test_by_hand():
    """A query at 0; three items migrated: old 1, 2, 3 (mean 2), new 20, 40, 60 (mean 40); one left at 2.6.

    Standardised it is at .6 / .816, between the new 40 at 0 and the new 60 at 20 / 16.3; its raw distance is the least.
    """
    old, new = [[1.0], [2.0], [3.0], [2.6]], [[20.0], [40.0], [60.0], [0.0]]
    e = Embeddings([[0.0]], [[0.0]], old, new, [7], [0, 1, 2, 7])
    for backend in BACKENDS:
        _, ranks, _ = curve_of(e, range(4), [0, 0.75, 1], QueryZScore(3, 3), distance="l2", backend=backend)
        assert ranks[0, 0].tolist() == [3, 3, 1]
    assert curve_of(e, range(4), [0.75], None, distance="l2")[1].item() == 1


def test_the_sample_leaves_out_the_query_s_own_group():
    """As by hand, with a fourth migrated item of the query's group, which changes nothing."""
    old, new = [[1.0], [2.0], [3.0], [99.0], [2.6]], [[20.0], [40.0], [60.0], [-5.0], [0.0]]
    e = Embeddings([[0.0]], [[0.0]], old, new, [7], [0, 1, 2, 7, 7], [5], [0, 1, 2, 5, 4])
    for backend in BACKENDS:
        assert curve_of(e, range(5), [0.8], QueryZScore(4, 4), distance="l2", backend=backend)[1].item() == 3


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_sample_without_spread_leaves_a_query_raw(backend):
    """To the first query all migrated items are at one distance; to the second they are not."""
    old, new = [[1.0], [-1.0], [1.0], [2.0], [0.5]], [[3.0], [5.0], [7.0], [9.0], [0.0]]
    e = Embeddings([[0.0], [0.3]], [[0.0], [0.0]], old, new, [7, 7], [0, 1, 2, 3, 7])
    _, ranks, _ = curve_of(e, range(5), [0.6], QueryZScore(3, 3), distance="l2", backend=backend)
    assert ranks[:, 0, 0].tolist() == [1, 1]
    raw = curve_of(e.subset(queries=[0]), range(5), [0.6], None, distance="l2")
    ours = curve_of(e.subset(queries=[0]), range(5), [0.6], QueryZScore(3, 3), distance="l2", backend=backend)
    np.testing.assert_array_equal(ours[0], raw[0])


def test_an_affine_change_of_the_distances_does_not_matter():
    """A column of queries and one of items make any cosine distance d in the new space (d + 3) / 4."""
    e = random_embeddings(4, 20, 60)
    query, gallery = (torch.nn.functional.normalize(rows) for rows in (e.query_new, e.gallery_new))
    query, gallery = (torch.nn.functional.pad(rows, (0, 2)) for rows in (query, gallery))
    query[:, -2], gallery[:, -1] = 3**0.5, 3**0.5
    changed = e.replace(query_new=query, gallery_new=gallery)
    order, rule = backfill_order(60, 0), QueryZScore(20, 5)
    theirs, ours = (curve_of(some, order, 16, rule)[1] for some in (changed, e))
    np.testing.assert_array_equal(theirs[..., 2:], ours[..., 2:])  # before, distances are raw
    assert (theirs[..., 1] != ours[..., 1]).any()
    same = e.replace(query_old=e.query_new, gallery_old=e.gallery_new)
    ranks = curve_of(same, order, 16, rule)[1]
    assert (ranks == ranks[..., :1]).all()


def test_the_sample_is_kept_as_items_migrate():
    """It grows to its size; then a later one has only some of the new items in place of earlier ones."""
    rule = QueryZScore(300, 100)
    assert len(rule.places(99)) == 0
    assert sorted(rule.places(100)) == list(range(100))
    for before, after in ((300, 310), (5000, 5100), (10**5, 10**5 + 1)):
        old, new = set(rule.places(before).tolist()), set(rule.places(after).tolist())
        assert len(old) == len(new) == 300
        assert all(place >= before for place in new - old)
    assert set(QueryZScore(300, 100, seed=1).places(5000)) != set(rule.places(5000))
    spread = np.histogram(rule.places(10**5), 10, (0, 10**5))[0]
    assert spread.min() > 10


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    items=st.integers(5, 40),
    tied=st.booleans(),
    grouped=st.booleans(),
    distance=st.sampled_from(["cosine", "l2"]),
)
def test_cut_off_lists_of_the_whole_gallery_equal_the_exact_curve(seed, items, tied, grouped, distance):
    e = random_embeddings(seed, items=items, tied=tied, classes=3, grouped=grouped)
    order, rule = backfill_order(items, seed), QueryZScore(8, 4)
    exact = backfill_curve(e, order, 6, distance=distance, merge=rule)
    found = topk_curve(e, order, 6, k=items, distance=distance, merge=rule)
    np.testing.assert_allclose(found.mean_ap, exact.mean_ap, atol=1e-12)
    for j, values in exact.cmc.items():
        np.testing.assert_array_equal(found.cmc[j], values)
    np.testing.assert_array_equal(found.negative_flip_rate, exact.negative_flip_rate)
    nearest = topk_curve(e, order, 6, k=1, top_k=(1,), distance=distance, merge=rule, index="IVF1,Flat")
    if not tied:
        np.testing.assert_array_equal(nearest.cmc[1], exact.cmc[1])


@pytest.mark.parametrize("distance", ["cosine", "l2"])
def test_the_share_of_the_new_system_s_results_is_that_of_these_rankings(distance):
    e, order, rule = random_embeddings(5, items=40), backfill_order(40, 1), QueryZScore(9, 4)
    found = overlap_curve(e, order, 5, 6, distance, rule)
    wanted = nearest(e, 6, distance).numpy()
    for t, ratio in enumerate(np.linspace(0, 1, 5)):
        values = np.nan_to_num(slow_values(e, order, ratio, rule, distance), nan=np.inf)
        shown = np.argsort(values)[:, :6]
        expected = [np.isin(wanted[q], shown[q]).mean() for q in range(len(shown))]
        np.testing.assert_allclose(found[:, t], expected)
    assert not np.array_equal(found, overlap_curve(e, order, 5, 6, distance))


def test_wrong_uses_are_one_line():
    e, rule = random_embeddings(0), QueryZScore(8, 4)
    for options, message in (
        ({"fewest": 1}, "fewest: 1, expected 2 to size = 300"),
        ({"size": 50}, "fewest: 100, expected 2 to size = 50"),
        ({"seed": -1}, "seed: -1, expected at least 0"),
    ):
        with pytest.raises(InputError, match=f"^{message}$"):
            QueryZScore(**options)
    with pytest.raises(InputError, match="merge: ReciprocalRank of cut-off lists, expected QueryZScore or none"):
        topk_curve(e, range(30), merge=ReciprocalRank())
    with pytest.raises(InputError, match="merge: QueryZScore for a gallery in parts or shards, expected it whole"):
        backfill_curve([e, e], range(60), merge=rule)


@pytest.mark.parametrize("backend", BACKENDS)
def test_judgements_made_from_labels_are_standardised_as_labels_are(backend):
    e, order = random_embeddings(5, 30, 300), backfill_order(300, 0)
    rule = QueryZScore(50, 20)
    relevance = Relevance.of_labels(e.query_labels, e.gallery_labels)
    matrices = (e.query_old, e.query_new, e.gallery_old, e.gallery_new)
    judged = Embeddings(*matrices, query_groups=e.query_groups, gallery_groups=e.gallery_groups, relevance=relevance)
    one, other = (
        backfill_curve(given, order, 7, merge=rule, metrics=["ndcg_10", "map_10"], backend=backend)
        for given in (e, judged)
    )
    for name, values in one.figures.items():
        np.testing.assert_allclose(values, other.figures[name], rtol=1e-12)
