"""The merge rules: against re-ranking with scikit-learn, at both ends of the backfilling, and each one's scale."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import average_precision_score

from compat import Embeddings, backfill_curve, backfill_order
from compat.engine.exact import distances
from compat.errors import InputError
from compat.merge import Isotonic, Merge, Quantile, Raw, ReciprocalRank, Scale, ZScore
from compat.needs import Given
from tests.helpers.spaces import random_embeddings


class Identity(Merge):
    """Distances as they are, through the engine of the other rules."""

    scales = (Scale(np.array([0, 1]), np.array([0, 1])), Scale(np.array([0, 1]), np.array([0, 1])))


RULES = (Raw, Identity, ZScore, Quantile, Isotonic, ReciprocalRank)
FITTED = (ZScore, Quantile, Isotonic)


def sample(random, dimensions, distance="l2"):
    """Distances between integer vectors, so that they are those of tied embeddings, and the near ones relevant."""
    query, gallery = torch.from_numpy(random.integers(-1, 2, (2, 20, dimensions)))
    found = distances(query, gallery, distance).flatten().numpy()
    return found, random.random(len(found)) < np.exp(-found)


def fit(merge, old, new):
    """Fit a rule on distances of the same pairs in both spaces, (distances, relevant) each, with what it declared."""
    values = {"training distances": (old[0], new[0]), "training labels": old[1]}
    merge.fit(Given(merge.needs, values, type(merge).__name__))


def fitted(rule, seed=0, same=False, distance="l2"):
    merge, random = rule(), np.random.default_rng(seed)
    old, new = sample(random, 3, distance), sample(random, 4, distance)
    fit(merge, old, old if same else new)
    return merge


def slow_merge(e, orders, progress, merge, distance):
    """Average precision and first rank (Q, S, T), each query's two lists merged anew at each completion ratio."""
    items = len(e.gallery_old)
    old = distances(e.query_old, e.gallery_old, distance).numpy().astype(float)
    new = distances(e.query_new, e.gallery_new, distance).numpy().astype(float)
    labels, groups = e.gallery_labels.numpy(), e.gallery_groups.numpy()
    shape = (len(old), len(orders), len(progress))
    precision, ranks = np.full(shape, np.nan), np.zeros(shape, int)
    for query, s, t in np.ndindex(shape):
        backfilled = np.zeros(items, bool)
        backfilled[orders[s][: math.floor(progress[t] * items)]] = True
        kept = groups != e.query_groups[query].item()
        key = np.zeros(items)
        for number, (row, mine) in enumerate(((old[query], ~backfilled & kept), (new[query], backfilled & kept))):
            own = row[mine]
            if merge.by_rank:
                key[mine] = (own <= own[:, None]).sum(1)  # items at one distance share the last of their ranks
            else:
                key[mine] = merge.scales[number](own) if merge.scales else own
        relevant, key = (labels == e.query_labels[query].item())[kept], key[kept]
        if relevant.any():
            precision[query, s, t] = average_precision_score(relevant, -key)
            ranks[query, s, t] = 1 + (key[~relevant] <= key[relevant].min()).sum()
    return precision, ranks


def curve_of(e, orders, progress: Any, **options):
    curve = backfill_curve(e, orders, progress, per_query=True, **options)
    assert curve.average_precision is not None
    assert curve.first_rank is not None
    return curve.average_precision, curve.first_rank, curve


def same_spaces(e):
    groups = (e.query_groups, e.gallery_groups)
    return Embeddings(e.query_old, e.query_old, e.gallery_old, e.gallery_old, e.query_labels, e.gallery_labels, *groups)


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    items=st.integers(1, 20),
    classes=st.integers(1, 6),
    tied=st.booleans(),
    grouped=st.booleans(),
    same=st.booleans(),
    distance=st.sampled_from(["l2", "l2", "cosine"]),
    progress=st.lists(st.integers(0, 12), min_size=1, max_size=6, unique=True),
    chunk=st.integers(1, 7),
)
def test_equals_merging_with_scikit_learn(rule, seed, items, classes, tied, grouped, same, distance, progress, chunk):
    e = random_embeddings(seed, 6, items, tied, classes, grouped)
    orders, ratios = [backfill_order(items, (seed, number)) for number in range(2)], np.sort(progress) / 12
    merge = fitted(rule, seed, same, distance)
    expected_precision, expected_ranks = slow_merge(e, orders, ratios, merge, distance)
    if not expected_ranks.any():
        with pytest.raises(InputError, match="none of the"):
            backfill_curve(e, orders, ratios, distance=distance, merge=merge)
        return
    precision, ranks, curve = curve_of(e, orders, ratios, distance=distance, merge=merge, query_chunk=chunk)
    np.testing.assert_array_equal(ranks, expected_ranks)
    np.testing.assert_allclose(precision, expected_precision, atol=1e-12)
    np.testing.assert_allclose(curve.figures["mean_ap"], np.nanmean(expected_precision, 0), atol=1e-12)
    evaluated = expected_ranks[:, 0, 0] > 0
    np.testing.assert_allclose(curve.figures["cmc_1"], (expected_ranks[evaluated] == 1).mean(0), atol=1e-12)
    assert (curve.queries, curve.queries_without_positive) == (evaluated.sum(), (~evaluated).sum())


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), tied=st.booleans(), distance=st.sampled_from(["l2", "cosine"]))
def test_the_ends_are_those_of_the_raw_distances(rule, seed, tied, distance):
    e = random_embeddings(seed, tied=tied)
    e.query_labels[0], e.query_groups[0] = e.gallery_labels[0], -1
    merge = fitted(rule, seed, distance=distance)
    precision, ranks, curve = curve_of(e, range(30), 2, distance=distance, merge=merge)
    raw_precision, raw_ranks, raw = curve_of(e, range(30), 2, distance=distance)
    np.testing.assert_array_equal(ranks, raw_ranks)
    np.testing.assert_allclose(precision, raw_precision, rtol=1e-13)  # sums run in another order
    np.testing.assert_allclose(curve.mean_ap, raw.mean_ap, rtol=1e-13)
    for k in (1, 5):
        np.testing.assert_array_equal(curve.cmc[k], raw.cmc[k])


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("distance", ["l2", "cosine"])
def test_identity_scales_are_the_raw_engine(tied, distance):
    e = random_embeddings(0, items=150, tied=tied)
    orders = [backfill_order(150, seed) for seed in range(3)]
    precision, ranks, curve = curve_of(e, orders, 13, distance=distance, merge=Identity())
    for merge in (None, Raw()):
        raw_precision, raw_ranks, raw = curve_of(e, orders, 13, distance=distance, merge=merge)
        np.testing.assert_array_equal(ranks, raw_ranks)
        np.testing.assert_allclose(precision, raw_precision, rtol=1e-13)
        np.testing.assert_array_equal(curve.figures["negative_flip_rate"], raw.figures["negative_flip_rate"])


def test_reciprocal_rank_by_hand():
    """One query at 0; old list: b at 1, a and c tied at 2. After c's backfill its new distance of 9 is rank 1."""
    e = Embeddings([[0.0]], [[0.0]], [[2.0], [1.0], [-2.0]], [[5.0], [6.0], [9.0]], [7], [7, 8, 9])
    precision, ranks, _ = curve_of(e, [2, 0, 1], [0, 0.4, 0.7, 1], distance="l2", merge=ReciprocalRank())
    # b1, a and c share 3 | b1 and c1, a2 | b1 and a1, c2 | a1, b2, c3
    assert ranks[0, 0].tolist() == [3, 3, 2, 1]
    assert precision[0, 0].tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 2, 1])


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("tied", [True, False])
def test_the_order_of_the_gallery_rows_changes_nothing(rule, tied):
    e = random_embeddings(1, items=100, tied=tied)
    order, merge = backfill_order(100, 0), fitted(rule)
    shuffle = np.random.default_rng(3).permutation(100)
    labels = (e.query_labels, e.gallery_labels[shuffle], e.query_groups, e.gallery_groups[shuffle])
    shuffled = Embeddings(e.query_old, e.query_new, e.gallery_old[shuffle], e.gallery_new[shuffle], *labels)
    precision, ranks, _ = curve_of(e, order, 11, distance="l2", merge=merge)
    again, again_ranks, _ = curve_of(shuffled, np.argsort(shuffle)[order], 11, distance="l2", merge=merge)
    np.testing.assert_array_equal(ranks, again_ranks)
    np.testing.assert_allclose(precision, again, rtol=1e-14)


@pytest.mark.parametrize("rule", [Raw, Identity, *FITTED])
@pytest.mark.parametrize("tied", [True, False])
def test_identical_spaces_give_a_flat_curve(rule, tied):
    e = same_spaces(random_embeddings(2, tied=tied))
    merge = fitted(rule, same=True)
    precision, ranks, curve = curve_of(e, backfill_order(30, 0), 21, distance="l2", merge=merge)
    assert (ranks == ranks[..., :1]).all()
    np.testing.assert_array_equal(precision, np.broadcast_to(precision[..., :1], precision.shape))
    assert curve.negative_flip_rate.tolist() == [0] * 21


def test_reciprocal_rank_is_not_flat_between_identical_spaces():
    """A rank counts the items of the own list only: the first item to be backfilled is the first of its list."""
    e = same_spaces(random_embeddings(2))
    _, _, curve = curve_of(e, backfill_order(30, 0), 21, merge=ReciprocalRank())
    assert curve.mean_ap[0] == pytest.approx(curve.mean_ap[-1], rel=1e-13)
    assert len(set(curve.mean_ap.tolist())) > 2


def test_z_scores_undo_an_affine_change_of_the_distances():
    """A column of queries and one of items make any cosine distance d in the new space (d + 3) / 4."""
    e = random_embeddings(4)
    query, gallery = (torch.nn.functional.normalize(rows) for rows in (e.query_new, e.gallery_new))
    query, gallery = (torch.nn.functional.pad(rows, (0, 2)) for rows in (query, gallery))
    query[:, -2], gallery[:, -1] = 3**0.5, 3**0.5
    labels = (e.query_labels, e.gallery_labels, e.query_groups, e.gallery_groups)
    changed = Embeddings(e.query_old, query, e.gallery_old, gallery, *labels)
    some = np.random.default_rng(0).random(500)
    merge = ZScore()
    fit(merge, (some, some < 0), ((some + 3) / 4, some < 0))
    order = backfill_order(30, 0)
    precision, ranks, _ = curve_of(changed, order, 16, merge=merge)
    as_one, as_one_ranks, _ = curve_of(e, order, 16)
    np.testing.assert_array_equal(ranks, as_one_ranks)
    np.testing.assert_allclose(precision, as_one, rtol=1e-13)
    assert not np.array_equal(curve_of(changed, order, 16)[1], as_one_ranks)


@settings(max_examples=50, deadline=None)
@given(
    points=st.lists(st.integers(-1000, 1000), min_size=2, max_size=9, unique=True),
    heights=st.lists(st.integers(1, 1000), min_size=9, max_size=9),
)
def test_a_scale_goes_through_its_points_and_on_beyond_them_and_increases(points, heights):
    x = np.sort(points) / 8
    y = np.cumsum(heights[: len(x)]) / 8
    scale, inside = Scale(x, y), np.linspace(x[0], x[-1], 50)
    np.testing.assert_allclose(scale(x), y, rtol=1e-12)
    np.testing.assert_allclose(scale(inside), np.interp(inside, x, y), rtol=1e-12, atol=1e-12)
    for end, near in ((0, 1), (-1, -2)):
        beyond = scale(x[[end]] + 2 * (x[end] - x[near]))[0]
        assert beyond == pytest.approx(y[end] + 2 * (y[end] - y[near]))
    assert (np.diff(scale(np.linspace(x[0] - 99, x[-1] + 99, 1001))) > 0).all()
    assert scale(np.zeros((2, 3), np.float32)).dtype == np.float64


@pytest.mark.parametrize("rule", FITTED)
def test_different_distances_stay_different(rule):
    distance = np.unique(np.random.default_rng(0).random(5000).astype(np.float32) * 2)
    merge = rule()
    fit(merge, *[(distance[::7], np.arange(len(distance[::7])) < 300)] * 2)
    assert merge.changes
    assert (np.diff(merge.scales[0](distance)) > 0).all()


@pytest.mark.parametrize("rule", FITTED)
def test_a_constant_distance_has_no_scale(rule):
    constant = (np.full(9, 0.1, np.float32), np.arange(9) < 3)
    with pytest.raises(InputError, match=r"replay\.merge: distances that are all the same, expected some spread"):
        fit(rule(), constant, constant)


def test_the_scales_of_a_sample():
    """ZScore: mean 0 and deviation 1; Quantile: uniform; Isotonic: scikit-learn's but for a slope."""
    random = np.random.default_rng(0)
    for seed in range(2):
        distance = (random.gamma(4, size=3000) + seed).astype(np.float32)
        pairs = (distance, random.random(3000) < np.exp(-distance / 4))
        other = (np.linspace(0, 1, 3000), pairs[1])
        found = {}
        for rule in FITTED:
            merge = rule()
            fit(merge, *((pairs, other) if seed else (other, pairs)))
            assert merge.scales is not None
            found[rule] = merge.scales[1 - seed](distance)
        assert found[ZScore].mean() == pytest.approx(0, abs=1e-6)
        assert found[ZScore].std() == pytest.approx(1)
        np.testing.assert_allclose(np.sort(found[Quantile]), np.linspace(0, 1, 3000), atol=4e-3)
        expected = IsotonicRegression().fit_transform(distance.astype(float), 1.0 - pairs[1])
        expected += 1e-6 * ((distance - distance.min()) / np.ptp(distance) + 1)
        np.testing.assert_allclose(found[Isotonic], expected, atol=1e-9)


def test_wrong_uses_name_the_field():
    e, merge = random_embeddings(0), fitted(ZScore)
    for options in ({"embeddings": [e, e], "order": range(60)}, {"shard": "gallery"}, {"shard": "queries"}):
        with pytest.raises(InputError, match="merge: ZScore for a gallery in parts or shards, expected it whole"):
            backfill_curve(**{"embeddings": e, "order": range(30), "merge": merge, **options})
    for rule in (merge, ReciprocalRank()):
        with pytest.raises(InputError, match="merge: expected the whole gallery on the CPU, and no backend: torch"):
            backfill_curve(e, range(30), merge=rule, backend="torch")
    with pytest.raises(InputError, match="knots: 1, expected at least 2"):
        Quantile(1)
    raw = backfill_curve([e, e], range(60), merge=Raw(), backend="torch")  # which is no rule at all
    assert raw.mean_ap.tolist() == backfill_curve([e, e], range(60), backend="torch").mean_ap.tolist()
